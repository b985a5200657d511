"""What this service is told from outside."""

from pydantic import Field, SecretStr

from common.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """``NATIONAL_PORTAL_SYNC_…``"""

    model_config = service_config("NATIONAL_PORTAL_SYNC_")

    portal_url: str
    """Where the portal's adapter takes calls."""
    portal_login_path: str = "/login"
    """Below ``portal_url``. No source tells the paths of the real portal."""
    portal_call_path: str = "/"
    portal_username: str
    portal_password: SecretStr
    portal_unit: str
    """``madonvi`` of every call: the unit this account speaks for."""
    portal_dstcode: str
    """Header ``dstcode``: the system the exchange passes calls on to."""
    call_seconds: float = Field(default=60.0, gt=0)
    """How long a call may take; 60 s was seen in practice."""
    batch: int = Field(default=100, ge=1, le=1000)
    """Items a call carries."""
    parallel: int = Field(default=4, ge=1, le=32)
    """Calls at the same time."""
