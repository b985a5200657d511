"""Events this service takes, and what it does with them."""

from collections.abc import Callable, Sequence

from common.contracts.dossier import SigningRequested
from common.envelope import Received
from common.erasure import erasures
from common.inbox import Subscription
from common.outbox import Unit
from common.sealing import KeyRing
from common.telemetry import traceparent_after
from signature_connector.store.erasure import erase
from signature_connector.use_cases.requests import take_in, wish_of


def subscriptions(keys: KeyRing, wake: Callable[[], None]) -> tuple[Subscription, ...]:
    """All queues of the service.

    Args:
        wake: tells the workers of this process that there is something to do.
    """

    async def requested(unit: Unit, events: Sequence[Received]) -> None:
        wishes = [
            wish_of(received, received.event, traceparent_after(received))
            for received in events
            if isinstance(received.event, SigningRequested)
        ]
        await take_in(unit, keys, wishes)
        wake()

    return (
        Subscription("requests", (SigningRequested.TYPE,), requested),
        erasures(erase),
    )
