"""Refused requests are put down: collected here, written in batches, never waited for.

What is alike in one interval is told singly a few times and then counted. What is above the bound,
because the database is away or somebody tries very hard, is not put down: how much that was stands
in the measurements.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter

from common.database import Database
from common.errors import describe
from gateway.domain.refusals import Refusal
from gateway.store import refusals as store

_SECONDS = 1.0
_MOST_WAITING = 10_000
_MOST_ALIKE = 20
_BATCH = 1000
_UPKEEP_SECONDS = 3600.0

log = structlog.get_logger()

_Form = tuple[str | None, str | None, str | None, str, str, int, str]


class Refusals:
    """Collects and writes.

    Args:
        database: the gateway's own.
        registry: where measurements go.
        days: how long refusals are kept; whole months at a time.
    """

    def __init__(self, database: Database, registry: CollectorRegistry, days: int) -> None:
        self._database = database
        self._days = days
        self._waiting: list[Refusal] = []
        self._alike: dict[_Form, int] = {}
        self._further: dict[_Form, Refusal] = {}
        self._months: set[tuple[int, int]] = set()
        self._dropped = Counter(
            "refusals_dropped", "Refused requests that were not put down", registry=registry
        )
        self._kept = Counter("refusals_kept", "Refused requests put down", registry=registry)

    def add(self, refusal: Refusal) -> None:
        """Put a refusal down, soon."""
        form = _form(refusal)
        count = self._alike.get(form, 0)
        if len(self._waiting) + len(self._further) >= _MOST_WAITING and form not in self._further:
            self._dropped.inc()
            return
        self._alike[form] = count + 1
        if count < _MOST_ALIKE:
            self._waiting.append(refusal)
        else:
            known = self._further.get(form)
            self._further[form] = replace(refusal, repeated=known.repeated + 1 if known else 0)

    async def run(self) -> None:
        """Write without end, and drop what is too old."""
        kept_up = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SECONDS)
            await self.write()
            if loop.time() - kept_up > _UPKEEP_SECONDS:
                kept_up = loop.time()
                await self._keep_up()

    async def write(self) -> None:
        """Write what has come together; where that fails it waits for the next time."""
        # What is alike counts for each interval anew, whether it could be written or not.
        self._waiting += self._further.values()
        self._further.clear()
        self._alike.clear()
        while self._waiting:
            batch = self._waiting[:_BATCH]
            try:
                await self._ensure({(one.at.year, one.at.month) for one in batch})
                async with self._database.transaction() as connection:
                    await store.keep(connection, batch)
            except Exception as error:
                log.warning("refusals not put down yet", error=describe(error))
                return
            del self._waiting[: len(batch)]
            self._kept.inc(sum(1 + one.repeated for one in batch))

    async def _ensure(self, months: Collection[tuple[int, int]]) -> None:
        for year, month in set(months) - self._months:
            async with self._database.transaction() as connection:
                await store.ensure_month(connection, datetime(year, month, 1, tzinfo=UTC))
            self._months.add((year, month))

    async def _keep_up(self) -> None:
        now = datetime.now(UTC)
        try:
            async with self._database.transaction() as connection:
                await store.ensure_month(connection, now + timedelta(days=28))
            async with self._database.transaction() as connection:
                fell = await store.drop_before(connection, now - timedelta(days=self._days))
        except Exception as error:
            log.warning("old refusals not dropped", error=describe(error))
            return
        for name in fell:
            log.info("partition dropped by retention", partition=name)


def _form(refusal: Refusal) -> _Form:
    return (
        refusal.client_id,
        refusal.claimed,
        refusal.address,
        refusal.method,
        refusal.route,
        refusal.status,
        refusal.type,
    )
