"""Papers that are asked for while a dossier is under way, and handed in later."""

from common.contracts.commands import GiveSupplement, RequestSupplement
from common.contracts.dossier import Supplement
from dossier.domain.model import Dossier
from dossier.domain.moves import answered, interrupted, stayed
from dossier.domain.papers import merged


def supplement_requested(before: Dossier, command: RequestSupplement) -> Dossier:
    """Waiting for papers; a finished dossier is back in processing beneath."""
    state = before.state
    asked = Supplement(
        number=len(state.supplements) + 1,
        content=command.content,
        requested_at=command.at,
        requested_by=command.official.name if command.official else None,
        papers=command.papers,
        fees=command.fees,
        due_before=state.due_at,
    )
    after = interrupted(before, "5", supplements=(*state.supplements, asked))
    if after.interrupted[0] == "9":  # papers are still wanted: it was not finished after all
        after = stayed(after, finished_at=None)
        return after.model_copy(update={"interrupted": ("4", *after.interrupted[1:])})
    return after


def supplement_given(before: Dossier, command: GiveSupplement) -> Dossier:
    """One answer closes every open request; the papers stand with the latest."""
    state = before.state
    due_at = command.due_at or state.due_at
    if before.open_supplement is None:
        documents = merged(state.documents, command.documents)
        return stayed(before, documents=documents, due_at=due_at)
    given = {
        "given_at": command.at,
        "received_by": command.official.name if command.official else None,
        "received_note": command.note,
        "due_after": due_at,
    }
    supplements = [
        supplement.model_copy(update=given) if supplement.given_at is None else supplement
        for supplement in state.supplements
    ]
    supplements[-1] = supplements[-1].model_copy(update={"documents": command.documents})
    return answered(stayed(before, supplements=tuple(supplements), due_at=due_at), "5")
