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
    Lane,
    Official,
    OtherPaper,
    ProcedureSummary,
    Satisfaction,
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
    papers: tuple[OtherPaper, ...] = ()
    fees: tuple[Fee, ...] = ()
    given_at: datetime | None = None
    received_by: str | None = None
    received_note: str | None = None
    documents: tuple[Document, ...] = ()
    due_before: datetime | None = None
    due_after: datetime | None = None


class ResultPaper(Data):
    """A result; ``signing`` says how far its signature is."""

    id: str
    name: str
    component: str | None = None
    code: str | None = None
    file: str | None = None
    """SHA-256 of the content; of the signed content once ``signing`` is ``signed``."""
    signing: Literal["none", "asked", "signed", "failed", "held"] = "none"


class Rating(Data):
    """How satisfied the applicant was; a dossier without one is "not measured"."""

    satisfaction: Satisfaction
    source: str
    at: datetime


class DossierState(Data):
    """A dossier (hồ sơ) as it stood after a fact."""

    id: UUID | None = None
    """Its internal name, from intake on: the id of the submission that began it."""
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
    other_papers: tuple[OtherPaper, ...] = ()
    vneid_verified: bool | None = None
    online_payment: str | None = None
    filed_at: str | None = None
    databases: tuple[str, ...] = ()
    remark: str | None = None
    due_computed: bool = False
    """The due date follows from the procedure's time; nobody gave it."""
    extensions: int = 0
    """How often the due date was put off."""
    former_agencies: tuple[str, ...] = ()
    """Agencies it was transferred from, the first one first."""
    rating: Rating | None = None
    historic: bool = False
    """It entered as an old dossier; set back by the first step that is taken here."""


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
    channel: Channel | None = None
    """Over which channel it was taken; null where the source does not say."""
    agency: str | None = None
    """The agency that had the dossier when the step was taken."""
    flagged: str | None = None
    """Why the step is unusual though well-formed; null for a usual one."""


class DossierFact(Event):
    """What all facts about a dossier have in common. Stream: the dossier code."""

    PRODUCER: ClassVar[str] = "dossier"

    dossier: DossierState
    step: StepTaken
    lane: Lane = "live"


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
    """A result paper was signed and is now an electronic result; or its signature was augmented."""

    TYPE: ClassVar[str] = "dossier.result-signed.v1"


class ResultSigningFailed(DossierFact):
    """A result paper was not signed: refused, expired, failed, or held for an operator."""

    TYPE: ClassVar[str] = "dossier.result-signing-failed.v1"


class DossierReturned(DossierFact):
    """The result was handed over (status 10)."""

    TYPE: ClassVar[str] = "dossier.returned.v1"


class DeadlineExtended(DossierFact):
    """The due date was put off."""

    TYPE: ClassVar[str] = "dossier.deadline-extended.v1"


class DossierTransferred(DossierFact):
    """The dossier passed to another agency (the one of the state)."""

    TYPE: ClassVar[str] = "dossier.transferred.v1"

    from_agency: str


class DossierRated(DossierFact):
    """The applicant said how satisfied they are."""

    TYPE: ClassVar[str] = "dossier.rated.v1"


class DossierImported(DossierFact):
    """An old dossier entered with its history; ``step`` is the last of it.

    Readers that call outside systems or measure leave it alone unless it says that they should.
    """

    TYPE: ClassVar[str] = "dossier.imported.v1"

    tell_portal: bool = False
    measure: bool = False


class DeadlineNotice(Event):
    """What the notices about a due date have in common. Told once for each due date."""

    PRODUCER: ClassVar[str] = "dossier"
    ORDERED: ClassVar[bool] = False

    dossier_code: str
    agency: str
    procedure_code: str
    status: Status
    due_at: datetime
    at: datetime
    """When the notice fell due, which may be before it was told."""


class DeadlineApproaching(DeadlineNotice):
    """A dossier is not finished and its due date is near."""

    TYPE: ClassVar[str] = "dossier.deadline-approaching.v1"


class DossierOverdue(DeadlineNotice):
    """A dossier is not finished and its due date has passed."""

    TYPE: ClassVar[str] = "dossier.overdue.v1"


class DossierAnonymised(Event):
    """The personal data of a dossier was erased by policy: every service erases its copies."""

    TYPE: ClassVar[str] = "dossier.anonymised.v1"
    PRODUCER: ClassVar[str] = "dossier"
    ORDERED: ClassVar[bool] = False

    dossier_code: str
    agency: str
    at: datetime
    policy: str
    """Name and version of the retention policy that asked for it."""


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
    procedure_code: str | None = None
    profile: str | None = None
    """Format and level, such as ``pades-b-lt``; PAdES B-B where it is not said."""


class Stamp(Data):
    """Where a visible stamp is put on a PDF: beside a text, or into a box of a page."""

    anchor: str | None = None
    """Text beside which it is put; else ``page`` and ``box``."""
    page: int = -1
    """From 0; negative from the end."""
    box: tuple[float, float, float, float] | None = None
    """Left, bottom, right, top in points from the page's lower left corner."""


class SigningTurn(Data):
    """One of several who sign a document, each what the one before left."""

    request_id: UUID
    """Of this signature; the facts about it name it."""
    signer: SigningWish
    stamp: Stamp | None = None
    seal: bool = False
    """An agency's seal: the last signature, after which none may follow."""


class SigningWorkflowRequested(Event):
    """A result paper is to be signed by several, one after the other.

    An event of its own, so that who knows of one signer only never takes the first of several for
    the only one. All are taken in, or none. The file of the last signature is the signed paper;
    where one does not sign, those after him are not asked. Ids are stable, as those of one signer.
    """

    TYPE: ClassVar[str] = "signing.workflow-requested.v1"
    PRODUCER: ClassVar[str] = "dossier"
    ORDERED: ClassVar[bool] = False

    workflow_id: UUID
    dossier_code: str
    agency: str
    document_id: str
    document_name: str
    file: str
    """SHA-256 of the PDF in the file store, as it is before the first signature."""
    signers: tuple[SigningTurn, ...]
    """In their order; at least one."""
    procedure_code: str | None = None
    profile: str | None = None
    """Format and level of the last signature, such as ``pades-b-lt``; PAdES B-B where it is not
    said, as the others always are."""


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
    procedure_code: str | None = None


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
