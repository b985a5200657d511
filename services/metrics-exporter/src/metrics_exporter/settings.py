"""Settings of the exporter."""

from typing import Annotated

from pydantic import Field, SecretStr

from common.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """``METRICS_EXPORTER_…``"""

    model_config = service_config("METRICS_EXPORTER_")

    emc_url: str
    """Base address of the monitoring system; ``/TrackingMCDT`` is added."""
    tracker_url: str
    """Base address of its page tracker; ``/matomo.php`` is added."""
    site_id: int = Field(ge=1)
    """This site's number at the monitoring system."""
    pseudonym_key: Annotated[SecretStr, Field(min_length=32)]
    """Key of the pseudonyms that stand in place of applicants: at least 32 characters of chance."""
    parallel: int = Field(default=8, ge=1, le=64)
    """Calls to the monitoring system that may run at the same time."""
    call_seconds: float = Field(default=20.0, gt=0)
    """How long to wait for an answer."""
    keep_days: int = Field(default=400, ge=1)
    """How long measurements that were dealt with are kept for looking up."""
