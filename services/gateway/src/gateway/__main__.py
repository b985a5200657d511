"""``python -m gateway serve|migrate``."""

from common.command import run
from gateway.main import create_app
from gateway.settings import Settings

if __name__ == "__main__":
    run("gateway", Settings, create_app)
