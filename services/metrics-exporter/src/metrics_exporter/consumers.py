"""What the exporter listens to."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery import Deliverer
from common.envelope import Received
from common.erasure import erase_deliveries, erasures
from common.inbox import Subscription
from common.outbox import Unit
from metrics_exporter.clients import Emc, Wire
from metrics_exporter.use_cases import keep_measurements, queue_records

_RECORDS_SECONDS, _COUNTS_SECONDS = 0.5, 2.0
"""For how long they wait for company: nobody waits for a measurement, and one by one they cost more
than anything else here."""


async def _erase(connection: AsyncConnection, dossiers: Sequence[str]) -> None:
    """Records that still wait carry a pseudonym, which is personal data, too; counts carry none."""
    await erase_deliveries(connection, Emc.name, dossiers)


def subscriptions(wire: Wire, records: Deliverer, usage: Deliverer) -> tuple[Subscription, ...]:
    """The queues of this service.

    Args:
        records: delivers the records of dossier events.
        usage: delivers the measurements.
    """

    async def dossiers(unit: Unit, events: Sequence[Received]) -> None:
        await queue_records(unit, events, wire)
        records.wake()

    async def measurements(unit: Unit, events: Sequence[Received]) -> None:
        await keep_measurements(unit, events, wire)
        usage.wake()

    return (
        Subscription("dossiers", ("dossier.#",), dossiers, patience=_RECORDS_SECONDS),
        Subscription("usage", ("usage.measured.v1",), measurements, patience=_COUNTS_SECONDS),
        erasures(_erase),
    )
