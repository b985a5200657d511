"""What the outcome of a signature does to a dossier, also to a closed one."""

from common.contracts.dossier import (
    DossierFact,
    ResultPaper,
    ResultSigned,
    ResultSigningFailed,
    StepTaken,
)
from common.contracts.signature import (
    SignatureAugmented,
    SignatureCompleted,
    SignatureFact,
    SignatureFailed,
    SignatureHeld,
)
from dossier.domain.model import Dossier, Signing, Taken

_OUTCOMES = {
    "rejected-by-user": "người ký từ chối",
    "expired": "quá thời gian chờ người ký xác nhận",
    "failed": "không ký được",
    "cancelled": "yêu cầu ký đã bị hủy",
}


def record(before: Dossier, fact: SignatureFact) -> Taken | None:
    """Record a signature's outcome.

    None where it changes nothing: the request is not of this dossier, a later one took its place,
    or its outcome is known already. A document that was augmented takes the place of the one that
    it was made from, and of no other. Of several signatures one after the other only the last makes
    the result a signed one, and one that comes to nothing ends all.
    """
    found = _paper(before, fact)
    if found is None:
        return None
    paper, signing = found
    which = _which(signing, fact)
    kind: type[DossierFact]
    match fact:
        case SignatureCompleted():
            kind, name = ResultSigned, "result-signed"
            after = paper.model_copy(update={"signing": "signed", "file": fact.file})
            note = f"Đã ký số kết quả {paper.id}"
        case SignatureAugmented():
            kind, name = ResultSigned, "result-signed"
            after = paper.model_copy(update={"file": fact.file})
            note = f"Đã bổ sung dấu thời gian cho chữ ký số của kết quả {paper.id}"
        case SignatureFailed():
            kind, name = ResultSigningFailed, "result-signing-failed"
            after = paper.model_copy(update={"signing": "failed"})
            note = f"Kết quả {paper.id} chưa được ký số{which}: {_OUTCOMES[fact.outcome]}"
        case SignatureHeld():
            if paper.signing == "held":
                return None
            kind, name = ResultSigningFailed, "result-signing-held"
            after = paper.model_copy(update={"signing": "held"})
            note = f"Kết quả {paper.id} chưa rõ đã được ký số hay chưa{which}, chờ kiểm tra"
        case _:
            return None
    results = tuple(after if other.id == paper.id else other for other in before.state.results)
    state = before.state.model_copy(update={"results": results})
    number = before.steps + 1
    step = StepTaken(
        number=number,
        kind=name,
        status=state.status,
        at=fact.at,
        note=note,
        agency=state.agency,
    )
    dossier = before.model_copy(update={"state": state, "steps": number})
    return Taken(dossier, step, kind(dossier=state, step=step))


def _paper(dossier: Dossier, fact: SignatureFact) -> tuple[ResultPaper, Signing] | None:
    """The result that waits for this request's outcome, or is what it made better."""
    last = {signing.result: signing for signing in dossier.signings}
    for paper in dossier.state.results:
        signing = last.get(paper.id)
        if signing is None:
            continue
        if fact.request_id in signing.before:
            # Those who follow are asked by whoever signs: to the dossier nothing has happened.
            passed = isinstance(fact, SignatureCompleted | SignatureAugmented)
            return None if passed or paper.signing not in ("asked", "held") else (paper, signing)
        if signing.request_id != fact.request_id:
            continue
        if isinstance(fact, SignatureAugmented):
            if (paper.signing, paper.file) == ("signed", fact.replaces):
                return paper, signing
        elif paper.signing in ("asked", "held"):
            return paper, signing
    return None


def _which(signing: Signing, fact: SignatureFact) -> str:
    """Of several signatures, which one it is."""
    if not signing.before:
        return ""
    ids = (*signing.before, signing.request_id)
    return f" (chữ ký thứ {ids.index(fact.request_id) + 1} trong {len(ids)})"
