"""``python -m national_portal_sync serve|migrate``."""

from common.command import run
from national_portal_sync.main import NAME, create_app
from national_portal_sync.settings import Settings

if __name__ == "__main__":
    run(NAME, Settings, create_app)
