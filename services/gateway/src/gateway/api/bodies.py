"""What clients send: strict, every field limited, none beyond those named.

Steps extend the commands of the published language and repeat every field with its limits, and the
strictness itself, since a command's tolerance would come first. A test sees to it that none is
forgotten.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from common.contracts import commands
from common.contracts.codes import AgencyCode, DossierCode, ProcedureCode
from gateway.api.fields import STRICT, Code, Digest, Email, Moment, Name, Text, Url, text

Seal = Callable[[Any], str]
"""Seals a JSON value for the dossier at hand."""

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
    name: Annotated[str, text(500)]
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
    phone: Annotated[str, text(50)] | None = None
    address: Annotated[str, text(500)] | None = None

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
    summary: Annotated[str, text(1000)]
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
    reason: Annotated[str, text(500)] | None = None


class Result(BaseModel):
    """A result paper; ``file`` is the SHA-256 that the upload answered."""

    model_config = STRICT

    id: Code
    name: Annotated[str, text(500)]
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

KINDS = frozenset(
    str(get_args(step.model_fields["kind"].annotation)[0])
    for step in get_args(get_args(AnyStep)[0])
)
"""The kinds of steps."""

SUBMIT: TypeAdapter[Submit] = TypeAdapter(Submit)
STEP: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


def command_of(step: AnyStep, seal: Seal) -> commands.Command:
    """The command of a step, its personal fields sealed."""
    return step.sealed(seal) if isinstance(step, Complete) else step
