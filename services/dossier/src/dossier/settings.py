"""Settings of the service (``DOSSIER_…``)."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from common.settings import ServiceSettings, service_config


class Settings(ServiceSettings):
    """What every service has; the sealing keys open the applicant's data for reads."""

    model_config = service_config("DOSSIER_")

    working_days: Path | None = None
    """File that takes the place of ``working_days.json`` of this release, in the same form: for a
    decision on make-up days that came after it."""
    notice_working_days: float = Field(default=2, ge=0, le=100)
    """How many working days before its due date the approach of it is told. Counts for due dates
    that are set from then on, as the next one does."""
    notice_hours: float = Field(default=2, ge=0, le=1000)
    """The same for procedures whose time is counted in hours."""
    index_keys: dict[str, SecretStr] = Field(default={})
    """Keys of the index by which a person's dossiers are found: key id → 32 bytes in base64
    (JSON). Of its own, never a sealing key. Without any, nothing can be searched for."""
    index_key: str | None = None
    """Id of the key that new entries are made with; what is entered under others is made anew."""
    retention_policy: Path | None = None
    """File with the policy by which personal data is erased (docs/personal-data.md); without it
    everything is kept."""
    signing_rules: Path | None = None
    """File that says which results have to be signed and by whom (docs/dossiers.md); without it
    only those are signed whose source system asks for it."""
    audit_days: int = Field(default=800, ge=365)
    """How long it is kept who asked for personal data."""

    @model_validator(mode="after")
    def _index_of_its_own(self) -> Self:
        if self.index_key is not None and self.index_key not in self.index_keys:
            raise ValueError("index_key must name one of index_keys")
        sealing = {key.get_secret_value() for key in self.sealing_keys.values()}
        if sealing & {key.get_secret_value() for key in self.index_keys.values()}:
            raise ValueError("an index key must not be a sealing key")
        return self
