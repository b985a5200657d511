"""Steps that clients send: strict, every field limited, none beyond those named.

Steps extend the commands of the published language and repeat every field with its limits, and the
strictness itself, since a command's tolerance would come first. A test sees to it that none is
forgotten.
"""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from common.contracts import commands
from common.contracts.codes import AgencyCode
from gateway.api.bodies import Seal
from gateway.api.fields import STRICT, Code, Digest, Moment, Name, Text, text
from gateway.api.papers import Documents, Fee, Fees, Official, OtherPapers, files_of


class StepBody(commands.Step):
    """What every step says of itself."""

    model_config = STRICT

    at: Moment
    official: Official | None = None
    note: Text | None = None
    channel: commands.Channel | None = None

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
    papers: OtherPapers = ()
    fees: Fees = ()


class GiveSupplement(StepBody, commands.GiveSupplement):
    """The applicant hands in what was asked for."""

    model_config = STRICT

    kind: Literal["give-supplement"]
    documents: Documents = ()
    due_at: Moment | None = None

    def files(self) -> list[tuple[str, str]]:
        return files_of(self.documents)


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
    code: Code | None = None
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

    def files_to_sign(self) -> list[str]:
        """The pointers of those files that are to be signed."""
        return [f"/results/{n}/file" for n, result in enumerate(self.results) if result.signing]

    def sealed(self, seal: Seal) -> commands.Complete:
        """The command, its personal fields sealed."""
        results = tuple(
            commands.Result(
                id=result.id,
                name=result.name,
                file=result.file,
                component=result.component,
                code=result.code,
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
            at=self.at,
            official=self.official,
            note=self.note,
            channel=self.channel,
            results=results,
        )


class Return(StepBody, commands.Return):
    """The result was handed over."""

    model_config = STRICT

    kind: Literal["return"]


class Extend(StepBody, commands.Extend):
    """The agency puts the due date off and says why."""

    model_config = STRICT

    kind: Literal["extend"]
    due_at: Moment
    reason: Text


class Transfer(StepBody, commands.Transfer):
    """The dossier passes to another agency, such as the successor of a merged province."""

    model_config = STRICT

    kind: Literal["transfer"]
    agency: AgencyCode
    reason: Text
    legal_basis: Annotated[str, text(500)] | None = None


class Rate(StepBody, commands.Rate):
    """The applicant says how satisfied they are; also after the dossier has ended."""

    model_config = STRICT

    kind: Literal["rate"]
    satisfaction: commands.Satisfaction
    source: Name


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
    | Return
    | Extend
    | Transfer
    | Rate,
    Field(discriminator="kind"),
]

KINDS = frozenset(
    str(get_args(step.model_fields["kind"].annotation)[0])
    for step in get_args(get_args(AnyStep)[0])
)
"""The kinds of steps."""

STEP: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


def command_of(step: AnyStep, seal: Seal) -> commands.Command:
    """The command of a step, its personal fields sealed."""
    return step.sealed(seal) if isinstance(step, Complete) else step
