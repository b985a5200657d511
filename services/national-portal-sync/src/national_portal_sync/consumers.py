"""What facts about dossiers lead to: a snapshot and a step on their way to the portal."""

from collections.abc import Callable, Sequence
from datetime import date

from common.contracts.dossier import DossierFact, DossierImported
from common.delivery import Item, queue
from common.envelope import Received
from common.erasure import erasures
from common.inbox import Subscription
from common.outbox import Unit
from common.telemetry import traceparent_after
from national_portal_sync.clients.items import VIETNAM
from national_portal_sync.domain.keys import DOSSIER, PARTNER, STEP, step_key, version_of
from national_portal_sync.domain.reconciliation import day_of
from national_portal_sync.store.erasure import erase
from national_portal_sync.store.reconciliation import note_days


def items_of(event: Received) -> list[Item]:
    """The snapshot, and the step where somebody is known to have taken it.

    The portal wants the name of an official with every step, and none is made up: a step without
    one stays with us. Bodies keep the contract's form, personal fields sealed; they are opened
    and put into the portal's form when the call is built. An old dossier that was imported is
    told only where that is wished, and goes behind.
    """
    fact = event.event
    if not isinstance(fact, DossierFact) or event.stream is None or event.sequence is None:
        return []
    imported = isinstance(fact, DossierImported)
    if isinstance(fact, DossierImported) and not fact.tell_portal:
        return []
    lane = "bulk" if imported else fact.lane
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
        lane=lane,
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
        lane=lane,
    )
    return [snapshot, line]


def days_of(events: Sequence[Received]) -> dict[str, tuple[str, date]]:
    """Under which agency and day dossiers are reconciled, by their codes; the last fact counts."""
    days = {}
    for event in events:
        if isinstance(event.event, DossierFact) and items_of(event):
            state = event.event.dossier
            day = day_of(state.submitted_at, state.received_at, VIETNAM)
            days[state.code] = state.agency, day
    return days


def subscriptions(wake: Callable[[], None]) -> list[Subscription]:
    """The queues of this service.

    Args:
        wake: tells the deliverer that there is something to do.
    """

    async def tell_the_portal(unit: Unit, events: Sequence[Received]) -> None:
        items = [item for event in events for item in items_of(event)]
        await queue(unit.connection, PARTNER, items)
        await note_days(unit.connection, days_of(events))
        wake()

    return [Subscription("dossiers", ("dossier.#",), tell_the_portal), erasures(erase)]
