"""What the exporter does with what it hears."""

import asyncio
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierFact, DossierImported
from common.contracts.usage import UsageMeasured
from common.database import Database
from common.delivery import Claimed, Item, Outcome, Result, queue
from common.envelope import Received
from common.outbox import Unit
from common.telemetry import traceparent_after
from metrics_exporter import store
from metrics_exporter.clients import Emc, Tracker, Wire, record_key

_UPKEEP_SECONDS = 3600.0

log = structlog.get_logger()


async def queue_records(unit: Unit, events: Sequence[Received], wire: Wire) -> None:
    """One record for each fact about a dossier, in the order of the facts.

    Old dossiers that were imported count only where that is wished.
    """
    items = [
        Item(
            agency=event.event.dossier.agency,
            subject=event.event.dossier.code,
            kind="record",
            key=record_key(event.event),
            body=wire.record(event.event),
            traceparent=traceparent_after(event),
            lane=event.event.lane,
        )
        for event in events
        if isinstance(event.event, DossierFact)
        and (not isinstance(event.event, DossierImported) or event.event.measure)
    ]
    await queue(unit.connection, Emc.name, items)


async def keep_measurements(unit: Unit, events: Sequence[Received], wire: Wire) -> None:
    """Keep measurements, and queue those that count anything and were not known before."""
    measured = [event.event for event in events if isinstance(event.event, UsageMeasured)]
    added = await store.add_measurements(unit.connection, measured)
    items = []
    for one in added:
        if one.counts:
            key = store.measurement_key(one)
            # A subject of its own: counts need no order, and one that is held stops no other.
            items.append(
                Item(agency=one.service, subject=key, kind="counts", key=key, body=wire.counts(one))
            )
    await queue(unit.connection, Tracker.name, items)


class Gaps:
    """Measurements that may or may not have arrived: counted, and named in ``measurement``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            "usage_gaps",
            "Measurements whose arrival is unknown and that are not sent again",
            registry=registry,
        )

    async def note(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        """Note what was sent and what is a gap."""
        settled = [
            (item.key, outcome.reason)
            for item, outcome in outcomes
            if outcome.result is Result.DONE
        ]
        if not settled:
            return
        await store.settle_measurements(connection, settled)
        for key, cause in settled:
            if cause is not None:
                self._counter.inc()
                log.warning("measurement may be missing at the tracker", of=key, cause=cause)


async def forget_old(database: Database, days: int) -> None:
    """Drop what was dealt with long ago; without end."""
    while True:
        async with database.transaction() as connection:
            await store.forget(connection, days)
        await asyncio.sleep(_UPKEEP_SECONDS)
