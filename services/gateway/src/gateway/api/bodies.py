"""Submissions that clients send: strict, every field limited, none beyond those named."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from common.contracts import commands
from common.contracts.codes import AgencyCode, DossierCode, ProcedureCode
from gateway.api.fields import STRICT, Code, Email, Moment, Name, Text, text
from gateway.api.papers import Documents, Fees, Official, OtherPapers, files_of

Seal = Callable[[Any], str]
"""Seals a JSON value for the dossier at hand."""

IDENTITY_PATTERNS = {
    "citizen-id": r"[0-9]{12}",
    "old-citizen-id": r"[0-9]{9}",
    "passport": r"[0-9A-Za-z]{5,20}",
    "tax-code": r"[0-9]{10}(-[0-9]{3})?|[0-9]{12}",
}
"""Form only. Check digits are known from memory alone and refuse nobody."""


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

    code: DossierCode | None = None
    """The source system's own; without it one is issued, which needs ``agency``."""
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
    other_papers: OtherPapers = ()
    vneid_verified: bool | None = None
    online_payment: Code | None = None
    filed_at: Code | None = None
    databases: Annotated[tuple[Code, ...], Field(max_length=50)] = ()
    remark: Text | None = None
    official: Official | None = None
    note: Text | None = None

    def files(self) -> list[tuple[str, str]]:
        """Files it refers to, by digest, each with the JSON pointer to where."""
        return files_of(self.documents)

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
            other_papers=self.other_papers,
            vneid_verified=self.vneid_verified,
            online_payment=self.online_payment,
            filed_at=self.filed_at,
            databases=self.databases,
            remark=self.remark,
        )


SUBMIT: TypeAdapter[Submit] = TypeAdapter(Submit)
