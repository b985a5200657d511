"""What belongs to a procedure: its law, agencies, steps, forms. Null where no source says."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Entry(BaseModel):
    """A part of the catalogue: never changed, only followed by another version."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LegalBasis(Entry):
    """A legal text that a procedure rests on (căn cứ pháp lý), with its dates."""

    number: str | None = None
    """Such as ``38/2018/NĐ-CP``."""
    name: str | None = None
    issuer: str | None = None
    issued: date | None = None
    effective: date | None = None


class ServiceLevelReason(Entry):
    """Why a service is only partial (NĐ 42/2022 Điều 11), and which text says so."""

    reason: str
    basis: LegalBasis | None = None


class Identification(Entry):
    """The electronic identification that a service requires (NĐ 42/2022 Điều 12)."""

    account_level: Literal["01", "02"]
    """Level of the identification account: code list ``identity_account_level``."""
    note: str | None = None


class LinkedProcedure(Entry):
    """A procedure that is carried out together with this one (thủ tục liên thông)."""

    code: str
    name: str | None = None
    relation: str | None = None


class ProcedureAgency(Entry):
    """An agency and what it does in a procedure."""

    role: Literal["executing", "competent", "coordinating"]
    code: str | None = None
    name: str


class ProcessStep(Entry):
    """A step of the way that a dossier goes (trình tự thực hiện)."""

    name: str
    case: str | None = None


class Charge(Entry):
    """A fee as the source lists it for one way in; the amount as a number only where it is one."""

    code: str | None = None
    amount: float | None = None
    recorded: str | None = None
    """The amount as written, where it is no number."""
    unit: str | None = None
    note: str | None = None
