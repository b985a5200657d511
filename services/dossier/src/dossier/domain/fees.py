"""Fees that are asked for and paid."""

from common.contracts.commands import Fee, RecordFee, RequestFee
from dossier.domain.model import Dossier
from dossier.domain.moves import answered, interrupted, stayed


def fee_requested(before: Dossier, command: RequestFee) -> Dossier:
    """Waiting for a payment."""
    after = interrupted(before, "6", fees=_joined(before.state.fees, command.fees))
    return after.model_copy(update={"fee_open": True})


def fee_recorded(before: Dossier, command: RecordFee) -> Dossier:
    """A dossier of which any part was paid online counts as paid online."""
    paid = stayed(before, paid_online=command.online or bool(before.state.paid_online))
    return answered(paid.model_copy(update={"fee_open": False}), "6")


def _joined(old: tuple[Fee, ...], new: tuple[Fee, ...]) -> tuple[Fee, ...]:
    """A fee asked for again (same code and name) takes the place of the one before."""
    given = {(fee.code, fee.name) for fee in new}
    return tuple(fee for fee in old if (fee.code, fee.name) not in given) + new
