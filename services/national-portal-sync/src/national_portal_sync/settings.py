"""What this service is told from outside."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from common.settings import LinkSettings, ServiceSettings, service_config


class Settings(ServiceSettings, LinkSettings):
    """``NATIONAL_PORTAL_SYNC_…``"""

    model_config = service_config("NATIONAL_PORTAL_SYNC_")

    portal_url: str
    """Where the portal's adapter takes calls."""
    portal_login_path: str = "/login"
    """Below ``portal_url``. No source tells the paths of the real portal."""
    portal_call_path: str = "/"
    portal_username: str | None = None
    """Of the default account, which speaks for all agencies that no account of the file names;
    without it those have to wait."""
    portal_password: SecretStr | None = None
    portal_unit: str | None = None
    """``madonvi`` of every call: the unit the default account speaks for."""
    portal_dstcode: str | None = None
    """Header ``dstcode``: the system the exchange passes the default account's calls on to."""
    portal_profile: Literal["basic", "2023", "2023-assumed"] = "2023"
    """Fields that the portal takes, where an account does not say otherwise."""
    calls_per_second: float | None = Field(default=None, gt=0, le=1000)
    """Calls that an account makes at the most, where it does not say otherwise."""
    accounts_file: Path | None = None
    """The agencies' accounts (JSON; see docs/portal-accounts.md)."""
    accounts_passwords: Path | None = None
    """Folder of the accounts' password files; that of ``accounts_file`` by default."""
    accounts_seconds: float = Field(default=5.0, gt=0)
    """How often the accounts and their passwords are read again."""
    call_seconds: float = Field(default=60.0, gt=0)
    """How long a call may take; 60 s was seen in practice."""
    batch: int = Field(default=100, ge=1, le=1000)
    """Dossiers a call carries."""
    progress_batch: int = Field(default=10, ge=1, le=1000)
    """Steps a call carries; 10 was seen in practice."""
    parallel: int = Field(default=4, ge=1, le=32)
    """Calls of an account at the same time, where it does not say otherwise."""
    parallel_in_all: int = Field(default=16, ge=1, le=256)
    """Calls of all accounts at the same time."""
    reconciliation_hour: int | None = Field(default=2, ge=0, le=23)
    """Hour of the night (Vietnam) from which reconciliations are begun; none for never."""
    reconciliation_days_back: tuple[int, ...] = (1, 8, 31)
    """Which days these are for: how many days ago dossiers were received."""
    reconciliation_per_second: float = Field(default=10.0, gt=0, le=1000)
    """Questions a second that reconciliation asks the portal at the most."""
    reconciliation_heal_most: int = Field(default=2000, ge=0)
    """Dossiers that one run sends again at the most."""
    reconciliation_lists: bool = False
    """The portal offers a list of a day (no source tells that it does)."""
    questions_seconds: float = Field(default=300.0, ge=0)
    """How often questions are fetched from the portal; 0 for never."""

    @model_validator(mode="after")
    def _somebody_speaks(self) -> Self:
        default = {
            "portal_username": self.portal_username,
            "portal_password": self.portal_password,
            "portal_unit": self.portal_unit,
            "portal_dstcode": self.portal_dstcode,
        }
        missing = [name for name, value in default.items() if value is None]
        if missing and (len(missing) < len(default) or self.accounts_file is None):
            raise ValueError(f"the default account needs {', '.join(missing)} (or accounts_file)")
        return self
