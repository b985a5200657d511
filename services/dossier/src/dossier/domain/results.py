"""Results of a dossier, and the signatures that they are to bear."""

from collections import Counter
from typing import Any
from uuid import UUID, uuid5

from common.contracts.commands import Complete, Result
from common.contracts.dossier import (
    ResultPaper,
    SigningRequested,
    SigningTurn,
    SigningWorkflowRequested,
)
from common.errors import Problem
from dossier.domain.model import Dossier, SignedInTurn, Signing
from dossier.domain.moves import moved
from dossier.domain.papers import merged
from dossier.errors import InvalidResults, StepNotPossible

_SIGNINGS = UUID("5d5fd9c1-6a44-5d0e-9d8f-6f3c2ab1c6f4")


def completed(before: Dossier, command: Complete) -> Dossier:
    """The same step asks for signatures under the same request ids, however often it is taken."""
    papers = tuple(
        ResultPaper(
            id=result.id,
            name=result.name,
            component=result.component,
            code=result.code,
            file=result.file,
            signing="asked" if _asked(result) else "none",
        )
        for result in command.results
    )
    results = merged(before.state.results, papers)
    after = moved(before, "9", finished_at=command.at, results=results)
    signings = tuple(
        _signing(f"{before.code}/{result.id}/{before.steps + 1}", result)
        for result in command.results
        if _asked(result)
    )
    return after.model_copy(update={"signings": before.signings + signings})


def _asked(result: Result) -> bool:
    return result.signing is not None or isinstance(result, SignedInTurn)


def _signing(place: str, result: Result) -> Signing:
    """What is kept of a signature that is asked for; the ids follow from the place alone."""
    whole = uuid5(_SIGNINGS, place)
    if not isinstance(result, SignedInTurn):
        return Signing(request_id=whole, result=result.id)
    *before, last = (uuid5(whole, str(number)) for number in range(len(result.turns)))
    return Signing(request_id=last, result=result.id, before=tuple(before), workflow=whole)


def signing_requests(
    after: Dossier, command: Complete, signings: tuple[Signing, ...]
) -> tuple[SigningRequested | SigningWorkflowRequested, ...]:
    """What the signatures that a completed dossier now waits for are asked with."""
    asked = [result for result in command.results if _asked(result)]
    return tuple(
        _request(after, result, signing) for signing, result in zip(signings, asked, strict=True)
    )


def _request(
    after: Dossier, result: Result, signing: Signing
) -> SigningRequested | SigningWorkflowRequested:
    of: dict[str, Any] = {
        "dossier_code": after.code,
        "agency": after.state.agency,
        "document_id": result.id,
        "document_name": result.name,
        "file": result.file,
        "procedure_code": after.state.procedure.code,
    }
    if not isinstance(result, SignedInTurn):
        return SigningRequested(**of, request_id=signing.request_id, signer=result.signing)
    ids = (*signing.before, signing.request_id)
    signers = tuple(
        SigningTurn(request_id=id_, signer=turn.signer, stamp=turn.stamp, seal=turn.seal)
        for id_, turn in zip(ids, result.turns, strict=True)
    )
    return SigningWorkflowRequested(**of, workflow_id=signing.workflow, signers=signers)


def faulty_results(before: Dossier, results: tuple[Result, ...]) -> Problem | None:
    """Why these results cannot be the dossier's, if they cannot."""
    counted = Counter(result.id for result in results)
    faults = []
    for place, result in enumerate(results):
        if counted[result.id] > 1:
            faults.append((f"/results/{place}/id", "mã kết quả bị trùng", "is given twice"))
        if _asked(result) and result.file is None:
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
