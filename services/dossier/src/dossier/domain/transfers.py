"""A dossier passes from one agency to another: its code stays, its rights follow."""

from common.contracts.commands import Transfer
from common.errors import Problem
from dossier.domain.model import Dossier
from dossier.domain.moves import stayed
from dossier.errors import StepNotPossible


def transferred(before: Dossier, command: Transfer) -> Dossier:
    """With the other agency; the one it was with is remembered."""
    state = before.state
    return stayed(
        before, agency=command.agency, former_agencies=(*state.former_agencies, state.agency)
    )


def faulty_transfer(before: Dossier, command: Transfer) -> Problem | None:
    """Why the dossier cannot pass to this agency, if it cannot."""
    if command.agency != before.state.agency:
        return None
    return StepNotPossible(
        f"Hồ sơ đang thuộc cơ quan {command.agency}, không thể chuyển đến chính cơ quan này",
        f"The dossier is with the agency {command.agency} already",
        errors=[
            {
                "pointer": "/agency",
                "detail": "trùng với cơ quan đang giữ hồ sơ",
                "detail_en": "is the agency that has the dossier",
            }
        ],
    )
