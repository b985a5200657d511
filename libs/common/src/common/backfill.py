"""What was published before a consumer's queue existed is read from the producers' logs.

A queue is missing on the first start of a service that comes after others, and when somebody
deleted it. That it was missing is committed before it is made, so that a process which ends in
between still reads the log on its next start. It is read from the newest event that the consumer
is known to have taken, with a margin; events it already knows change nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson
import structlog
from sqlalchemy import text

from common.contracts.registry import EVENTS
from common.database import Database
from common.identifiers import lowest_id_at
from common.inbox import Consumer
from common.parking import History, HistoryAway

_MARGIN = timedelta(hours=1)
_SEEN_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_START = UUID(int=0)

log = structlog.get_logger()

_MISSING = text(
    """
    INSERT INTO attachment (consumer, missing_since) VALUES (:consumer, clock_timestamp())
    ON CONFLICT (consumer) DO UPDATE SET missing_since = clock_timestamp()
    """
)
_READ = text("SELECT seen_at, missing_since FROM attachment WHERE consumer = :consumer")
_CLOSED = text(
    """
    UPDATE attachment SET missing_since = NULL, seen_at = now()
    WHERE consumer = :consumer AND missing_since = :since
    """
)
_TAKEN = text(
    """
    INSERT INTO attachment AS a (consumer, seen_at) VALUES (:consumer, least(:newest, now()))
    ON CONFLICT (consumer) DO UPDATE SET seen_at = greatest(a.seen_at, excluded.seen_at)
        WHERE a.missing_since IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class _Attachment:
    """Up to where a consumer has taken events, and since when what it may have missed is open."""

    seen_at: datetime | None
    missing_since: datetime | None


class Backfill:
    """Keeps one consumer from missing what was told while it had no queue."""

    def __init__(self, consumer: Consumer, database: Database, history: History) -> None:
        self.name = consumer.name
        self._consumer = consumer
        self._database = database
        self._history = history
        self._attached = False
        self._bound = asyncio.Event()

    @asynccontextmanager
    async def attaching(self, exists: bool) -> AsyncIterator[None]:
        """Around the binding of the queue (``common.transport.base.Attaching``).

        A queue that was missing and not made up for yet may be there without being bound: whoever
        made it ended too early. So it is missing until it is bound, and the log is read after that.
        """
        self._attached = False
        missing = not exists or (await self._attachment()).missing_since is not None
        if missing:
            await self._write(_MISSING)
        yield
        self._attached = True
        if missing:
            self._bound.set()

    async def run(self) -> None:
        """Read what was missed, whenever the queue had to be made; without end."""
        while True:
            self._bound.clear()
            try:
                await self.once()
                pause = _SEEN_SECONDS
            except HistoryAway as error:
                log.info("missed events wait for their producer", producer=str(error))
                pause = _RETRY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._bound.wait()
            except TimeoutError:
                pass

    async def once(self) -> int:
        """Read what was missed, if anything may have been; how many events were read."""
        row = await self._attachment()
        if row.missing_since is None:
            # Not the time of day: what a deleted queue still held may be older than that.
            if self._consumer.newest is not None:
                await self._write(_TAKEN, newest=self._consumer.newest)
            return 0
        if not self._attached:
            return 0
        read = 0
        for producer, types in self._told_by().items():
            read += await self._read(producer, types, row.seen_at)
        await self._write(_CLOSED, since=row.missing_since)
        log.info("queue was missing, log read", queue=self._consumer.queue.name, events=read)
        return read

    async def _attachment(self) -> _Attachment:
        async with self._database.reading() as connection:
            row = (await connection.execute(_READ, {"consumer": self.name})).first()
        return _Attachment(*row) if row else _Attachment(None, None)

    async def _read(self, producer: str, types: Sequence[str], seen_at: datetime | None) -> int:
        after = lowest_id_at(seen_at - _MARGIN) if seen_at else _START
        read = 0
        while bodies := await self._history.log(producer, types, after):
            await self._consumer.take(bodies)
            after = UUID(orjson.loads(bodies[-1])["id"])
            read += len(bodies)
        return read

    def _told_by(self) -> dict[str, list[str]]:
        """The types this consumer listens to, by producer; counts that every service tells of
        itself are left out: those of a time when nobody listened are of no use."""
        told: dict[str, list[str]] = {}
        for type_, event in EVENTS.items():
            if self._consumer.queue.wants(type_) and event.PRODUCER != "*":
                told.setdefault(event.PRODUCER, []).append(type_)
        return told

    async def _write(self, statement: object, **values: object) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(statement, {"consumer": self.name, **values})  # type: ignore[call-overload]
