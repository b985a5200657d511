"""What can be asked of a dossier: written by the gateway, obeyed by dossier.

Personal fields never stand here in clear: ``Submit.sealed`` holds them (see ``common.sealing``)
bound to the dossier code.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from common.contracts.base import Data
from common.contracts.catalog import Field as ProcedureField

Channel = Literal["1", "2", "3"]
"""1 in person, 2 online, 3 by post (code list KenhThucHien)."""

ApplicantKind = Literal["1", "2", "3", "4"]
"""1 citizen, 2 enterprise, 3 state agency, 4 other organisation (LoaiDoiTuong)."""


class Official(Data):
    """Who handled a step on the agency's side."""

    name: str
    title: str | None = None
    department: str | None = None


class Document(Data):
    """A paper handed in with the dossier."""

    id: str
    name: str
    component: str | None = None
    """Code of the required paper (MaThanhPhanHoSo)."""
    url: str | None = None
    digitised: bool | None = None


class Fee(Data):
    """A fee or charge; the amount in whole đồng."""

    code: str | None = None
    name: str
    amount: int
    kind: str | None = None


class SigningWish(Data):
    """Who is to sign a result, with which provider (``ca_name`` of the eSign gateway)."""

    sealed_user: str
    """The signer's identity or tax number, sealed and bound to the dossier code."""
    ca_name: str
    reason: str | None = None


class Result(Data):
    """A result paper: a stored file (SHA-256 of its content), perhaps still to be signed."""

    id: str
    name: str
    file: str | None = None
    component: str | None = None
    signing: SigningWish | None = None


class ProcedureSummary(Data):
    """The procedure as the gateway knew it when the dossier came in."""

    code: str
    name: str
    field: ProcedureField


class Step(Data):
    """What every command says of itself: when it happened and who handled it."""

    at: datetime
    official: Official | None = None
    note: str | None = None
    """Content of the step (NoiDungXuLy)."""


class Submit(Step):
    """A citizen or organisation hands in a dossier."""

    kind: Literal["submit"] = "submit"
    procedure: ProcedureSummary
    channel: Channel
    applicant_kind: ApplicantKind
    sealed: str
    summary: str
    processing_unit: str | None = None
    documents: tuple[Document, ...] = ()
    fees: tuple[Fee, ...] = ()
    return_method: Literal["0", "1"] | None = None


class Receive(Step):
    """The agency takes the dossier in and names the day the result is due."""

    kind: Literal["receive"] = "receive"
    due_at: datetime | None = None
    receipt_number: str | None = None


class Refuse(Step):
    """The agency does not take the dossier in."""

    kind: Literal["refuse"] = "refuse"
    reason: str


class Progress(Step):
    """One step of processing."""

    kind: Literal["progress"] = "progress"
    started_at: datetime | None = None
    due_at: datetime | None = None


class RequestSupplement(Step):
    """The agency asks for more papers."""

    kind: Literal["request-supplement"] = "request-supplement"
    content: str


class GiveSupplement(Step):
    """The applicant hands in what was asked for."""

    kind: Literal["give-supplement"] = "give-supplement"
    documents: tuple[Document, ...] = ()
    due_at: datetime | None = None


class RequestFee(Step):
    """The agency asks for fees to be paid."""

    kind: Literal["request-fee"] = "request-fee"
    fees: tuple[Fee, ...]


class RecordFee(Step):
    """The fees were paid."""

    kind: Literal["record-fee"] = "record-fee"
    online: bool


class Pause(Step):
    """Processing stops for good (Dừng xử lý)."""

    kind: Literal["pause"] = "pause"
    reason: str


class Withdraw(Step):
    """The applicant takes the dossier back."""

    kind: Literal["withdraw"] = "withdraw"
    reason: str


class Complete(Step):
    """Processing is done; results may still have to be signed."""

    kind: Literal["complete"] = "complete"
    results: tuple[Result, ...] = ()


class Return(Step):
    """The result was handed over."""

    kind: Literal["return"] = "return"


Command = Annotated[
    Submit
    | Receive
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
