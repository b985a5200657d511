"""What the catalogue holds: procedures, agencies, code lists, and how their words are searched.

The models are both the form of the package data and the form that the REST API answers with.
Unknown is null and told apart from an empty list, which means that the source lists none.
"""

import re
import unicodedata
from datetime import date
from typing import Literal

from pydantic import Field, JsonValue

from catalog.domain.details import (
    Charge,
    Entry,
    Identification,
    LegalBasis,
    LinkedProcedure,
    ProcedureAgency,
    ProcessStep,
    ServiceLevelReason,
)
from common.contracts.catalog import ProcessingTime
from common.contracts.codes import PROCEDURE_PATTERN
from common.contracts.commands import Channel

Level = Literal["ministry", "province", "district", "commune", "other"]
"""Where a procedure is handled (cấp thực hiện); districts ended on 2025-07-01."""

Confidence = Literal["high", "medium", "low"]

Basis = Literal["law", "public-code", "page", "memory", "national-portal"]
"""What a source is: a legal text, public code or data, a page that describes it, memory, or the
national portal's own answer."""

Irregularity = Literal["surrounding-space", "extra-digits", "other-form"]
"""What is wrong with a procedure code that breaks the known form."""


Origin = Literal["package", "national", "operator"]
"""Who a version comes from: the data that comes with the service, the national portal's records,
or an operator."""


class FieldOfWork(Entry):
    """A field of administration (lĩnh vực)."""

    code: str | None = None
    name: str
    code_from: Literal["portal", "in-name", "name-match"] | None = None
    """How the code is known: from the portal, written in the field's name, or matched by name with
    the list of 2023 (which may have changed since)."""


class Promulgator(Entry):
    """The agency that published a procedure (cơ quan công bố); its level-1 code where known."""

    code: str | None = None
    name: str


class Duration(Entry):
    """A time for processing. Working days and calendar days are not converted into each other."""

    quantity: int | float | None = None
    unit: Literal["hour", "day", "working-day", "month", "none-given", "mixed"]
    """``none-given``: a number without a unit in the source; ``mixed``: it depends on the case."""


class WayIn(Entry):
    """A way to hand in a dossier, and how long processing takes then."""

    channel: Channel
    time: Duration | None = None
    charges: tuple[Charge, ...] | None = None
    note: str | None = None


class Case(Entry):
    """A case (trường hợp) of a procedure that has its own time."""

    code: str
    time: Duration


class ProcedureFee(Entry):
    """What the source says about fees; amounts in whole đồng."""

    kind: Literal["none-recorded", "fixed", "tiered", "see-note", "suspect", "unknown"]
    """``none-recorded``: 0, which is also the source's default; ``see-note``: the note says that
    there is one or that a province decides; ``suspect``: below 1,000 đồng, most likely a unit
    error at the source."""
    amount: int | None = None
    least: int | None = None
    most: int | None = None
    us_dollars: tuple[int, ...] = ()
    recorded: tuple[int, ...] = ()
    """The amounts of a ``suspect`` fee as the source has them."""
    note: str | None = None


class RequiredDocument(Entry):
    """A paper of the dossier (thành phần hồ sơ): how many originals and copies."""

    name: str
    code: str | None = None
    case: str | None = None
    originals: int = 0
    copies: int = 0
    form: str | None = None
    """Name of the form to be filled in (mẫu đơn)."""
    form_url: str | None = None
    replaced_by: str | None = None
    """Code of the result of another procedure that stands in for it."""


class ResultDocument(Entry):
    """A paper that the procedure ends with (kết quả thực hiện)."""

    code: str | None = None
    name: str | None = None


class Source(Entry):
    """Where a procedure's entry comes from: names in ``manifest.json`` of the package data."""

    catalogue: str | None = None
    details: str | None = None


class Procedure(Entry):
    """A procedure (thủ tục hành chính) as the national catalogue has it."""

    code: str
    name: str
    field: FieldOfWork
    promulgator: Promulgator
    implementing: tuple[str, ...] = ()
    implementing_total: int | None = None
    levels: tuple[Level, ...] | None = None
    kind: Literal["standard", "province-specific", "internal"] | None = None
    active: bool = True
    applicants: tuple[str, ...] | None = None
    """Codes of the list ``applicant_subject_type``."""
    ways_in: tuple[WayIn, ...] | None = None
    time: Duration | None = None
    cases: tuple[Case, ...] = ()
    fee: ProcedureFee = ProcedureFee(kind="unknown")
    service_level: Literal["full", "partial"] | None = None
    service_level_from: (
        Literal["official-name", "commune-handbook", "national-portal", "operator"] | None
    ) = None
    service_level_reason: ServiceLevelReason | None = None
    """Why it is only partial, and by which law; null where no source says."""
    portal_flags: tuple[str, ...] = ()
    documents: tuple[RequiredDocument, ...] | None = None
    documents_total: int | None = None
    results: tuple[ResultDocument, ...] | None = None
    decision: str | None = None
    """Number of the decision that published it."""
    source: Source = Source()
    note: str | None = None
    irregular: Irregularity | None = None
    topics: tuple[str, ...] | None = None
    """Life events and topics that it is grouped under."""
    keywords: tuple[str, ...] | None = None
    legal_basis: tuple[LegalBasis, ...] | None = None
    required_identification: Identification | None = None
    linked: tuple[LinkedProcedure, ...] | None = None
    agencies: tuple[ProcedureAgency, ...] | None = None
    steps: tuple[ProcessStep, ...] | None = None
    requirements: str | None = None
    reception_address: str | None = None
    audience_note: str | None = None

    @property
    def longest_time(self) -> ProcessingTime | None:
        """The time by which a dossier is judged; null where the source leaves it open."""
        if self.time is None or self.time.quantity is None:
            return None
        match self.time.unit:
            case "hour" | "day" | "working-day" | "month" as unit:
                return ProcessingTime(quantity=self.time.quantity, unit=unit)
            case _:
                return None

    @property
    def has_fee(self) -> bool | None:
        """Whether the source records a fee; null where it leaves that open."""
        match self.fee.kind:
            case "fixed" | "tiered" | "suspect":
                return True
            case "none-recorded":
                return False
            case _:
                return None


