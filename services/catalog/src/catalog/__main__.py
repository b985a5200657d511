"""``python -m catalog serve|migrate``."""

from catalog.main import create_app
from catalog.settings import Settings
from common.command import run

if __name__ == "__main__":
    run("catalog", Settings, create_app)
