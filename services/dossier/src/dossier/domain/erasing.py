"""What is left of a dossier once its personal data is erased.

Gone: what was sealed, and every text that somebody wrote freely and that may name the applicant:
summary, remark, notes, reasons, names and addresses of papers, and the files they lead to. Left:
codes, dates, statuses, amounts, channels, ratings and who handled it on the agency's side; that is
what statistics and the agency's own accountability need.
"""

from datetime import datetime

from common.contracts.commands import Document, OtherPaper
from common.contracts.dossier import ResultPaper, StepTaken, Supplement
from dossier.domain.model import Dossier, Erasure

GONE = ""


def erased(dossier: Dossier, at: datetime, policy: str) -> Dossier:
    """The dossier without personal data; one that is erased already stays as it is."""
    if dossier.erased is not None:
        return dossier
    state = dossier.state
    left = state.model_copy(
        update={
            "sealed": GONE,
            "summary": GONE,
            "remark": None,
            "receipt_number": None,
            "documents": tuple(_document(one) for one in state.documents),
            "other_papers": tuple(_paper(one) for one in state.other_papers),
            "supplements": tuple(_supplement(one) for one in state.supplements),
            "results": tuple(_result(one) for one in state.results),
        }
    )
    return dossier.model_copy(update={"state": left, "erased": Erasure(at=at, policy=policy)})


def erased_step(step: StepTaken) -> StepTaken:
    """A line of the history without what was written freely."""
    return step.model_copy(update={"note": None})


def _document(document: Document) -> Document:
    return document.model_copy(update={"name": GONE, "url": None, "file": None})


def _paper(paper: OtherPaper) -> OtherPaper:
    return paper.model_copy(update={"name": GONE})


def _result(result: ResultPaper) -> ResultPaper:
    return result.model_copy(update={"name": GONE, "code": None, "file": None})


def _supplement(supplement: Supplement) -> Supplement:
    return supplement.model_copy(
        update={
            "content": GONE,
            "received_note": None,
            "papers": tuple(_paper(one) for one in supplement.papers),
            "documents": tuple(_document(one) for one in supplement.documents),
        }
    )
