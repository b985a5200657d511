"""Old dossiers as operators hand them in: one to a line, as it stood at its end, with its history.

Strict, every field limited, none beyond those named. Times without a zone are Vietnamese time, and
a day alone is its beginning, since old systems wrote no more.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)
from pydantic_core import PydanticCustomError

from common.contracts import commands
from common.contracts.catalog import Field as ProcedureField
from common.contracts.codes import AgencyCode, DossierCode, ProcedureCode, agency_of_dossier
from common.contracts.commands import ApplicantKind, Channel, ProcedureSummary, Satisfaction
from common.contracts.dossier import (
    DossierState,
    Rating,
    ResultPaper,
    Status,
    StepTaken,
    Supplement,
)
from dossier.domain.model import Dossier
from dossier.domain.table import Kind

Seal = Callable[[Mapping[str, Any]], str]

_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_VIETNAM = timezone(timedelta(hours=7))
_IDS = UUID("0e1b4d6a-0d1e-5d63-9b39-4f5b7f2f6c11")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_IDENTITIES = {
    "citizen-id": r"[0-9]{12}",
    "old-citizen-id": r"[0-9]{9}",
    "passport": r"[0-9A-Za-z]{5,20}",
    "tax-code": r"[0-9]{10}(-[0-9]{3})?|[0-9]{12}",
}
_KINDS: Mapping[Status, Kind] = {
    "1": "submit",
    "2": "receive",
    "3": "refuse",
    "4": "progress",
    "5": "request-supplement",
    "6": "request-fee",
    "7": "withdraw",
    "8": "pause",
    "9": "complete",
    "10": "return",
}
"""The step that leads to each status, where the history tells of none."""

_NO_CONTROLS = r"[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"


def _text(longest: int) -> StringConstraints:
    pattern = rf"^{_NO_CONTROLS}*[^\s\x00-\x1F\x7F]{_NO_CONTROLS}*$"
    return StringConstraints(min_length=1, max_length=longest, pattern=pattern)


def _moment(value: object) -> datetime:
    if isinstance(value, str) and _DAY.fullmatch(value):
        value = f"{value}T00:00:00"
    if not (isinstance(value, str) and _MOMENT.fullmatch(value)):
        raise PydanticCustomError("datetime_parsing", "Input should be a date or date-time")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise PydanticCustomError(
            "datetime_parsing", "Input should be a moment that exists"
        ) from None
    if moment.year not in range(1976, 2201):
        raise PydanticCustomError("moment_range", "Input should lie between 1976 and 2200")
    return (moment if moment.tzinfo else moment.replace(tzinfo=_VIETNAM)).astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]
Code = Annotated[str, _text(100)]
Name = Annotated[str, _text(300)]
Text = Annotated[str, _text(2000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[!-~]+$")]


class HistoricField(BaseModel):
    """The field a procedure belongs to."""

    model_config = _STRICT

    code: Code | None = None
    name: Name


class HistoricProcedure(BaseModel):
    """The procedure as the old dossier names it."""

    model_config = _STRICT

    code: ProcedureCode
    name: Annotated[str, _text(1000)]
    field: HistoricField


class HistoricIdentity(BaseModel):
    """A number that identifies a person or organisation."""

    model_config = _STRICT

    type: Literal["citizen-id", "old-citizen-id", "passport", "tax-code"]
    number: Annotated[str, StringConstraints(min_length=5, max_length=20)]

    @field_validator("number")
    @classmethod
    def _form(cls, value: str, info: Any) -> str:
        pattern = _IDENTITIES.get(info.data.get("type", ""))
        if pattern is not None and not re.fullmatch(pattern, value):
            raise PydanticCustomError(
                "identity_number", "Input should have the form of this type of number"
            )
        return value


class HistoricApplicant(BaseModel):
    """Who handed the dossier in. All but ``kind`` is sealed on entry."""

    model_config = _STRICT

    kind: ApplicantKind
    name: Name
    identity: HistoricIdentity | None = None
    portal_account: Code | None = None
    email: Annotated[str, _text(254)] | None = None
    phone: Annotated[str, _text(50)] | None = None
    address: Annotated[str, _text(500)] | None = None

    def personal(self) -> dict[str, Any]:
        """What is to be sealed, in the form that the gateway seals it in."""
        return self.model_dump(mode="json", exclude={"kind"}, exclude_none=True)


class HistoricOfficial(commands.Official):
    """Who handled a step."""

    model_config = _STRICT

    name: Name
    title: Name | None = None
    department: Name | None = None


class HistoricDocument(commands.Document):
    """A paper that was handed in."""

    model_config = _STRICT

    id: Code
    name: Annotated[str, _text(500)]
    component: Code | None = None
    url: Url | None = None
    file: Digest | None = None
    reused: Literal["0", "1", "2"] | None = None
    replaced_by: Code | None = None


class HistoricFee(commands.Fee):
    """A fee or charge; the amount in whole đồng."""

    model_config = _STRICT

    code: Code | None = None
    name: Name
    amount: Annotated[int, Field(ge=0, le=10**13)]
    kind: Code | None = None
    method: Code | None = None


class HistoricResult(BaseModel):
    """A result paper; nothing is signed anew."""

    model_config = _STRICT

    id: Code
    name: Annotated[str, _text(500)]
    component: Code | None = None
    code: Code | None = None
    file: Digest | None = None


class HistoricRating(BaseModel):
    """How satisfied the applicant was."""

    model_config = _STRICT

    satisfaction: Satisfaction
    source: Name
    at: Moment


class HistoricStep(BaseModel):
    """A line of the history."""

    model_config = _STRICT

    kind: Kind
    status: Status
    at: Moment
    official: HistoricOfficial | None = None
    note: Text | None = None
    started_at: Moment | None = None
    due_at: Moment | None = None
    channel: Channel | None = None


class HistoricDossier(BaseModel):
    """A line of the file."""

    model_config = _STRICT

    code: DossierCode
    agency: AgencyCode | None = None
    """The code's agency unless given: after a merger it may be the successor."""
    procedure: HistoricProcedure
    channel: Channel
    applicant: HistoricApplicant
    summary: Annotated[str, _text(1000)]
    status: Status
    submitted_at: Moment
    received_at: Moment | None = None
    due_at: Moment | None = None
    finished_at: Moment | None = None
    returned_at: Moment | None = None
    refused_at: Moment | None = None
    processing_unit: Name | None = None
    receipt_number: Code | None = None
    return_method: Literal["0", "1"] | None = None
    paid_online: bool | None = None
    documents: Annotated[tuple[HistoricDocument, ...], Field(max_length=200)] = ()
    fees: Annotated[tuple[HistoricFee, ...], Field(max_length=100)] = ()
    results: Annotated[tuple[HistoricResult, ...], Field(max_length=50)] = ()
    rating: HistoricRating | None = None
    remark: Text | None = None
    steps: Annotated[tuple[HistoricStep, ...], Field(max_length=500)] = ()

    @field_validator("code")
    @classmethod
    def _of_an_agency(cls, code: str) -> str:
        try:
            agency_of_dossier(code)
        except ValueError:
            raise PydanticCustomError(
                "agency_part", "The code's agency part is in neither form"
            ) from None
        return code

    def home(self) -> str:
        """The agency whose dossier it is."""
        return self.agency or agency_of_dossier(self.code)

    def content(self) -> bytes:
        """All that is not personal, the same for every way of writing the same."""
        return self.model_dump_json(
            exclude={"applicant": set(HistoricApplicant.model_fields) - {"kind"}},
            exclude_defaults=True,
        ).encode()