class Validity(Entry):
    """From which day to which a version is valid, both included, and who it comes from."""

    version: int
    """Raised by every change."""
    valid_from: date | None = None
    """Null for the first version known: it was valid as long as the catalogue knows of it."""
    valid_to: date | None = None
    """Null while no later version follows; before ``valid_from`` where the version was replaced
    before it was ever valid."""
    origin: Origin


class PublishedProcedure(Procedure, Validity):
    """A procedure as it is served."""


class ProcedureBrief(Entry):
    """A procedure in a list."""

    code: str
    name: str
    field: FieldOfWork
    promulgator: Promulgator
    levels: tuple[Level, ...] | None
    service_level: Literal["full", "partial"] | None
    active: bool
    irregular: Irregularity | None
    version: int


class Agency(Entry):
    """An agency with a level-1 identification code (QĐ 20/2020/QĐ-TTg, QĐ 09/2025/QĐ-TTg)."""

    code: str
    """New form, level 1 leftmost."""
    legacy_code: str | None = None
    """Old form (QCVN 102:2016), level 1 rightmost."""
    kind: (
        Literal[
            "ministry", "ministerial-level-agency", "government-agency", "other-central", "province"
        ]
        | None
    ) = None
    """Null for agencies below level 1."""
    name: str
    name_en: str | None = None
    """For people's committees put together from the province's English name."""
    short_name: str | None = None
    former_names: tuple[str, ...] = ()
    active: bool = True
    valid_from: date | None = None
    valid_to: date | None = None
    closed_by: str | None = None
    successor: str | None = None
    absorbed: tuple[str, ...] = ()
    """Codes of the agencies that it took over."""
    portal_domain: str | None = None
    """Seen in a public source, not tried."""
    gso_code: str | None = None
    gso_code_before_2025_07: str | None = None
    """The numbers of some provinces passed to others on 2025-07-01; the agency codes did not."""
    listed_in: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    confidence: Confidence
    note: str | None = None


class PublishedAgency(Agency):
    """An agency as it is served. ``valid_from`` and ``valid_to`` are the agency's own days."""

    version: int
    """Raised by every change."""
    version_from: date | None = None
    """First day of this version."""
    version_to: date | None = None
    origin: Origin
    parent: str | None = None
    """The next higher agency of the hierarchy, as the code says it."""


class CodeItem(Entry):
    """One code, exactly as it stands on the wire."""

    code: str
    name: str
    name_en: str | None = None
    attributes: dict[str, JsonValue] = Field(default_factory=dict)


class CodeList(Entry):
    """A code list with its own version, source and confidence."""

    id: str
    title: str
    version: str
    effective_from: date | None = None
    effective_to: date | None = None
    basis: Basis
    confidence: Confidence
    sources: tuple[str, ...] = ()
    used_in: tuple[str, ...] = ()
    note: str | None = None
    items: tuple[CodeItem, ...]


class PublishedCodeList(CodeList):
    """A code list as it is served. ``version`` is its source's, ``revision`` counts changes."""

    revision: int
    revision_from: date | None = None
    revision_to: date | None = None
    origin: Origin


class CodeListBrief(Entry):
    """A code list without its items."""

    id: str
    title: str
    version: str
    effective_from: date | None
    effective_to: date | None
    basis: Basis
    confidence: Confidence
    items: int


_WELL_FORMED = re.compile(PROCEDURE_PATTERN)
_EXTRA_DIGITS = re.compile(r"^\d\.\d{7,}$")


def parent_of(code: str) -> str | None:
    """The next higher agency: ``H56`` of ``H56.14``; None for level 1."""
    parent, _, last = code.rpartition(".")
    return parent if last and parent else None


def irregularity(code: str) -> Irregularity | None:
    """What is wrong with a procedure code that breaks the known form, or None.

    The national catalogue holds a few. They are kept as they are, and no dossier can name them.
    """
    if _WELL_FORMED.fullmatch(code):
        return None
    if code != code.strip():
        return "surrounding-space"
    return "extra-digits" if _EXTRA_DIGITS.fullmatch(code) else "other-form"


def fold(text: str) -> str:
    """Words in lower case, without diacritics and punctuation: ``Cấp phép,`` becomes ``cap phep``.

    Dots within a word stay, since codes have them.
    """
    plain = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    bare = (letter for letter in plain if not unicodedata.combining(letter))
    spaced = "".join(letter if letter.isalnum() or letter == "." else " " for letter in bare)
    return " ".join(word for part in spaced.split() if (word := part.strip(".")))
