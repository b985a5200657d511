"""What each command does to a dossier."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from common.contracts.commands import (
    Command,
    Complete,
    Extend,
    Lane,
    Pause,
    Progress,
    Rate,
    Receive,
    Refuse,
    Return,
    Satisfaction,
    Submit,
    Transfer,
    Withdraw,
)
from common.contracts.dossier import (
    DeadlineExtended,
    DossierCompleted,
    DossierFact,
    DossierPaused,
    DossierProgressed,
    DossierRated,
    DossierReceived,
    DossierRefused,
    DossierReturned,
    DossierState,
    DossierSubmitted,
    DossierTransferred,
    DossierWithdrawn,
    FeePaid,
    FeeRequested,
    Rating,
    SigningRequested,
    SigningWorkflowRequested,
    StepTaken,
    SupplementGiven,
    SupplementRequested,
)
from common.errors import Problem
from dossier.domain.deadlines import Deadlines
from dossier.domain.fees import fee_recorded, fee_requested
from dossier.domain.model import Dossier, Refusal, Taken
from dossier.domain.moves import moved, stayed
from dossier.domain.results import completed, faulty_results, signing_requests
from dossier.domain.supplements import supplement_given, supplement_requested
from dossier.domain.table import Kind, Table, Version
from dossier.domain.tags import unmet
from dossier.domain.transfers import faulty_transfer, transferred
from dossier.errors import DossierClosed, DossierErased, DossierExists, UnknownDossier

FACTS: Mapping[Kind, type[DossierFact]] = {
    "submit": DossierSubmitted,
    "receive": DossierReceived,
    "refuse": DossierRefused,
    "progress": DossierProgressed,
    "request-supplement": SupplementRequested,
    "give-supplement": SupplementGiven,
    "request-fee": FeeRequested,
    "record-fee": FeePaid,
    "pause": DossierPaused,
    "withdraw": DossierWithdrawn,
    "complete": DossierCompleted,
    "return": DossierReturned,
    "extend": DeadlineExtended,
    "transfer": DossierTransferred,
    "rate": DossierRated,
}
"""The event of each command."""

_SATISFACTION: Mapping[Satisfaction, str] = {
    "satisfied": "Hài lòng",
    "neutral": "Bình thường",
    "dissatisfied": "Không hài lòng",
}


def obey(
    table: Table,
    before: Dossier | None,
    command: Command,
    *,
    code: str,
    agency: str,
    submission: UUID | None = None,
    lane: Lane = "live",
    deadlines: Deadlines | None = None,
    expected: str | None = None,
) -> Taken | Refusal:
    """Take a step, or say why it cannot be taken.

    Args:
        table: which steps are possible; the version of the step's day counts.
        before: the dossier, None where there is none of this code.
        command: what is asked.
        code: the dossier code.
        agency: whose dossier it becomes when it is submitted (new form of the code).
        submission: what asks for it; the first one's id is the dossier's from then on.
        lane: of the submission, and so of the event.
        deadlines: what due dates follow from; without it there are only those that are given.
        expected: the ``If-Match`` of what asks for it (see ``dossier.domain.tags``).
    """
    if before is not None and before.erased is not None and not isinstance(command, Submit):
        return Refusal(
            DossierErased(
                "Hồ sơ đã được ẩn danh, không nhận thêm bước nào",
                "The dossier was anonymised; no further step is taken",
            )
        )
    if before is not None and (problem := unmet(before, expected)) is not None:
        return Refusal(problem)
    version = table.at(command.at)
    refused = version.refusal(before, command.kind)
    problem = _problem(refused, version, before) if refused else _faulty(before, command)
    if problem is not None:
        return Refusal(problem)
    flag = version.flag(before, command)
    asked: tuple[SigningRequested | SigningWorkflowRequested, ...] = ()
    if isinstance(command, Submit):
        after = Dossier(state=_submitted(command, code, agency, submission), steps=1)
        taken_by = agency
    elif before is None:
        raise ValueError(f"the table lets {command.kind} begin a dossier")
    else:
        if before.state.historic:  # its life goes on here
            before = stayed(before, historic=False)
        changed = EFFECTS[command.kind](before, command)
        if deadlines is not None:
            changed = deadlines.settled(before, changed, command)
        after = changed.model_copy(update={"steps": before.steps + 1})
        taken_by = before.state.agency
        if isinstance(command, Complete):
            asked = signing_requests(after, command, after.signings[len(before.signings) :])
    said = vars(command)  # not every command has each of these
    step = StepTaken(
        number=after.steps,
        kind=command.kind,
        status=after.state.status,
        at=command.at,
        official=command.official,
        note=_note(command),
        started_at=said.get("started_at"),
        due_at=said.get("due_at"),
        channel=command.channel,
        agency=taken_by,
        flagged=flag,
    )
    told: dict[str, Any] = {"dossier": after.state, "step": step, "lane": lane}
    if isinstance(command, Transfer):
        told["from_agency"] = taken_by
    return Taken(after, step, FACTS[command.kind](**told), asked)


def _submitted(command: Submit, code: str, agency: str, submission: UUID | None) -> DossierState:
    return DossierState(
        id=submission,
        code=code,
        agency=agency,
        procedure=command.procedure,
        channel=command.channel,
        applicant_kind=command.applicant_kind,
        sealed=command.sealed,
        summary=command.summary,
        status="1",
        processing_unit=command.processing_unit,
        submitted_at=command.at,
        return_method=command.return_method,
        documents=command.documents,
        fees=command.fees,
        other_papers=command.other_papers,
        vneid_verified=command.vneid_verified,
        online_payment=command.online_payment,
        filed_at=command.filed_at,
        databases=command.databases,
        remark=command.remark,
    )


def _received(before: Dossier, command: Receive) -> Dossier:
    """The first reception counts; a later one may correct the due date."""
    state = before.state
    return moved(
        before,
        "2",
        received_at=state.received_at or command.at,
        due_at=command.due_at or state.due_at,
        receipt_number=command.receipt_number or state.receipt_number,
        finished_at=None,
    )


def _refused(before: Dossier, command: Refuse) -> Dossier:
    return moved(before, "3", refused_at=command.at)


def _progressed(before: Dossier, _: Progress) -> Dossier:
    return moved(before, "4", finished_at=None)


def _withdrawn(before: Dossier, command: Withdraw) -> Dossier:
    return moved(before, "7", finished_at=command.at)


def _paused(before: Dossier, command: Pause) -> Dossier:
    return moved(before, "8", finished_at=command.at)


def _returned(before: Dossier, command: Return) -> Dossier:
    return moved(before, "10", returned_at=command.at)


def _extended(before: Dossier, command: Extend) -> Dossier:
    """Every extension counts, also one whose new date is flagged as no later one."""
    return stayed(
        before,
        due_at=command.due_at,
        due_computed=False,
        extensions=before.state.extensions + 1,
    )


def _rated(before: Dossier, command: Rate) -> Dossier:
    """The last rating counts; those before stand in the history."""
    rating = Rating(satisfaction=command.satisfaction, source=command.source, at=command.at)
    return stayed(before, rating=rating)


def _note(command: Command) -> str | None:
    """What was done: what the command had to say, and what its sender added."""
    said: list[str | None]
    match command:
        case Transfer(reason=reason, legal_basis=basis):
            said = [reason, f"Căn cứ: {basis}" if basis else None]
        case Rate(satisfaction=satisfaction, source=source):
            said = [f"{_SATISFACTION[satisfaction]} (nguồn: {source})"]
        case _:
            fields = vars(command)
            said = [fields.get("reason") or fields.get("content")]
    return "\n".join(text for text in (*said, command.note) if text) or None


def _faulty(before: Dossier | None, command: Command) -> Problem | None:
    """What is wrong with the command itself, given a dossier that it is possible for."""
    if before is None:
        return None
    match command:
        case Complete(results=results):
            return faulty_results(before, results)
        case Transfer():
            return faulty_transfer(before, command)
    return None


def _problem(slug: str, version: Version, before: Dossier | None) -> Problem:
    if before is None:
        return UnknownDossier("Chưa có hồ sơ với mã này", "There is no dossier of this code")
    label = version.statuses[before.state.status]
    if slug == DossierExists.slug:
        return DossierExists(
            f"Mã này đã thuộc về một hồ sơ ở trạng thái “{label.vi}”",
            f"The code belongs to a dossier already, which is {label.en}",
        )
    return DossierClosed(
        f"Hồ sơ đã kết thúc ở trạng thái “{label.vi}”",
        f"The dossier has ended: {label.en}",
    )


EFFECTS: Mapping[Kind, Callable[[Dossier, Any], Dossier]] = {
    "receive": _received,
    "refuse": _refused,
    "progress": _progressed,
    "request-supplement": supplement_requested,
    "give-supplement": supplement_given,
    "request-fee": fee_requested,
    "record-fee": fee_recorded,
    "pause": _paused,
    "withdraw": _withdrawn,
    "complete": completed,
    "return": _returned,
    "extend": _extended,
    "transfer": transferred,
    "rate": _rated,
}
"""What each command on a dossier that exists makes of it; the step number is set afterwards."""
