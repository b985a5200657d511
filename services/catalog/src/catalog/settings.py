"""Settings of the catalogue."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import Field, SecretStr

from common.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """``CATALOG_…``"""

    model_config = service_config("CATALOG_")

    check_hours: float = Field(default=24.0, ge=0.1, le=24 * 30)
    """How often the host of a registered channel is checked."""
    check_parallel: int = Field(default=4, ge=1, le=32)
    """Hosts that are checked at the same time."""
    check_keep_days: int = Field(default=400, ge=30)
    """How long results of checks and daily counts of exchanges are kept."""
    probe_seconds: float = Field(default=10.0, gt=0, le=30)
    """How long one connection of a check, or one question to the resolver, may take."""
    probe_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may be connected to although they are not public (JSON): for rehearsals."""
    probe_trust: Path | None = None
    """PEM bundle of trusted roots in place of the system's own."""
    probe_https_port: int = Field(default=443, ge=1, le=65535)
    probe_http_port: int = Field(default=80, ge=1, le=65535)

    portal_url: str = ""
    """Where the national portal's adapter takes calls; empty: its catalogue is not synced."""
    portal_login_path: str = "/login"
    """Below ``portal_url``. No source tells the paths of the real portal."""
    portal_call_path: str = "/"
    portal_username: str = ""
    portal_password: SecretStr = SecretStr("")
    portal_unit: str = ""
    """``madonvi`` of every call: the unit this account speaks for."""
    portal_dstcode: str = ""
    """Header ``dstcode``: the system the exchange passes calls on to."""
    portal_call_seconds: float = Field(default=60.0, gt=0)
    """How long a call may take; 60 s was seen in practice."""
    portal_sync_hours: float = Field(default=24.0, gt=0, le=24 * 30)
    """Between the beginnings of two syncs of the catalogue."""
    portal_parallel: int = Field(default=4, ge=1, le=32)
    """Calls of the sync at the same time."""
