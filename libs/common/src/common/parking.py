"""Second chances for parked events: gaps are closed from the producer, failures tried again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import text

from common.database import Database, database_is_away
from common.envelope import MalformedEvent, Received, decode
from common.errors import describe
from common.inbox import Consumer
from common.outbox import history, log_page

_LOOK_SECONDS = 1.0
_STREAMS_AT_ONCE = 50
_WINDOW = 500
_LONGEST_WAIT_SECONDS = 3600.0

log = structlog.get_logger()


class HistoryAway(Exception):
    """The producer of missed events cannot be asked now."""


class History(Protocol):
    """Where events can be read again after they were published."""

    async def events(
        self, producer: str, epoch: int, aggregate: str, first: int, last: int
    ) -> list[bytes]:
        """Events of a stream, in order, as far as the producer still holds them."""

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        """A page of all events of some types (``LIKE`` patterns) after an id, oldest first.

        Raises:
            HistoryAway: the producer cannot be asked now.
        """


_DUE = text(
    """
    SELECT id, stream, event_id, reason FROM parked
    WHERE consumer = :consumer AND next_at <= now()
    ORDER BY next_at LIMIT :limit
    """
)
_HEADS = text(
    """
    SELECT position.last, parked.sequence, parked.reason, parked.body
    FROM position JOIN parked USING (consumer, stream)
    WHERE consumer = :consumer AND stream = :stream
    ORDER BY parked.sequence LIMIT :window
    """
)
_LATER = text(
    """
    UPDATE parked SET attempts = attempts + 1, error = coalesce(:error, error),
        next_at = now() + make_interval(secs => least(
            5 * 2 ^ least(attempts, 12), :longest) * (0.5 + random() / 2))
    WHERE id = ANY(CAST(:ids AS bigint[]))
    """
)


class Recovery:
    """Looks after the parked events of one consumer."""

    def __init__(self, consumer: Consumer, database: Database, history: History) -> None:
        self.name = consumer.name
        self._consumer = consumer
        self._database = database
        self._history = history

    async def run(self) -> None:
        """Work without end."""
        while True:
            try:
                busy = await self.once()
            except Exception as error:
                log.warning(
                    "recovery interrupted",
                    consumer=self._consumer.name,
                    error=repr(error),
                )
                busy = False
            if not busy:
                await asyncio.sleep(_LOOK_SECONDS)

    async def once(self) -> bool:
        """Try what is due; whether there was anything."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                _DUE, {"consumer": self._consumer.name, "limit": _STREAMS_AT_ONCE}
            )
            due = found.all()
        by_stream: dict[str, list[int]] = {}
        alone: list[int] = []
        for row in due:
            if row.stream is None:
                alone.append(row.id)
            else:
                by_stream.setdefault(row.stream, []).append(row.id)
        # First put off, so that a failure in between does not make this a busy loop.
        await self._later([*alone, *(id_ for ids in by_stream.values() for id_ in ids)])
        for stream in by_stream:
            await self._advance(stream)
        for id_ in alone:
            await self._again(id_)
        return bool(due)

    async def _advance(self, stream: str) -> None:
        """Apply what now follows the stream's position, closing a gap from the producer first."""
        async with self._database.reading() as connection:
            rows = (
                await connection.execute(
                    _HEADS,
                    {
                        "consumer": self._consumer.name,
                        "stream": stream,
                        "window": _WINDOW,
                    },
                )
            ).all()
        if not rows:
            return
        last = rows[0].last
        bodies: list[bytes] = []
        if rows[0].sequence > last + 1:
            producer, epoch, aggregate = stream.split("/", 2)
            bodies = await self._history.events(
                producer, int(epoch), aggregate, last + 1, rows[0].sequence - 1
            )
            if not bodies:
                log.warning("gap cannot be closed yet", stream_of=producer, missing=last + 1)
                return
        bodies += [row.body for row in rows]
        await self._apply([decode(body) for body in bodies], last)

    async def _apply(self, events: list[Received], last: int) -> None:
        for event in events:
            if event.sequence is None or event.sequence <= last:
                continue
            if event.sequence > last + 1:
                return
            try:
                await self._consumer.apply_alone(event)
            except Exception as error:
                if database_is_away(error):
                    raise
                log.error("parked event fails again", type=event.type, error=describe(error))
                await self._note(event, describe(error))
                return
            last = event.sequence

    async def _again(self, id_: int) -> None:
        async with self._database.reading() as connection:
            body = (
                await connection.execute(
                    text("SELECT body FROM parked WHERE id = :id"), {"id": id_}
                )
            ).scalar_one_or_none()
        if body is None:
            return
        try:
            event = decode(body)
            await self._consumer.apply_alone(event)
        except MalformedEvent:
            return
        except Exception as error:
            if database_is_away(error):
                raise
            await self._note_id(id_, describe(error))

    async def _later(self, ids: list[int]) -> None:
        if not ids:
            return
        async with self._database.transaction() as connection:
            await connection.execute(
                _LATER, {"ids": ids, "error": None, "longest": _LONGEST_WAIT_SECONDS}
            )

    async def _note(self, event: Received, error: str) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                text(
                    "UPDATE parked SET error = :error, reason = 'failed' "
                    "WHERE consumer = :consumer AND stream = :stream AND sequence = :sequence"
                ),
                {
                    "error": error,
                    "consumer": self._consumer.name,
                    "stream": event.stream,
                    "sequence": event.sequence,
                },
            )

    async def _note_id(self, id_: int, error: str) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                text("UPDATE parked SET error = :error WHERE id = :id"),
                {"error": error, "id": id_},
            )


class DatabaseHistory:
    """History read from the producers' own databases: for services within one process."""

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self._databases = databases

    async def events(
        self, producer: str, epoch: int, aggregate: str, first: int, last: int
    ) -> list[bytes]:
        """As the protocol says."""
        database = self._databases.get(producer)
        return await history(database, aggregate, epoch, first, last) if database else []

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        """As the protocol says."""
        database = self._databases.get(producer)
        if database is None:
            raise HistoryAway(producer)
        return await log_page(database, types, after)
