"""How a dossier moves between statuses, and back to what an interruption interrupted."""

from typing import Any

from common.contracts.dossier import Status
from dossier.domain.model import Dossier


def moved(before: Dossier, status: Status, **fields: Any) -> Dossier:
    """In another status, with nothing to go back to."""
    state = before.state.model_copy(update={"status": status, **fields})
    return before.model_copy(update={"state": state, "interrupted": ()})


def interrupted(before: Dossier, status: Status, **fields: Any) -> Dossier:
    """Waiting for the applicant; what was done, or waited for, until now is gone back to."""
    state = before.state.model_copy(update={"status": status, **fields})
    below = (*before.interrupted, before.state.status)
    return before.model_copy(
        update={"state": state, "interrupted": tuple(one for one in below if one != status)}
    )


def answered(dossier: Dossier, interruption: Status) -> Dossier:
    """Without this interruption: back to what was under it, where it is the one that waits."""
    left = [*dossier.interrupted, dossier.state.status]
    if interruption not in left:
        return dossier
    left.remove(interruption)
    state = dossier.state.model_copy(update={"status": left[-1]})
    return dossier.model_copy(update={"state": state, "interrupted": tuple(left[:-1])})


def stayed(before: Dossier, **fields: Any) -> Dossier:
    """In the same status, with whatever was interrupted still to be gone back to."""
    return before.model_copy(update={"state": before.state.model_copy(update=fields)})
