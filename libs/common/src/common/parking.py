"""Second chances for parked events: gaps are closed from the producer, failures tried again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import text

from common.database import Database, database_is_away
from common.envelope import MalformedEvent, decode
from common.errors import describe
from common.inbox import FIRST_LOOK_SECONDS, Consumer
from common.outbox import history, log_page

LOOK_SECONDS, SELDOM_SECONDS = 1.0, 3.0
LONGEST_WAIT_SECONDS = 3600.0
_AT_ONCE = 200

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


# What is due is put off first, so that a failure in between does not make this a busy loop.
_CLAIM = text(
    """
    WITH due AS (
        SELECT id FROM parked WHERE consumer = :consumer AND next_at <= now()
        ORDER BY next_at LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE parked SET attempts = attempts + 1, next_at = now() + make_interval(secs =>
        least(:first * 2 ^ least(attempts, 12), :longest) * (0.5 + random() / 2))
    FROM due WHERE parked.id = due.id
    RETURNING parked.id, parked.stream, parked.reason, parked.body
    """
)
# A stream whose very first event failed has no position yet.
_HEAD = text(
    """
    WITH place AS (
        SELECT coalesce((SELECT last FROM position
                         WHERE consumer = :consumer AND stream = :stream), 0) AS last
    ), overtaken AS (
        DELETE FROM parked USING place
        WHERE consumer = :consumer AND stream = :stream AND sequence <= place.last
    )
    SELECT place.last, id, sequence, reason, body FROM parked CROSS JOIN place
    WHERE consumer = :consumer AND stream = :stream AND sequence > place.last
    ORDER BY sequence LIMIT 1
    """
)

_LEFT = text("UPDATE parked SET next_at = NULL WHERE id = :id")
_READ = text("DELETE FROM parked WHERE id = :id")


class Recovery:
    """Looks after the parked events of one consumer. Any number may run, in any number of
    processes."""

    def __init__(self, consumer: Consumer, database: Database, history: History) -> None:
        self.name = consumer.name
        self._consumer = consumer
        self._database = database
        self._history = history

    async def run(self) -> None:
        """Work without end."""
        pause = LOOK_SECONDS
        while True:
            try:
                busy = await self.once()
            except Exception as error:
                log.warning("recovery interrupted", consumer=self.name, error=describe(error))
                busy = False
            if busy:
                pause = LOOK_SECONDS
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, SELDOM_SECONDS)

    async def once(self) -> bool:
        """Try what is due; whether there was anything.

        Raises:
            Exception: the database is away.
        """
        # One statement, which is its own transaction: it is asked for ever.
        async with self._database.reading() as connection:
            found = await connection.execute(
                _CLAIM,
                {
                    "consumer": self.name,
                    "most": _AT_ONCE,
                    "first": FIRST_LOOK_SECONDS,
                    "longest": LONGEST_WAIT_SECONDS,
                },
            )
            due = found.all()
        claimed: dict[str, set[int]] = {}
        alone: list[bytes] = []
        for row in due:
            if row.reason == "undecodable":
                await self._read_again(row.id, row.body)
            elif row.stream is None:
                alone.append(row.body)
            else:
                claimed.setdefault(row.stream, set()).add(row.id)
        if alone:
            await self._consumer.take(alone)
        for stream, ids in claimed.items():
            try:
                await self._advance(stream, ids)
            except Exception as error:
                if database_is_away(error):
                    raise
                log.error("stream not advanced", consumer=self.name, error=describe(error))
        return bool(due)

    async def _read_again(self, id_: int, body: bytes) -> None:
        """Take an event that could not be read before, or leave it to the operators again."""
        try:
            decode(body)
        except MalformedEvent:
            done = _LEFT
        else:
            await self._consumer.take([body])
            done = _READ
        async with self._database.transaction() as connection:
            await connection.execute(done, {"id": id_})

    async def _advance(self, stream: str, claimed: set[int]) -> None:
        """Apply what follows the stream's position, for as long as that moves it."""
        before = -1
        while True:
            async with self._database.transaction() as connection:
                keys = {"consumer": self.name, "stream": stream}
                head = (await connection.execute(_HEAD, keys)).first()
            if head is None or head.last == before:
                return
            before = head.last
            if head.sequence > head.last + 1:
                bodies = await self._missing(stream, head.last + 1, head.sequence - 1)
            elif head.reason == "early" or head.id in claimed:
                bodies = [head.body]
            else:
                return  # it failed, and its own time to be tried again has not come
            if bodies:
                await self._consumer.take(bodies)

    async def _missing(self, stream: str, first: int, last: int) -> list[bytes]:
        producer, epoch, aggregate = stream.split("/", 2)
        bodies = await self._history.events(producer, int(epoch), aggregate, first, last)
        if not bodies:
            log.warning("gap cannot be closed yet", producer=producer, first=first, last=last)
        return bodies


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
