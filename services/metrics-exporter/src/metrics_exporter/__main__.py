"""``python -m metrics_exporter serve|migrate``."""

from common.command import run
from metrics_exporter.main import create_app
from metrics_exporter.settings import Settings

if __name__ == "__main__":
    run("metrics-exporter", Settings, create_app)
