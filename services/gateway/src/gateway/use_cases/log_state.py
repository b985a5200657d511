"""How the message log is: what waits to be sealed, what waits to be stamped, who stamps."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry, Gauge

from common.database import Database
from common.errors import describe
from gateway.store import message_blocks
from gateway.store.message_blocks import PartitionState
from gateway.use_cases.timestamps import Authorities

_SECONDS = 15.0

log = structlog.get_logger()


class LogState:
    """Measures the message log for ``/metrics`` and for operators; intake does not depend on it.

    Args:
        database: the gateway's own.
        authorities: who stamps; None where nobody does.
        registry: where measurements go.
    """

    def __init__(
        self, database: Database, authorities: Authorities | None, registry: CollectorRegistry
    ) -> None:
        self._database = database
        self._authorities = authorities

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"message_log_{name}", meaning, labels, registry=registry)

        self._records = gauge("records", "Sealed records", "partition")
        self._pending = gauge("pending_records", "Records in no block yet", "partition")
        self._pending_age = gauge(
            "oldest_pending_seconds", "Age of the oldest record in no block", "partition"
        )
        self._unstamped = gauge("unstamped_blocks", "Blocks without a timestamp", "partition")
        self._unstamped_age = gauge(
            "oldest_unstamped_seconds", "Age of the oldest block without a timestamp", "partition"
        )
        self._tsa_open = gauge("tsa_left_alone", "1 while an authority is left alone", "tsa")
        self._tsa_given = gauge("tsa_timestamps", "Good timestamps since the start", "tsa")
        self._tsa_failed = gauge("tsa_failures", "Calls without one since the start", "tsa")

    async def run(self) -> None:
        """Measure without end."""
        while True:
            try:
                await self.measure()
            except Exception as error:
                log.warning("the message log could not be measured", error=describe(error))
            await asyncio.sleep(_SECONDS)

    async def measure(self) -> list[PartitionState]:
        """How far the partitions are, now; kept for ``/metrics`` as well."""
        async with self._database.reading() as connection:
            found = await message_blocks.state(connection)
        for state in found:
            label = str(state.partition)
            self._records.labels(label).set(state.records)
            self._pending.labels(label).set(state.pending)
            self._pending_age.labels(label).set(age(state.oldest_pending))
            self._unstamped.labels(label).set(state.unstamped)
            self._unstamped_age.labels(label).set(age(state.oldest_unstamped))
        for tsa in self.authorities():
            self._tsa_open.labels(tsa.host).set(tsa.left_alone)
            self._tsa_given.labels(tsa.host).set(tsa.timestamps)
            self._tsa_failed.labels(tsa.host).set(tsa.failures)
        return found

    def authorities(self) -> list["TsaState"]:
        """How the authorities have answered this process."""
        return [
            TsaState(
                host=urlsplit(tsa.url).netloc.rpartition("@")[2],
                left_alone=tsa.breaker.open,
                timestamps=tsa.given,
                failures=tsa.failed,
                error=tsa.error,
            )
            for tsa in (self._authorities.all if self._authorities else ())
        ]


@dataclass(frozen=True, slots=True)
class TsaState:
    """How an authority has answered.

    Attributes:
        left_alone: it failed so often that it is asked again only now and then.
        timestamps: good ones.
        failures: calls that ended without one.
        error: why the last one did.
    """

    host: str
    left_alone: bool
    timestamps: int
    failures: int
    error: str | None


def age(moment: datetime | None) -> float:
    """Seconds since a moment; 0 without one."""
    return max(0.0, (datetime.now(UTC) - moment).total_seconds()) if moment else 0.0
