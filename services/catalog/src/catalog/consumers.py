"""What the catalogue listens to."""

from collections.abc import Sequence

from catalog.use_cases.conformance import note_exchanges
from common.contracts.exchange import ExchangeObserved
from common.envelope import Received
from common.inbox import Subscription
from common.outbox import Unit


async def exchanges(unit: Unit, events: Sequence[Received]) -> None:
    """How services' exchanges with outside systems went."""
    observed = [one.event for one in events if isinstance(one.event, ExchangeObserved)]
    await note_exchanges(unit.connection, observed)


def subscriptions() -> tuple[Subscription, ...]:
    """The queues of this service."""
    return (Subscription("exchanges", ("exchange.#",), exchanges),)