def faults(line: HistoricDossier, now: datetime) -> list[tuple[str, str, str]]:
    """What contradicts itself in a line whose fields are each in order.

    Returns:
        JSON pointer, and what is wrong with it in Vietnamese and English.
    """
    told = []
    moments = {
        f"/{name}": moment
        for name in ("submitted_at", "received_at", "finished_at", "returned_at", "refused_at")
        if (moment := getattr(line, name)) is not None
    }
    for pointer, moment in moments.items():
        if moment < line.submitted_at:
            told.append((pointer, "trước thời điểm nộp hồ sơ", "lies before the submission"))
    moments |= {f"/steps/{n}/at": step.at for n, step in enumerate(line.steps)}
    for pointer, moment in moments.items():
        if moment > now:
            told.append((pointer, "nằm trong tương lai", "lies in the future"))
    for n, (one, following) in enumerate(zip(line.steps, line.steps[1:], strict=False)):
        if following.at < one.at:
            told.append((f"/steps/{n + 1}/at", "trước bước liền trước", "lies before its step"))
    if line.steps and line.steps[-1].status != line.status:
        told.append(
            (
                "/status",
                "khác trạng thái của bước cuối cùng",
                "differs from the status of the last step",
            )
        )
    for place, papers in (("documents", line.documents), ("results", line.results)):
        if len({paper.id for paper in papers}) < len(papers):
            told.append((f"/{place}", "mã giấy tờ bị trùng", "an id is given twice"))
    return told


