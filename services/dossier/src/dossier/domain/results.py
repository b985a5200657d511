"""Results of a dossier, and the signatures that they are to bear."""

from collections import Counter
from uuid import UUID, uuid5

from common.contracts.commands import Complete, Result
from common.contracts.dossier import ResultPaper, SigningRequested
from common.errors import Problem
from dossier.domain.model import Dossier, Signing
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
            signing="asked" if result.signing else "none",
        )
        for result in command.results
    )
    results = merged(before.state.results, papers)
    after = moved(before, "9", finished_at=command.at, results=results)
    place = f"{before.code}/%s/{before.steps + 1}"
    signings = tuple(
        Signing(request_id=uuid5(_SIGNINGS, place % paper.id), result=paper.id)
        for paper in papers
        if paper.signing == "asked"
    )
    return after.model_copy(update={"signings": before.signings + signings})


def signing_requests(
    after: Dossier, command: Complete, signings: tuple[Signing, ...]
) -> tuple[SigningRequested, ...]:
    """What the signatures that a completed dossier now waits for are asked with."""
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
            procedure_code=after.state.procedure.code,
        )
        for signing, (file, signer, name) in zip(signings, asked, strict=True)
    )


def faulty_results(before: Dossier, results: tuple[Result, ...]) -> Problem | None:
    """Why these results cannot be the dossier's, if they cannot."""
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
