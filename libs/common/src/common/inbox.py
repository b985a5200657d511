"""The consumer's side: every event takes effect once, in the order of its stream.

For an ordered stream the position row is the dedupe: an event at or below it was done, the next
one is done now, one beyond it is parked until the gap is closed. Events that stand on their own
are told apart by their id. Either row changes in the transaction of the effect, together with the
events that the effect tells. A batch is one transaction; a batch that fails is taken event by
event, so that one poison event spoils nothing else: it is parked, and later events of its stream
wait behind it.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text

from common.database import database_is_away, rolled_back
from common.envelope import MalformedEvent, Received, decode
from common.errors import describe
from common.identifiers import moment_of
from common.outbox import Outbox, Unit
from common.telemetry import Telemetry
from common.transport.base import Queue

BATCH = 200
QUICK_TRIES = 3
FOLLOWERS = 500
"""How many parked successors one transaction takes along at the most."""
FIRST_LOOK_SECONDS = 5.0
"""How long an event that came early waits before the gap is asked for."""

log = structlog.get_logger()

Apply = Callable[[Unit, Sequence[Received]], Awaitable[None]]
"""Takes the events of a batch, each stream in its order, and does all of them or raises."""


@dataclass(frozen=True)
class Subscription:
    """One queue of a service and what is done with its events.

    Attributes:
        purpose: second half of the queue's name.
        patterns: topic patterns of event types; whole streams, so that none has artificial gaps.
        apply: the use case.
        batch: how many events one transaction takes at the most.
        patience: seconds for which an event may wait for others: for what nobody waits for.
    """

    purpose: str
    patterns: tuple[str, ...]
    apply: Apply
    batch: int = BATCH
    patience: float = 0.0


# Makes what is missing and locks all, in the order of keys. Repeating the value is what locks a
# row; a lock of its own would be one more round trip.
_LOCK_POSITIONS = text(
    """
    INSERT INTO position AS p (consumer, stream, last)
    SELECT :consumer, stream, 0 FROM unnest(CAST(:streams AS text[])) AS s (stream)
    ORDER BY stream
    ON CONFLICT (consumer, stream) DO UPDATE SET last = p.last
    RETURNING stream, last
    """
)
_PARKED_NEXT = text(
    """
    SELECT stream, sequence, body FROM parked JOIN position USING (consumer, stream)
    WHERE consumer = :consumer AND stream = ANY(CAST(:streams AS text[])) AND reason = 'early'
      AND sequence BETWEEN last + 1 AND last + :most
    ORDER BY stream, sequence LIMIT :most
    """
)
# The positions are there. Naming what they would conflict with finds them by their key; an UPDATE,
# planned while the table was small, would read all of it for every batch.
_MOVE_POSITIONS = text(
    """
    WITH done AS (
        SELECT * FROM unnest(CAST(:streams AS text[]), CAST(:lasts AS bigint[])) AS d (stream, last)
    ), moved AS (
        INSERT INTO position (consumer, stream, last)
        SELECT :consumer, stream, last FROM done
        ON CONFLICT (consumer, stream) DO UPDATE SET last = excluded.last
    ), unparked AS (
        DELETE FROM parked USING done
        WHERE parked.consumer = :consumer AND parked.stream = done.stream
          AND parked.sequence <= done.last
    )
    UPDATE parked SET next_at = now() FROM done
    WHERE parked.consumer = :consumer AND parked.stream = done.stream
      AND parked.sequence = done.last + 1
    """
)
_NEW_TO_INBOX = text(
    """
    WITH unparked AS (
        DELETE FROM parked WHERE consumer = :consumer AND event_id = ANY(CAST(:ids AS uuid[]))
    )
    INSERT INTO inbox (consumer, event_id)
    SELECT :consumer, id FROM unnest(CAST(:ids AS uuid[])) AS e (id) ORDER BY id
    ON CONFLICT DO NOTHING RETURNING event_id
    """
)
_PARK = text(
    """
    INSERT INTO parked (consumer, stream, sequence, event_id, type, body, reason, error, attempts,
                        next_at)
    SELECT :consumer, stream, sequence, event_id, type, body, reason, error, attempts,
           now() + make_interval(secs => wait)
    FROM unnest(CAST(:streams AS text[]), CAST(:sequences AS bigint[]), CAST(:ids AS uuid[]),
         CAST(:types AS text[]), CAST(:bodies AS bytea[]), CAST(:reasons AS text[]),
         CAST(:errors AS text[]), CAST(:attempts AS integer[]), CAST(:waits AS float8[]))
         AS p (stream, sequence, event_id, type, body, reason, error, attempts, wait)
    ORDER BY event_id
    ON CONFLICT (consumer, event_id) DO UPDATE SET reason = excluded.reason, error = excluded.error
        WHERE excluded.reason = 'failed'
    """
)


@dataclass(frozen=True, slots=True)
class Parking:
    """An event that cannot be done now, why, and after how many seconds to look again."""

    body: bytes
    reason: str
    error: str | None = None
    event: Received | None = None
    attempts: int = 0
    wait: float | None = None

    @property
    def id(self) -> UUID:
        """The event's, or where that cannot be read one made of the bytes."""
        if self.event is not None:
            return self.event.id
        return UUID(bytes=hashlib.sha256(self.body).digest()[:16])


