"""Events this service takes, and what it does with them."""

from collections.abc import Callable, Sequence

from common.contracts.dossier import SigningRequested, SigningWorkflowRequested
from common.envelope import Received
from common.erasure import erasures
from common.inbox import Subscription
from common.outbox import Unit
from common.sealing import KeyRing
from common.telemetry import traceparent_after
from signature_connector.store.erasure import erase
from signature_connector.use_cases.providers import Choice
from signature_connector.use_cases.requests import placed, take_in, wish_of
from signature_connector.use_cases.workflows import wishes_of


def subscriptions(
    keys: KeyRing, choice: Choice, wake: Callable[[], None]
) -> tuple[Subscription, ...]:
    """All queues of the service.

    Args:
        choice: which provider is meant for whom.
        wake: tells the workers of this process that there is something to do.
    """

    async def requested(unit: Unit, events: Sequence[Received]) -> None:
        wishes = [
            placed(choice, wish_of(received, received.event, traceparent_after(received)))
            for received in events
            if isinstance(received.event, SigningRequested)
        ]
        await take_in(unit, keys, wishes)
        wake()

    async def several_requested(unit: Unit, events: Sequence[Received]) -> None:
        wishes = [
            placed(choice, wish)
            for received in events
            if isinstance(received.event, SigningWorkflowRequested)
            for wish in wishes_of(received, received.event, traceparent_after(received))
        ]
        await take_in(unit, keys, wishes)
        wake()

    return (
        Subscription("requests", (SigningRequested.TYPE,), requested),
        # A queue of its own, so that what was told before there was one is made up for.
        Subscription("workflows", (SigningWorkflowRequested.TYPE,), several_requested),
        erasures(erase),
    )
