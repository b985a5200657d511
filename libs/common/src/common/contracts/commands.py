"""What can be asked of a dossier: written by the gateway, obeyed by dossier.

Personal fields never stand here in clear: ``Submit.sealed`` holds them (see ``common.sealing``)
bound to the dossier code.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from common.contracts.base import Data
from common.contracts.catalog import Field as ProcedureField
from common.contracts.catalog import ProcessingTime

Channel = Literal["1", "2", "3"]
"""1 in person, 2 online, 3 by post (code list KenhThucHien)."""

ApplicantKind = Literal["1", "2", "3", "4"]
"""1 citizen, 2 enterprise, 3 state agency, 4 other organisation (LoaiDoiTuong)."""

Satisfaction = Literal["satisfied", "neutral", "dissatisfied"]
""""Not measured" is none of these: it is the absence of a rating."""

Lane = Literal["live", "bulk"]
"""Bulk goes behind, so that a mass of old dossiers holds up nobody who waits."""


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
    """Where the source system keeps it; ``file`` goes before it."""
    file: str | None = None
    """SHA-256 of its content in the file store."""
    digitised: bool | None = None
    reused: Literal["0", "1", "2"] | None = None
    """DuocTaiSuDung, as the source system has it."""
    from_data_store: bool | None = None
    """Taken from the national data store (DuocLayTuKhoDMQG)."""
    replaced_by: str | None = None
    """Code of the result that stands in for it (MaKetQuaThayThe)."""


class OtherPaper(Data):
    """A paper that is only counted (DanhSachTepDinhKemKhac)."""

    name: str
    quantity: int
    kind: int | None = None


class Fee(Data):
    """A fee or charge; the amount in whole đồng."""

    code: str | None = None
    name: str
    amount: int
    kind: str | None = None
    method: str | None = None
    """How it is collected (HinhThucThu), as the source system has it."""


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
    code: str | None = None
    """Code of the result paper (MaGiayToKetQua), where the source system has one."""
    signing: SigningWish | None = None


class ProcedureSummary(Data):
    """The procedure as it was on the day the dossier was handed in."""

    code: str
    name: str
    field: ProcedureField
    version: int | None = None
    """Of the catalogue: the one valid on that day, or the first known for a day before it."""
    time: ProcessingTime | None = None
    service_level: Literal["full", "partial"] | None = None
    has_fee: bool | None = None


class Step(Data):
    """What every command says of itself: when it happened, who handled it, over which channel."""

    at: datetime
    official: Official | None = None
    note: str | None = None
    """Content of the step (NoiDungXuLy)."""
    channel: Channel | None = None
    """Over which channel this step was taken: a dossier begun on one goes on over another
    (NĐ 42/2022 Điều 15.1.c)."""


class Submit(Step):
    """A citizen or organisation hands in a dossier."""

    kind: Literal["submit"] = "submit"
    procedure: ProcedureSummary
    channel: Channel  # of the dossier: the one it began on
    applicant_kind: ApplicantKind
    sealed: str
    summary: str
    processing_unit: str | None = None
    documents: tuple[Document, ...] = ()
    fees: tuple[Fee, ...] = ()
    return_method: Literal["0", "1"] | None = None
    other_papers: tuple[OtherPaper, ...] = ()
    vneid_verified: bool | None = None
    """The applicant's account was verified with VNeID (TaiKhoanDuocXacThucVoiVNeID)."""
    online_payment: str | None = None
    """DuocThanhToanTrucTuyen, as the source system has it (no official list was found)."""
    filed_at: str | None = None
    """NoiNopHoSo, as the source system has it (no official list was found)."""
    databases: tuple[str, ...] = ()
    """Databases that were asked for this dossier (MaCSDL), as the source system has them."""
    remark: str | None = None


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
    papers: tuple[OtherPaper, ...] = ()
    fees: tuple[Fee, ...] = ()


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


class Extend(Step):
    """The agency puts the due date off and says why."""

    kind: Literal["extend"] = "extend"
    due_at: datetime
    reason: str


class Transfer(Step):
    """The dossier passes to another agency, such as the successor of a merged province."""

    kind: Literal["transfer"] = "transfer"
    agency: str
    """The agency it passes to (new form of the code)."""
    reason: str
    legal_basis: str | None = None


class Rate(Step):
    """The applicant says how satisfied they are; also after the dossier has ended."""

    kind: Literal["rate"] = "rate"
    satisfaction: Satisfaction
    source: str
    """Where the answer was collected: a survey, a kiosk, the national portal …"""


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
    | Return
    | Extend
    | Transfer
    | Rate,
    Field(discriminator="kind"),
]