class Consumer:
    """One subscription at work.

    Args:
        service: the service's name.
        subscription: what it listens to and does.
        outbox: writes the events that the use case tells.
        telemetry: spans and counters.
    """

    def __init__(
        self,
        service: str,
        subscription: Subscription,
        outbox: Outbox,
        telemetry: Telemetry,
    ) -> None:
        self.subscription = subscription
        self.queue = Queue(
            service, subscription.purpose, subscription.patterns, subscription.patience
        )
        self.name = subscription.purpose
        self.newest: datetime | None = None
        """When the newest event was made that was taken since the start."""
        self._outbox = outbox
        self._telemetry = telemetry

    async def take(self, bodies: Sequence[bytes]) -> None:
        """Take a batch from the transport; returns when each of its events is done or parked.

        Raises:
            Exception: only where nothing could be written, such as while the database is away.
        """
        events: list[Received] = []
        parkings: list[Parking] = []
        for body in bodies:
            try:
                events.append(decode(body))
            except MalformedEvent as error:
                log.error("undecodable event parked", queue=self.queue.name, error=str(error))
                parkings.append(Parking(body, "undecodable", str(error)))
        await self.apply(events, parkings)
        times = [moment_of(event.id) for event in events]
        self.newest = max(filter(None, (self.newest, *times)), default=None)

    async def apply(self, events: Sequence[Received], parkings: Sequence[Parking] = ()) -> None:
        """Apply events in one transaction, or else one by one, parking those that fail."""
        try:
            await self._transact(events, parkings)
            return
        except Exception as error:
            if database_is_away(error):
                raise
            log.info(
                "batch fails, taken one by one",
                queue=self.queue.name,
                events=len(events),
                error=describe(error),
            )
        if parkings:
            await self._transact((), parkings)
        for event in events:
            await self._apply_one(event)

    async def _apply_one(self, event: Received) -> None:
        """Apply an event without those parked behind it: their failure is not its own."""
        failure: Exception | None = None
        for _ in range(QUICK_TRIES):
            try:
                await self._transact([event], (), follow=False)
                return
            except Exception as error:
                if database_is_away(error):
                    raise
                failure = error
        reason = describe(failure)
        log.error(
            "event parked",
            queue=self.queue.name,
            type=event.type,
            id=str(event.id),
            error=reason,
        )
        parking = Parking(
            event.body,
            "failed",
            reason,
            event,
            attempts=QUICK_TRIES,
            wait=FIRST_LOOK_SECONDS,
        )
        await self._transact((), [parking])

    async def _transact(
        self,
        events: Sequence[Received],
        parkings: Sequence[Parking],
        *,
        follow: bool = True,
    ) -> None:
        for left in reversed(range(QUICK_TRIES)):
            try:
                await self._transact_once(events, list(parkings), follow=follow)
                return
            except Exception as error:
                if not left or not rolled_back(error):
                    raise

    async def _transact_once(
        self, events: Sequence[Received], parkings: list[Parking], *, follow: bool
    ) -> None:
        with self._telemetry.batch(self.queue.name, events):
            async with self._outbox.transaction() as unit:
                fresh = await self._fresh_alone(unit, events)
                ordered, lasts = await self._next_in_streams(unit, events, parkings, follow=follow)
                due = [*fresh, *ordered]
                known = [event for event in due if event.event is not None]
                if known:
                    await self.subscription.apply(unit, known)
                if lasts:
                    moved = {"streams": list(lasts), "lasts": list(lasts.values())}
                    await unit.connection.execute(_MOVE_POSITIONS, self._own(moved))
                if parkings:
                    await self._park(unit, parkings)
        self._telemetry.consumed(self.queue.name, len(due), len(parkings))

    async def _fresh_alone(self, unit: Unit, events: Sequence[Received]) -> list[Received]:
        """Of the events that stand on their own, those not done before."""
        alone = {event.id: event for event in events if event.stream is None}
        if not alone:
            return []
        found = await unit.connection.execute(_NEW_TO_INBOX, self._own({"ids": list(alone)}))
        fresh = set(found.scalars())
        return [event for id_, event in alone.items() if id_ in fresh]

    async def _next_in_streams(
        self,
        unit: Unit,
        events: Sequence[Received],
        parkings: list[Parking],
        *,
        follow: bool,
    ) -> tuple[list[Received], dict[str, int]]:
        """Of the ordered events those whose turn it is, with the parked ones that follow them.

        Early ones are added to ``parkings``; the second value holds the new positions.
        """
        streams = sorted({event.stream for event in events if event.stream is not None})
        if not streams:
            return [], {}
        keys = self._own({"streams": streams})
        rows = await unit.connection.execute(_LOCK_POSITIONS, keys)
        last: dict[str, int] = {row.stream: row.last for row in rows}
        before = dict(last)
        waiting: dict[tuple[str, int], bytes] = {}
        if follow:
            parked = await unit.connection.execute(_PARKED_NEXT, {**keys, "most": FOLLOWERS})
            waiting = {(row.stream, row.sequence): row.body for row in parked}
        due: list[Received] = []
        early: dict[tuple[str, int], Received] = {}
        for event in events:
            if event.stream is None or event.sequence is None:
                continue
            if event.sequence > last[event.stream] + 1:
                early[event.stream, event.sequence] = event
                continue
            if event.sequence == last[event.stream] + 1:
                due.append(event)
                last[event.stream] += 1
            while successor := _successor(event.stream, last[event.stream] + 1, early, waiting):
                due.append(successor)
                last[event.stream] += 1
        parkings.extend(
            Parking(event.body, "early", None, event, wait=FIRST_LOOK_SECONDS)
            for place, event in early.items()
            if place not in waiting
        )
        return due, {stream: last[stream] for stream in streams if last[stream] > before[stream]}

    async def _park(self, unit: Unit, parkings: Sequence[Parking]) -> None:
        rows = list({parking.id: parking for parking in parkings}.values())
        columns: dict[str, Any] = {
            "streams": [row.event.stream if row.event else None for row in rows],
            "sequences": [row.event.sequence if row.event else None for row in rows],
            "ids": [row.id for row in rows],
            "types": [row.event.type if row.event else None for row in rows],
            "bodies": [row.body for row in rows],
            "reasons": [row.reason for row in rows],
            "errors": [row.error for row in rows],
            "attempts": [row.attempts for row in rows],
            "waits": [row.wait for row in rows],
        }
        await unit.connection.execute(_PARK, self._own(columns))

    def _own(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"consumer": self.name, **values}


def _successor(
    stream: str,
    sequence: int,
    early: dict[tuple[str, int], Received],
    waiting: dict[tuple[str, int], bytes],
) -> Received | None:
    """The next event of a stream, if it came in this batch ahead of its turn or is parked."""
    arrived = early.pop((stream, sequence), None)
    if arrived is not None:
        return arrived
    parked = waiting.get((stream, sequence))
    return decode(parked) if parked is not None else None
