"""Events leave by the outbox: written with the state they tell of, published afterwards.

A stream is (producer, epoch, aggregate). Its number is raised in ``outbox_stream`` by the writing
transaction, whose row lock makes the order of commits the order of numbers. The event itself goes
to ``event_log`` at once, where consumers can ask for it later; ``outbox`` holds the pointers that
are still to be published. Several relays share the work by locking parts (hash of the aggregate),
so that one stream is never published by two at the same time.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.base import Event
from common.database import Database
from common.envelope import Draft, Received, encode
from common.errors import describe
from common.gathering import gathered
from common.identifiers import new_id
from common.telemetry import current_traceparent, traceparent_after
from common.transport.base import Message, Transport, TransportDown

PARTS = 16
WINDOW = 500
WINDOW_BYTES = 8 * 1024 * 1024
_IDLE_LEAST, _IDLE_MOST, _EMPTY_SECONDS = 0.05, 1.0, 3.0
_TROUBLE_LEAST, _TROUBLE_MOST = 0.2, 5.0

log = structlog.get_logger()


@dataclass
class Unit:
    """One transaction: what is read and written, and the events it will tell."""

    connection: AsyncConnection
    drafts: list[Draft] = field(default_factory=list)

    def tell(
        self,
        event: Event,
        *,
        aggregate: str,
        agency: str,
        subject: str | None = None,
        cause: Received | None = None,
        traceparent: str | None = None,
    ) -> None:
        """Tell an event if and when this transaction commits.

        Args:
            event: the fact.
            aggregate: whose stream it belongs to, such as a dossier code.
            agency: the agency it concerns (part of the CloudEvents source).
            subject: the CloudEvents subject.
            cause: the event that led to it.
            traceparent: the trace it belongs to, where that is not the current one because
                several requests share the transaction.
        """
        identifier = new_id()
        self.drafts.append(
            Draft(
                id=identifier,
                event=event,
                aggregate=aggregate,
                agency=agency,
                subject=subject,
                traceparent=traceparent_after(cause)
                if cause
                else traceparent or current_traceparent(),
                correlation=cause.correlation if cause else str(identifier),
                causation=str(cause.id) if cause else None,
            )
        )


_RAISE_STREAMS = text(
    """
    INSERT INTO outbox_stream AS s (stream, sequence)
    SELECT stream, events FROM unnest(CAST(:streams AS text[]), CAST(:events AS bigint[]))
        AS added (stream, events)
    ORDER BY stream
    ON CONFLICT (stream) DO UPDATE SET sequence = s.sequence + excluded.sequence
    RETURNING stream, sequence, (SELECT epoch FROM outbox_epoch)
    """
)
_WRITE = text(
    """
    WITH added AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:types AS text[]), CAST(:streams AS text[]),
            CAST(:sequences AS bigint[]), CAST(:bodies AS bytea[]), CAST(:parts AS smallint[]))
            WITH ORDINALITY AS given (event_id, type, stream, sequence, body, part, place)
    ), logged AS (
        INSERT INTO event_log (event_id, type, stream, epoch, sequence, body)
        SELECT event_id, type, stream, CAST(:epoch AS integer), sequence, body FROM added
    )
    INSERT INTO outbox (part, event_id) SELECT part, event_id FROM added ORDER BY place
    """
)


def part_of(aggregate: str) -> int:
    """The part of the outbox that a stream lies in. (A checksum would not do: of codes that are
    much alike it leaves half of the parts empty.)"""
    return hashlib.blake2b(aggregate.encode(), digest_size=1).digest()[0] % PARTS


class Outbox:
    """Writes events for one service and publishes them.

    Args:
        database: the service's own.
        producer: the service's name.
    """

    def __init__(self, database: Database, producer: str) -> None:
        self._database = database
        self._producer = producer
        self._written = asyncio.Event()
        self._unpublished = 0
        """Events that this process has written since it last published."""
        self._down = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Unit]:
        """A transaction whose events are written with it; the relay is woken by the commit."""
        async with self._database.transaction() as connection:
            unit = Unit(connection)
            yield unit
            await self._write(unit)
        if unit.drafts:
            self._unpublished += len(unit.drafts)
            self._written.set()

    @asynccontextmanager
    async def joining(self, connection: AsyncConnection) -> AsyncIterator[Unit]:
        """Tell events with a transaction that somebody else begins and commits."""
        unit = Unit(connection)
        yield unit
        await self._write(unit)

    async def _write(self, unit: Unit) -> None:
        if not unit.drafts:
            return
        ordered = Counter(draft.aggregate for draft in unit.drafts if draft.event.ORDERED)
        next_number: dict[str, int] = {}
        epoch = 1
        if ordered:
            streams = sorted(ordered)
            raised = await unit.connection.execute(
                _RAISE_STREAMS,
                {"streams": streams, "events": [ordered[s] for s in streams]},
            )
            for stream, last, epoch in raised:  # noqa: B007 - the same epoch in every row
                next_number[stream] = last - ordered[stream] + 1
        columns: dict[str, list[Any]] = {
            name: [] for name in ("ids", "types", "streams", "sequences", "bodies", "parts")
        }
        for draft in unit.drafts:
            sequence = None
            if draft.event.ORDERED:
                sequence = next_number[draft.aggregate]
                next_number[draft.aggregate] += 1
            columns["ids"].append(draft.id)
            columns["types"].append(draft.event.TYPE)
            columns["streams"].append(draft.aggregate if sequence else None)
            columns["sequences"].append(sequence)
            columns["bodies"].append(
                encode(draft, producer=self._producer, epoch=epoch, sequence=sequence)
            )
            columns["parts"].append(part_of(draft.aggregate))
        await unit.connection.execute(_WRITE, {**columns, "epoch": epoch})

    async def relay(self, transport: Transport) -> None:
        """Publish without end. Any number of relays may run, in any number of processes."""
        idle, trouble, woken = _IDLE_LEAST, _TROUBLE_LEAST, True
        while True:
            self._written.clear()
            self._unpublished = 0
            try:
                waits = woken or await self._waits()
                published = await self.publish_once(transport) if waits else 0
            except Exception as error:
                log.warning("relay interrupted", error=describe(error))
                await asyncio.sleep(trouble)
                trouble = min(trouble * 2, _TROUBLE_MOST)
                continue
            trouble = _TROUBLE_LEAST
            if published or not waits:
                # What this process writes wakes it; what others leave behind is seldom.
                idle = _IDLE_LEAST if waits else _EMPTY_SECONDS
            if published >= WINDOW:
                continue
            try:
                async with asyncio.timeout(idle):
                    await self._written.wait()
            except TimeoutError:
                woken, idle = False, min(idle * 2, _IDLE_MOST)
            else:
                woken = True
                await gathered(lambda: self._unpublished, WINDOW)

    async def _waits(self) -> bool:
        """Whether anybody has left something to publish."""
        async with self._database.reading() as connection:
            return bool((await connection.execute(_WAITS)).scalar_one())

    async def publish_once(self, transport: Transport) -> int:
        """Publish one window; how many events became safe."""
        try:
            await transport.ready()  # asked first: a transaction is not to wait for the broker
            rows, done = await self._publish_window(transport)
        except TransportDown as error:
            if not self._down:
                log.warning("transport down", error=str(error))
            self._down = True
            return 0
        if self._down:
            log.info("transport back")
        self._down = False
        if done < rows:
            await asyncio.sleep(_TROUBLE_LEAST)
        return done

    async def _publish_window(self, transport: Transport) -> tuple[int, int]:
        """How many events were taken up, and how many of them became safe."""
        async with self._database.transaction() as connection:
            parts = (await connection.execute(_LOCK_PARTS)).scalars().all()
            if not parts:
                return 0, 0
            # A statement of its own: its snapshot sees what was committed before the locks.
            found = await connection.execute(
                _TAKE, {"parts": parts, "window": WINDOW, "bytes": WINDOW_BYTES}
            )
            rows = found.all()
            if not rows:
                return 0, 0
            safe = await transport.publish(
                [Message(row.type, str(row.event_id), row.body) for row in rows]
            )
            done = _leading(rows, safe)
            if done:
                await connection.execute(_REMOVE, {"ids": done})
        return len(rows), len(done)


_WAITS = text("SELECT EXISTS (SELECT FROM outbox)")
# All parts that have something and that no other relay works on: full windows are what makes it
# fast, and what this relay does not hold is the next one's.
_LOCK_PARTS = text(
    """
    SELECT part FROM outbox_part
    WHERE EXISTS (SELECT FROM outbox WHERE outbox.part = outbox_part.part)
    FOR UPDATE SKIP LOCKED
    """
)
# The events are looked up one by one, whatever the planner thinks of the size of the log.
_TAKE = text(
    """
    SELECT id, event_id, type, stream, body FROM (
        SELECT waiting.id, logged.event_id, logged.type, logged.stream, logged.body,
               sum(octet_length(logged.body)) OVER (ORDER BY waiting.id) AS bytes
        FROM (SELECT id, event_id FROM outbox WHERE part = ANY(CAST(:parts AS smallint[]))
              ORDER BY id LIMIT :window) AS waiting
        CROSS JOIN LATERAL (SELECT * FROM event_log WHERE event_log.event_id = waiting.event_id
                            LIMIT 1) AS logged
    ) AS sized
    WHERE bytes - octet_length(body) < :bytes
    ORDER BY id
    """
)
_REMOVE = text("DELETE FROM outbox WHERE id = ANY(CAST(:ids AS bigint[]))")


def _leading(rows: Sequence[Any], safe: Sequence[bool]) -> list[int]:
    """The rows that may go: of each stream those before its first one that is not safe."""
    stopped: set[str] = set()
    done: list[int] = []
    for row, ok in zip(rows, safe, strict=True):
        if row.stream is None:
            if ok:
                done.append(row.id)
        elif ok and row.stream not in stopped:
            done.append(row.id)
        else:
            stopped.add(row.stream)
    return done


_LOG = text(
    """
    SELECT event_id, body FROM event_log
    WHERE event_id > :after AND type LIKE ANY(CAST(:types AS text[]))
    ORDER BY event_id LIMIT :window
    """
)


async def log_page(database: Database, types: Sequence[str], after: UUID) -> list[bytes]:
    """Events of some types (``LIKE`` patterns) that were told after an id, oldest first.

    Ids follow the clock of the writing process, so a transaction that commits late can add an
    event before the end of a page that was read already: start some time earlier.
    """
    async with database.reading() as connection:
        found = await connection.execute(
            _LOG, {"types": list(types), "after": after, "window": WINDOW}
        )
        return [row.body for row in found]


_HISTORY = text(
    """
    SELECT body FROM event_log
    WHERE stream = :stream AND epoch = :epoch AND sequence BETWEEN :first AND :last
    ORDER BY sequence LIMIT :window
    """
)


async def history(
    database: Database, aggregate: str, epoch: int, first: int, last: int
) -> list[bytes]:
    """Events of one stream from the log, in order; what retention has dropped is left out."""
    async with database.reading() as connection:
        found = await connection.execute(
            _HISTORY,
            {
                "stream": aggregate,
                "epoch": epoch,
                "first": first,
                "last": last,
                "window": WINDOW,
            },
        )
        return list(found.scalars())


async def begin_epoch(database: Database) -> int:
    """Begin anew after the database was restored to an earlier moment, before it is written again.

    All streams are numbered from 1 under a new epoch: consumers know the numbers given since the
    backup, and would take new events for repetitions. What the service itself heard since then is
    read again from the producers' logs.

    Returns:
        The new epoch.
    """
    async with database.transaction() as connection:
        await connection.execute(text("TRUNCATE outbox_stream"))
        begun = await connection.execute(
            text("UPDATE outbox_epoch SET epoch = epoch + 1 RETURNING epoch")
        )
        await connection.execute(text("UPDATE attachment SET missing_since = clock_timestamp()"))
        return int(begun.scalar_one())
