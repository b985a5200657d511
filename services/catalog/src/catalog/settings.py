"""Settings of the catalogue: what every service has."""

from common.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """``CATALOG_…``"""

    model_config = service_config("CATALOG_")
