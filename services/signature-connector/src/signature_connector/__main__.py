"""``python -m signature_connector serve|migrate``."""

from common.command import run
from signature_connector.main import create_app
from signature_connector.settings import Settings

if __name__ == "__main__":
    run("signature-connector", Settings, create_app)
