"""What facts about dossiers lead to: a snapshot and a step on their way to the portal."""

from collections.abc import Callable, Sequence

from common.contracts.dossier import DossierFact
from common.delivery import Item, queue
from common.envelope import Received
from common.inbox import Subscription
from common.outbox import Unit
from common.telemetry import traceparent_after
from national_portal_sync.domain import DOSSIER, PARTNER, STEP, step_key, version_of


def items_of(event: Received) -> list[Item]:
    """The snapshot, and the step where somebody is known to have taken it.

    The portal wants the name of an official with every step, and none is made up: a step without
    one stays with us. Bodies keep the contract's form, personal fields sealed; they are opened
    and put into the portal's form when the call is built.
    """
    fact = event.event
    if not isinstance(fact, DossierFact) or event.stream is None or event.sequence is None:
        return []
    dossier, step = fact.dossier, fact.step
    version = version_of(event.stream, event.sequence)
    trace = traceparent_after(event)
    snapshot = Item(
        agency=dossier.agency,
        subject=dossier.code,
        kind=DOSSIER,
        key=dossier.code,
        body=dossier.__pydantic_serializer__.to_json(dossier, exclude_defaults=True),
        version=version,
        traceparent=trace,
        waits=False,
    )
    if step.official is None or not step.official.name.strip():
        return [snapshot]
    line = Item(
        agency=dossier.agency,
        subject=dossier.code,
        kind=STEP,
        key=step_key(dossier.code, step.number),
        body=step.__pydantic_serializer__.to_json(step, exclude_defaults=True),
        version=version,
        traceparent=trace,
    )
    return [snapshot, line]


def subscriptions(wake: Callable[[], None]) -> list[Subscription]:
    """The queues of this service.

    Args:
        wake: tells the deliverer that there is something to do.
    """

    async def tell_the_portal(unit: Unit, events: Sequence[Received]) -> None:
        items = [item for event in events for item in items_of(event)]
        await queue(unit.connection, PARTNER, items)
        wake()

    return [Subscription("dossiers", ("dossier.#",), tell_the_portal)]
