"""What each command does to a dossier."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID, uuid5

from common.contracts.commands import (
    Command,
    Complete,
    Document,
    Fee,
    GiveSupplement,
    Pause,
    Progress,
    Receive,
    RecordFee,
    Refuse,
    RequestFee,
    RequestSupplement,
    Result,
    Return,
    Submit,
    Withdraw,
)
from common.contracts.dossier import (
    DossierCompleted,
    DossierFact,
    DossierPaused,
    DossierProgressed,
    DossierReceived,
    DossierRefused,
    DossierReturned,
    DossierState,
    DossierSubmitted,
    DossierWithdrawn,
    FeePaid,
    FeeRequested,
    ResultPaper,
    SigningRequested,
    Status,
    StepTaken,
    Supplement,
    SupplementGiven,
    SupplementRequested,
)
from common.errors import Problem
from dossier.domain.model import Dossier, Refusal, Signing, Taken
from dossier.domain.table import Kind, Table
from dossier.errors import (
    DossierClosed,
    DossierExists,
    InvalidResults,
    StepNotPossible,
    UnknownDossier,
)

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
}
"""The event of each command."""

_SIGNINGS = UUID("5d5fd9c1-6a44-5d0e-9d8f-6f3c2ab1c6f4")

Paper = TypeVar("Paper", Document, ResultPaper)


def obey(
    table: Table, before: Dossier | None, command: Command, *, code: str, agency: str
) -> Taken | Refusal:
    """Take a step, or say why it cannot be taken.

    Args:
        table: which steps are possible.
        before: the dossier, None where there is none of this code.
        command: what is asked.
        code: the dossier code.
        agency: whose dossier it becomes when it is submitted (new form of the code).
    """
    refused = table.refusal(before, command.kind)
    if refused is not None:
        return Refusal(_problem(refused, table, before))
    if isinstance(command, Complete) and before is not None:
        problem = _faulty_results(before, command.results)
        if problem is not None:
            return Refusal(problem)
    flag = table.flag(before, command.kind)
    asked: tuple[SigningRequested, ...] = ()
    if isinstance(command, Submit):
        after = Dossier(state=_submitted(command, code, agency), steps=1)
    elif before is None:
        raise ValueError(f"the table lets {command.kind} begin a dossier")
    else:
        changed = EFFECTS[command.kind](before, command)
        after = changed.model_copy(update={"steps": before.steps + 1})
        if isinstance(command, Complete):
            asked = _requests(after, command, after.signings[len(before.signings) :])
    said = vars(command)  # not every command has each of these
    step = StepTaken(
        number=after.steps,
        kind=command.kind,
        status=after.state.status,
        at=command.at,
        official=command.official,
        note=_note(said.get("reason") or said.get("content"), command.note),
        started_at=said.get("started_at"),
        due_at=said.get("due_at"),
        flagged=flag,
    )
    return Taken(after, step, FACTS[command.kind](dossier=after.state, step=step), asked)


def _submitted(command: Submit, code: str, agency: str) -> DossierState:
    return DossierState(
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
    )


def _received(before: Dossier, command: Receive) -> Dossier:
    """The first reception counts; a later one may correct the due date."""
    state = before.state
    return _moved(
        before,
        "2",
        received_at=state.received_at or command.at,
        due_at=command.due_at or state.due_at,
        receipt_number=command.receipt_number or state.receipt_number,
        finished_at=None,
    )


def _refused(before: Dossier, command: Refuse) -> Dossier:
    return _moved(before, "3", refused_at=command.at)


def _progressed(before: Dossier, _: Progress) -> Dossier:
    return _moved(before, "4", finished_at=None)


def _withdrawn(before: Dossier, command: Withdraw) -> Dossier:
    return _moved(before, "7", finished_at=command.at)


def _paused(before: Dossier, command: Pause) -> Dossier:
    return _moved(before, "8", finished_at=command.at)


def _returned(before: Dossier, command: Return) -> Dossier:
    return _moved(before, "10", returned_at=command.at)


def _fee_requested(before: Dossier, command: RequestFee) -> Dossier:
    after = _interrupted(before, "6", fees=_fees(before.state.fees, command.fees))
    return after.model_copy(update={"fee_open": True})


def _moved(before: Dossier, status: Status, **fields: Any) -> Dossier:
    """In another status, with nothing to go back to."""
    state = before.state.model_copy(update={"status": status, **fields})
    return before.model_copy(update={"state": state, "interrupted": ()})


def _interrupted(before: Dossier, status: Status, **fields: Any) -> Dossier:
    """Waiting for the applicant; what was done, or waited for, until now is gone back to."""
    state = before.state.model_copy(update={"status": status, **fields})
    below = (*before.interrupted, before.state.status)
    return before.model_copy(
        update={"state": state, "interrupted": tuple(one for one in below if one != status)}
    )


def _supplement_requested(before: Dossier, command: RequestSupplement) -> Dossier:
    state = before.state
    asked = Supplement(
        number=len(state.supplements) + 1,
        content=command.content,
        requested_at=command.at,
        requested_by=command.official.name if command.official else None,
        due_before=state.due_at,
    )
    after = _interrupted(before, "5", supplements=(*state.supplements, asked))
    if after.interrupted[0] == "9":  # papers are still wanted: it was not finished after all
        state = after.state.model_copy(update={"finished_at": None})
        return after.model_copy(
            update={"state": state, "interrupted": ("4", *after.interrupted[1:])}
        )
    return after


def _supplement_given(before: Dossier, command: GiveSupplement) -> Dossier:
    """One answer closes every open request; the papers stand with the latest."""
    state = before.state
    due_at = command.due_at or state.due_at
    if before.open_supplement is None:
        documents = _merged(state.documents, command.documents)
        state = state.model_copy(update={"documents": documents, "due_at": due_at})
        return before.model_copy(update={"state": state})
    given = {"given_at": command.at, "due_after": due_at}
    supplements = [
        supplement.model_copy(update=given) if supplement.given_at is None else supplement
        for supplement in state.supplements
    ]
    supplements[-1] = supplements[-1].model_copy(update={"documents": command.documents})
    state = state.model_copy(update={"supplements": tuple(supplements), "due_at": due_at})
    return _answered(before.model_copy(update={"state": state}), "5")


def _fee_recorded(before: Dossier, command: RecordFee) -> Dossier:
    """A dossier of which any part was paid online counts as paid online."""
    online = command.online or bool(before.state.paid_online)
    state = before.state.model_copy(update={"paid_online": online})
    return _answered(before.model_copy(update={"state": state, "fee_open": False}), "6")


def _answered(dossier: Dossier, interruption: Status) -> Dossier:
    """Without this interruption: back to what was under it, where it is the one that waits."""
    left = [*dossier.interrupted, dossier.state.status]
    if interruption not in left:
        return dossier
    left.remove(interruption)
    state = dossier.state.model_copy(update={"status": left[-1]})
    return dossier.model_copy(update={"state": state, "interrupted": tuple(left[:-1])})


def _completed(before: Dossier, command: Complete) -> Dossier:
    """The same step asks for signatures under the same request ids, however often it is taken."""
    papers = tuple(
        ResultPaper(
            id=result.id,
            name=result.name,
            component=result.component,
            file=result.file,
            signing="asked" if result.signing else "none",
        )
        for result in command.results
    )
    results = _merged(before.state.results, papers)
    after = _moved(before, "9", finished_at=command.at, results=results)
    place = f"{before.code}/%s/{before.steps + 1}"
    signings = tuple(
        Signing(request_id=uuid5(_SIGNINGS, place % paper.id), result=paper.id)
        for paper in papers
        if paper.signing == "asked"
    )
    return after.model_copy(update={"signings": before.signings + signings})


def _requests(
    after: Dossier, command: Complete, signings: tuple[Signing, ...]
) -> tuple[SigningRequested, ...]:
    asked = [(one.file, one.signing, one.name) for one in command.results if one.signing]
    return tuple(
        SigningRequested(
            request_id=signing.request_id,
            dossier_code=after.code,
            agency=after.state.agency,
            document_id=signing.result,
            document_name=name,
            file=file,
            signer=signer,
        )
        for signing, (file, signer, name) in zip(signings, asked, strict=True)
    )


def _faulty_results(before: Dossier, results: tuple[Result, ...]) -> Problem | None:
    counted = Counter(result.id for result in results)
    faults = []
    for place, result in enumerate(results):
        if counted[result.id] > 1:
            faults.append((f"/results/{place}/id", "mã kết quả bị trùng", "is given twice"))
        if result.signing is not None and result.file is None:
            faults.append(
                (f"/results/{place}/file", "thiếu tệp cần ký số", "the file to sign is missing")
            )
    if faults:
        return InvalidResults(
            "Danh sách kết quả mâu thuẫn hoặc thiếu tệp",
            "The results contradict each other or lack a file",
            errors=[{"pointer": p, "detail": vi, "detail_en": en} for p, vi, en in faults],
        )
    waiting = {paper.id for paper in before.state.results if paper.signing == "asked"}
    if waiting.isdisjoint(counted):
        return None
    return StepNotPossible(
        "Có kết quả đang chờ ký số nên chưa thể thay thế; hãy gửi lại khi việc ký kết thúc",
        "A result waits for its signature and cannot be replaced until that has ended",
    )


def _merged(old: tuple[Paper, ...], new: tuple[Paper, ...]) -> tuple[Paper, ...]:
    """A paper of a known id takes the place of the one before."""
    given = {paper.id for paper in new}
    return tuple(paper for paper in old if paper.id not in given) + new


def _fees(old: tuple[Fee, ...], new: tuple[Fee, ...]) -> tuple[Fee, ...]:
    """A fee asked for again (same code and name) takes the place of the one before."""
    given = {(fee.code, fee.name) for fee in new}
    return tuple(fee for fee in old if (fee.code, fee.name) not in given) + new


def _note(said: str | None, note: str | None) -> str | None:
    """What was done: what the command had to say, and what its sender added."""
    return "\n".join(text for text in (said, note) if text) or None


def _problem(slug: str, table: Table, before: Dossier | None) -> Problem:
    if before is None:
        return UnknownDossier("Chưa có hồ sơ với mã này", "There is no dossier of this code")
    label = table.statuses[before.state.status]
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
    "request-supplement": _supplement_requested,
    "give-supplement": _supplement_given,
    "request-fee": _fee_requested,
    "record-fee": _fee_recorded,
    "pause": _paused,
    "withdraw": _withdrawn,
    "complete": _completed,
    "return": _returned,
}
"""What each command on a dossier that exists makes of it; the step number is set afterwards."""