def entered(line: HistoricDossier, seal: Seal) -> tuple[Dossier, tuple[StepTaken, ...]]:
    """The dossier of a line, with its history; a step by a live command can follow."""
    steps = tuple(_steps(line))
    status, last = line.status, steps[-1]
    state = DossierState(
        id=uuid5(_IDS, line.code),
        code=line.code,
        agency=line.home(),
        procedure=ProcedureSummary(
            code=line.procedure.code,
            name=line.procedure.name,
            field=ProcedureField(code=line.procedure.field.code, name=line.procedure.field.name),
        ),
        channel=line.channel,
        applicant_kind=line.applicant.kind,
        sealed=seal(line.applicant.personal()),
        summary=line.summary,
        status=status,
        processing_unit=line.processing_unit,
        receipt_number=line.receipt_number,
        submitted_at=line.submitted_at,
        received_at=line.received_at,
        due_at=line.due_at,
        finished_at=line.finished_at,
        returned_at=line.returned_at,
        refused_at=line.refused_at,
        return_method=line.return_method,
        paid_online=line.paid_online,
        documents=line.documents,
        fees=line.fees,
        supplements=(_asked(last, line.due_at),) if status == "5" else (),
        results=tuple(ResultPaper(**result.model_dump()) for result in line.results),
        rating=Rating(**line.rating.model_dump()) if line.rating else None,
        remark=line.remark,
        historic=True,
    )
    dossier = Dossier(
        state=state,
        steps=len(steps),
        interrupted=(_before(line, steps),) if status in ("5", "6") else (),
        fee_open=status == "6",
    )
    return dossier, steps


def _steps(line: HistoricDossier) -> list[StepTaken]:
    if line.steps:
        return [StepTaken(number=number, **dict(step)) for number, step in enumerate(line.steps, 1)]
    moments = {
        "2": line.received_at,
        "3": line.refused_at,
        "9": line.finished_at,
        "10": line.returned_at or line.finished_at,
    }
    at = moments.get(line.status) or line.received_at or line.submitted_at
    return [StepTaken(number=1, kind=_KINDS[line.status], status=line.status, at=at)]


def _asked(step: StepTaken, due_at: datetime | None) -> Supplement:
    return Supplement(
        number=1,
        content=step.note or "Yêu cầu bổ sung hồ sơ",
        requested_at=step.at,
        requested_by=step.official.name if step.official else None,
        due_before=due_at,
    )


def _before(line: HistoricDossier, steps: tuple[StepTaken, ...]) -> Status:
    """What a dossier that waits for its applicant goes back to."""
    for step in reversed(steps):
        if step.status in ("1", "2", "4"):
            return step.status
    return "2" if line.received_at else "1"
