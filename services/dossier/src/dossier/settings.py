"""Settings of the service (``DOSSIER_…``)."""

from common.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """What every service has; the sealing keys open the applicant's data for reads."""

    model_config = service_config("DOSSIER_")
