"""``python -m dossier serve|migrate``."""

from common.command import run
from dossier.main import create_app
from dossier.settings import Settings

if __name__ == "__main__":
    run("dossier", Settings, create_app)
