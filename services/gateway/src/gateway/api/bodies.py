"""What clients send: strict, every field limited, none beyond those named.

Steps extend the commands of the published language and repeat every field with its limits; a test
sees to it that none is forgotten.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from common.contracts import commands
from common.contracts.codes import AgencyCode, DossierCode, ProcedureCode

Seal = Callable[[Any], str]
"""Seals a JSON value for the dossier at hand."""

STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_YEARS = range(1900, 2201)
_NO_CONTROLS = r"[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"
_WITH_CONTENT = rf"^{_NO_CONTROLS}*[^\s\x00-\x1F\x7F]{_NO_CONTROLS}*$"


def _moment(value: object) -> datetime:
    """An RFC 3339 time with its offset, as UTC, so that one moment is written in one way."""
    if not (isinstance(value, str) and _RFC3339.fullmatch(value)):
        raise PydanticCustomError("datetime_parsing", "Input should be an RFC 3339 date-time")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise PydanticCustomError(
            "datetime_parsing", "Input should be a moment that exists"
        ) from None
    if moment.tzinfo is None:
        raise PydanticCustomError("timezone_aware", "Input should have timezone info")
    if moment.year not in _YEARS:
        raise PydanticCustomError("moment_range", "Input should lie between 1900 and 2200")
    return moment.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with an offset, from 1900 to 2200",
            "examples": ["2026-11-02T08:00:00+07:00"],
        }
    ),
]


def _text(longest: int) -> StringConstraints:
    """Some text, without control characters other than tab and line ends."""
    return StringConstraints(min_length=1, max_length=longest, pattern=_WITH_CONTENT)


Code = Annotated[str, _text(100)]
Name = Annotated[str, _text(300)]
Text = Annotated[str, _text(2000)]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[!-~]+$")]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^\s@\x00-\x1F\x7F]+@[^\s@\x00-\x1F\x7F]+$")
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

IDENTITY_PATTERNS = {
    "citizen-id": r"[0-9]{12}",
    "old-citizen-id": r"[0-9]{9}",
    "passport": r"[0-9A-Za-z]{5,20}",
    "tax-code": r"[0-9]{10}(-[0-9]{3})?|[0-9]{12}",
}
"""Form only. Check digits are known from memory alone and refuse nobody."""


class Official(commands.Official):
    """Who handled a step on the agency's side."""

    model_config = STRICT

    name: Name
    title: Name | None = None
    department: Name | None = None


class Document(commands.Document):
    """A paper handed in with the dossier."""

    model_config = STRICT

    id: Code
    name: Annotated[str, _text(500)]
    component: Code | None = None
    url: Url | None = None
    digitised: bool | None = None


class Fee(commands.Fee):
    """A fee or charge; the amount in whole đồng."""

    model_config = STRICT

    code: Code | None = None
    name: Name
    amount: Annotated[int, Field(ge=0, le=10**13)]
    kind: Code | None = None


Documents = Annotated[tuple[Document, ...], Field(max_length=200)]
Fees = Annotated[tuple[Fee, ...], Field(max_length=100)]


class Identity(BaseModel):
    """A number that identifies a person or organisation."""

    model_config = STRICT

    type: Literal["citizen-id", "old-citizen-id", "passport", "tax-code"]
    number: Annotated[str, StringConstraints(min_length=5, max_length=20)]

    @field_validator("number")
    @classmethod
    def _form(cls, value: str, info: ValidationInfo) -> str:
        pattern = IDENTITY_PATTERNS.get(info.data.get("type", ""))
        if pattern is not None and not re.fullmatch(pattern, value):
            raise PydanticCustomError(
                "identity_number", "Input should have the form of this type of number"
            )
        return value


class Applicant(BaseModel):
    """Who hands the dossier in. All but ``kind`` is kept sealed."""

    model_config = STRICT

    kind: commands.ApplicantKind
    name: Name
    identity: Identity | None = None
    portal_account: Code | None = None
    email: Email | None = None
    phone: Annotated[str, _text(50)] | None = None
    address: Annotated[str, _text(500)] | None = None

    def personal(self) -> dict[str, Any]:
        """What is to be sealed."""
        return self.model_dump(mode="json", exclude={"kind"}, exclude_none=True)


class Submit(BaseModel):
    """A dossier that is handed in."""

    model_config = STRICT

    code: DossierCode
    agency: AgencyCode | None = None
    """The code's agency unless given; then that one, or one above or below it."""
    procedure: ProcedureCode
    channel: commands.Channel
    applicant: Applicant
    summary: Annotated[str, _text(1000)]
    submitted_at: Moment
    processing_unit: Name | None = None
    documents: Documents = ()
    fees: Fees = ()
    return_method: Literal["0", "1"] | None = None
    official: Official | None = None
    note: Text | None = None

    def canonical(self) -> bytes:
        """The same for every way of writing the same; the agency counts as it is resolved."""
        return self.model_dump_json(exclude={"agency"}, exclude_defaults=True).encode()

    def command(self, procedure: commands.ProcedureSummary, seal: Seal) -> commands.Submit:
        """The command, its personal fields sealed."""
        return commands.Submit.model_construct(
            at=self.submitted_at,
            official=self.official,
            note=self.note,
            procedure=procedure,
            channel=self.channel,
            applicant_kind=self.applicant.kind,
            sealed=seal(self.applicant.personal()),
            summary=self.summary,
            processing_unit=self.processing_unit,
            documents=self.documents,
            fees=self.fees,
            return_method=self.return_method,
        )


