"""What catalog tells: the published procedures and agencies."""

from datetime import date
from typing import ClassVar, Literal

from common.contracts.base import Data, Event, RequiredNulls


class Field(RequiredNulls, Data):
    """A field of administration (lĩnh vực); its code is unknown for some procedures."""

    code: str | None
    name: str


class ProcessingTime(Data):
    """How long processing may take. Working days and calendar days are different things."""

    quantity: float
    unit: Literal["hour", "day", "working-day", "month"]


class ProcedurePublished(Event):
    """A version of a procedure (thủ tục hành chính) as it stands in the catalogue.

    A dossier is judged by the version that was valid on the day it was handed in. Telling a
    version again with another ``valid_to`` closes it.
    """

    TYPE: ClassVar[str] = "catalog.procedure-published.v1"
    PRODUCER: ClassVar[str] = "catalog"

    code: str
    name: str
    field: Field
    promulgator: str | None = None
    """Code of the agency that published it."""
    service_level: Literal["full", "partial"] | None = None
    """Toàn trình or một phần (NĐ 42/2022 Điều 11); null where no source says."""
    has_fee: bool | None = None
    time: ProcessingTime | None = None
    """The longest time of any channel; null where the source has none or leaves it open."""
    active: bool = True
    version: int
    valid_from: date | None = None
    """First day; null for a version that has been valid as long as the catalogue knows of it."""
    valid_to: date | None = None
    """Last day; null while it is the current one."""


class EditionPublished(Event):
    """A load of the catalogue was told in full. Stream: ``edition``.

    Procedures and agencies are streams of their own, so this can overtake some of them: a replica
    is complete once it holds as many as are counted here.
    """

    TYPE: ClassVar[str] = "catalog.edition-published.v1"
    PRODUCER: ClassVar[str] = "catalog"

    revision: int
    name: str
    procedures: int
    """How many different procedures have been told since the first edition."""
    agencies: int


class AgencyPublished(RequiredNulls, Event):
    """An agency with its code in the new form, validity and successor."""

    TYPE: ClassVar[str] = "catalog.agency-published.v1"
    PRODUCER: ClassVar[str] = "catalog"

    code: str
    legacy_code: str | None
    name: str
    active: bool
    valid_from: date | None = None
    valid_to: date | None = None
    successor: str | None = None
    parent: str | None = None
    version: int
