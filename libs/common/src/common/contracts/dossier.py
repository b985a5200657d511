"""What dossier tells: one event per fact, each with the dossier as it then stood.

An event carries the whole dossier, so that a reader that comes late or missed old events can go
on from any of them, and one that only needs the last state may skip those before.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from common.contracts.base import Data, Event
from common.contracts.commands import (
    ApplicantKind,
    Channel,
    Document,
    Fee,
    Official,
    ProcedureSummary,
    SigningWish,
)

Status = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]
"""Code list TrangThaiHoSo: 1 mới đăng ký, 2 được tiếp nhận, 3 không được tiếp nhận, 4 đang xử lý,
5 yêu cầu bổ sung, 6 yêu cầu nghĩa vụ tài chính, 7 công dân rút, 8 dừng xử lý, 9 đã xử lý xong,
10 đã trả kết quả."""


class Supplement(Data):
    """A request for more papers, and its answer once it came."""

    number: int
    content: str
    requested_at: datetime
    requested_by: str | None = None
    given_at: datetime | None = None
    documents: tuple[Document, ...] = ()
    due_before: datetime | None = None
    due_after: datetime | None = None


class ResultPaper(Data):
    """A result; ``signing`` says how far its signature is."""

    id: str
    name: str
    component: str | None = None
    file: str | None = None
    """SHA-256 of the content; of the signed content once ``signing`` is ``signed``."""
    signing: Literal["none", "asked", "signed", "failed", "held"] = "none"


class DossierState(Data):
    """A dossier (hồ sơ) as it stood after a fact."""

    code: str
    agency: str
    procedure: ProcedureSummary
    channel: Channel
    applicant_kind: ApplicantKind
    sealed: str
    """Applicant's personal fields (``Applicant`` of the gateway's API), sealed for this code."""
    summary: str
    status: Status
    processing_unit: str | None = None
    receipt_number: str | None = None
    submitted_at: datetime
    received_at: datetime | None = None
    due_at: datetime | None = None
    finished_at: datetime | None = None
    returned_at: datetime | None = None
    refused_at: datetime | None = None
    return_method: Literal["0", "1"] | None = None
    paid_online: bool | None = None
    documents: tuple[Document, ...] = ()
    fees: tuple[Fee, ...] = ()
    supplements: tuple[Supplement, ...] = ()
    results: tuple[ResultPaper, ...] = ()


class StepTaken(Data):
    """One line of the dossier's history."""

    number: int
    kind: str
    status: Status
    at: datetime
    official: Official | None = None
    note: str | None = None
    started_at: datetime | None = None
    due_at: datetime | None = None
    flagged: str | None = None
    """Why the step is unusual though well-formed; null for a usual one."""


class DossierFact(Event):
    """What all facts about a dossier have in common. Stream: the dossier code."""

    PRODUCER: ClassVar[str] = "dossier"

    dossier: DossierState
    step: StepTaken


class DossierSubmitted(DossierFact):
    """A dossier was handed in (status 1)."""

    TYPE: ClassVar[str] = "dossier.submitted.v1"


class DossierReceived(DossierFact):
    """The agency took it in (status 2)."""

    TYPE: ClassVar[str] = "dossier.received.v1"


class DossierRefused(DossierFact):
    """The agency did not take it in (status 3)."""

    TYPE: ClassVar[str] = "dossier.refused.v1"


class DossierProgressed(DossierFact):
    """A step of processing was done (status 4)."""

    TYPE: ClassVar[str] = "dossier.progressed.v1"


class SupplementRequested(DossierFact):
    """More papers were asked for (status 5)."""

    TYPE: ClassVar[str] = "dossier.supplement-requested.v1"


class SupplementGiven(DossierFact):
    """The papers asked for came in."""

    TYPE: ClassVar[str] = "dossier.supplement-given.v1"


class FeeRequested(DossierFact):
    """Fees were asked for (status 6)."""

    TYPE: ClassVar[str] = "dossier.fee-requested.v1"


class FeePaid(DossierFact):
    """The fees were paid."""

    TYPE: ClassVar[str] = "dossier.fee-paid.v1"


class DossierWithdrawn(DossierFact):
    """The applicant took it back (status 7)."""

    TYPE: ClassVar[str] = "dossier.withdrawn.v1"


class DossierPaused(DossierFact):
    """Processing stopped (status 8)."""

    TYPE: ClassVar[str] = "dossier.paused.v1"


class DossierCompleted(DossierFact):
    """Processing is done (status 9)."""

    TYPE: ClassVar[str] = "dossier.completed.v1"


class ResultSigned(DossierFact):
    """A result paper was signed and is now an electronic result."""

    TYPE: ClassVar[str] = "dossier.result-signed.v1"


class ResultSigningFailed(DossierFact):
    """A result paper was not signed: refused, expired, failed, or held for an operator."""

    TYPE: ClassVar[str] = "dossier.result-signing-failed.v1"


class DossierReturned(DossierFact):
    """The result was handed over (status 10)."""

    TYPE: ClassVar[str] = "dossier.returned.v1"


class SigningRequested(Event):
    """A result paper is to be signed. Request ids are stable: asked twice means asked once."""

    TYPE: ClassVar[str] = "signing.requested.v1"
    PRODUCER: ClassVar[str] = "dossier"
    ORDERED: ClassVar[bool] = False

    request_id: UUID
    dossier_code: str
    agency: str
    document_id: str
    document_name: str
    file: str
    """SHA-256 of the PDF in the file store."""
    signer: SigningWish


class SubmissionApplied(Event):
    """A submission took effect."""

    TYPE: ClassVar[str] = "submission.applied.v1"
    PRODUCER: ClassVar[str] = "dossier"
    ORDERED: ClassVar[bool] = False

    submission_id: UUID
    dossier_code: str
    agency: str
    status: Status
    step_number: int
    flagged: str | None = None


class SubmissionRefused(Event):
    """A submission could not take effect; ``problem`` is what a synchronous answer would say."""

    TYPE: ClassVar[str] = "submission.refused.v1"
    PRODUCER: ClassVar[str] = "dossier"
    ORDERED: ClassVar[bool] = False

    submission_id: UUID
    dossier_code: str
    agency: str
    problem: dict[str, Any]
    """RFC 9457: type, title, status, detail (and title_en, detail_en)."""