class StepBody(commands.Step):
    """What every step says of itself."""

    model_config = STRICT

    at: Moment
    official: Official | None = None
    note: Text | None = None

    def canonical(self) -> bytes:
        """The same for every way of writing the same."""
        return self.model_dump_json(exclude_defaults=True).encode()

    def files(self) -> list[tuple[str, str]]:
        """Files it refers to, by digest, each with the JSON pointer to where."""
        return []


class Receive(StepBody, commands.Receive):
    """The agency takes the dossier in and names the day the result is due."""

    model_config = STRICT

    kind: Literal["receive"]
    due_at: Moment | None = None
    receipt_number: Code | None = None


class Refuse(StepBody, commands.Refuse):
    """The agency does not take the dossier in."""

    model_config = STRICT

    kind: Literal["refuse"]
    reason: Text


class Progress(StepBody, commands.Progress):
    """One step of processing."""

    model_config = STRICT

    kind: Literal["progress"]
    started_at: Moment | None = None
    due_at: Moment | None = None


class RequestSupplement(StepBody, commands.RequestSupplement):
    """The agency asks for more papers."""

    model_config = STRICT

    kind: Literal["request-supplement"]
    content: Text


class GiveSupplement(StepBody, commands.GiveSupplement):
    """The applicant hands in what was asked for."""

    model_config = STRICT

    kind: Literal["give-supplement"]
    documents: Documents = ()
    due_at: Moment | None = None


class RequestFee(StepBody, commands.RequestFee):
    """The agency asks for fees to be paid."""

    model_config = STRICT

    kind: Literal["request-fee"]
    fees: Annotated[tuple[Fee, ...], Field(min_length=1, max_length=100)]


class RecordFee(StepBody, commands.RecordFee):
    """The fees were paid."""

    model_config = STRICT

    kind: Literal["record-fee"]
    online: bool


class Pause(StepBody, commands.Pause):
    """Processing stops for good."""

    model_config = STRICT

    kind: Literal["pause"]
    reason: Text


class Withdraw(StepBody, commands.Withdraw):
    """The applicant takes the dossier back."""

    model_config = STRICT

    kind: Literal["withdraw"]
    reason: Text


class SigningWish(BaseModel):
    """Who is to sign a result, and with which provider. ``user`` is kept sealed."""

    model_config = STRICT

    user: Annotated[str, StringConstraints(pattern=r"^([0-9]{12}|[0-9]{10}(-[0-9]{3})?)$")]
    ca_name: Code
    reason: Annotated[str, _text(500)] | None = None


class Result(BaseModel):
    """A result paper; ``file`` is the SHA-256 that the upload answered."""

    model_config = STRICT

    id: Code
    name: Annotated[str, _text(500)]
    file: Digest | None = None
    component: Code | None = None
    signing: SigningWish | None = None

    @model_validator(mode="after")
    def _something_to_sign(self) -> "Result":
        if self.signing is not None and self.file is None:
            raise PydanticCustomError("file_missing", "A result that is to be signed needs a file")
        return self


class Complete(StepBody):
    """Processing is done; results may still have to be signed."""

    model_config = STRICT

    kind: Literal["complete"]
    results: Annotated[tuple[Result, ...], Field(max_length=50)] = ()

    def files(self) -> list[tuple[str, str]]:
        return [
            (result.file, f"/results/{number}/file")
            for number, result in enumerate(self.results)
            if result.file is not None
        ]

    def sealed(self, seal: Seal) -> commands.Complete:
        """The command, its personal fields sealed."""
        results = tuple(
            commands.Result(
                id=result.id,
                name=result.name,
                file=result.file,
                component=result.component,
                signing=commands.SigningWish(
                    sealed_user=seal(result.signing.user),
                    ca_name=result.signing.ca_name,
                    reason=result.signing.reason,
                )
                if result.signing
                else None,
            )
            for result in self.results
        )
        return commands.Complete(
            at=self.at, official=self.official, note=self.note, results=results
        )


class Return(StepBody, commands.Return):
    """The result was handed over."""

    model_config = STRICT

    kind: Literal["return"]


AnyStep = Annotated[
    Receive
    | Refuse
    | Progress
    | RequestSupplement
    | GiveSupplement
    | RequestFee
    | RecordFee
    | Pause
    | Withdraw
    | Complete
    | Return,
    Field(discriminator="kind"),
]

SUBMIT: TypeAdapter[Submit] = TypeAdapter(Submit)
STEP: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


def command_of(step: AnyStep, seal: Seal) -> commands.Command:
    """The command of a step, its personal fields sealed."""
    return step.sealed(seal) if isinstance(step, Complete) else step
