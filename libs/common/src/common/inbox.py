"""The consumer's side: every event takes effect once, in the order of its stream.

For an ordered stream the position row is the dedupe: an event at or below it was done, the next
one is done now, one beyond it is parked until the gap is closed. Events that stand on their own
are told apart by their id. Either row changes in the transaction of the effect, together with the
events that the effect tells. A batch is one transaction; a batch that fails is taken event by
event, so that one poison event spoils nothing else: it is parked, and later events of its stream
wait behind it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import text

from common.database import database_is_away
from common.envelope import MalformedEvent, Received, decode
from common.errors import describe
from common.outbox import Outbox, Unit
from common.telemetry import Telemetry
from common.transport.base import Queue

BATCH = 200
QUICK_TRIES = 3
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
    """

    purpose: str
    patterns: tuple[str, ...]
    apply: Apply
    batch: int = BATCH


_POSITIONS = text(
    """
    INSERT INTO position (consumer, stream, last)
    SELECT :consumer, stream, 0 FROM unnest(CAST(:streams AS text[])) AS s (stream)
    ORDER BY stream ON CONFLICT DO NOTHING
    """
)
_LOCK_POSITIONS = text(
    """
    SELECT stream, last FROM position
    WHERE consumer = :consumer AND stream = ANY(CAST(:streams AS text[]))
    ORDER BY stream FOR UPDATE
    """
)
_MOVE_POSITIONS = text(
    """
    UPDATE position SET last = moved.last
    FROM unnest(CAST(:streams AS text[]), CAST(:lasts AS bigint[])) AS moved (stream, last)
    WHERE position.consumer = :consumer AND position.stream = moved.stream
    """
)
_PARKED_OF = text(
    """
    SELECT stream, sequence, body FROM parked
    WHERE consumer = :consumer AND stream = ANY(CAST(:streams AS text[])) AND reason = 'early'
    ORDER BY stream, sequence
    """
)
_UNPARK = text(
    """
    DELETE FROM parked USING unnest(CAST(:streams AS text[]), CAST(:lasts AS bigint[]))
        AS done (stream, last)
    WHERE parked.consumer = :consumer AND parked.stream = done.stream
      AND parked.sequence <= done.last
    """
)
_NEW_TO_INBOX = text(
    """
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
    ON CONFLICT DO NOTHING
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
        self.queue = Queue(service, subscription.purpose, subscription.patterns)
        self.name = subscription.purpose
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

    async def apply(self, events: Sequence[Received], parkings: Sequence[Parking] = ()) -> None:
        """Apply events in one transaction, or else one by one, parking those that fail."""
        try:
            await self._transact(events, parkings)
            return
        except Exception as error:
            if database_is_away(error):
                raise
            if len(events) == 1 and not parkings:
                log.info("event fails", queue=self.queue.name, error=repr(error))
            else:
                log.info(
                    "batch fails, taken one by one",
                    queue=self.queue.name,
                    error=repr(error),
                )
        if parkings:
            await self._transact((), parkings)
        for event in events:
            await self._apply_one(event)

    async def _apply_one(self, event: Received) -> None:
        failure: Exception | None = None
        for _ in range(QUICK_TRIES):
            try:
                await self.apply_alone(event)
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

    async def apply_alone(self, event: Received) -> None:
        """Apply one event, without those parked behind it: their failure is not its own."""
        await self._transact([event], (), follow=False)

    async def _transact(
        self,
        events: Sequence[Received],
        parkings: Sequence[Parking],
        *,
        follow: bool = True,
    ) -> None:
        parkings = list(parkings)
        with self._telemetry.batch(self.queue.name, events):
            async with self._outbox.transaction() as unit:
                fresh = await self._fresh_alone(unit, events)
                ordered, lasts = await self._next_in_streams(unit, events, parkings, follow=follow)
                due = [*fresh, *ordered]
                known = [event for event in due if event.event is not None]
                if known:
                    await self.subscription.apply(unit, known)
                if lasts:
                    moved = {
                        "consumer": self.name,
                        "streams": list(lasts),
                        "lasts": list(lasts.values()),
                    }
                    await unit.connection.execute(_MOVE_POSITIONS, moved)
                    await unit.connection.execute(_UNPARK, moved)
                if parkings:
                    await self._park(unit, parkings)
        self._telemetry.consumed(self.queue.name, len(due), len(parkings))

    async def _fresh_alone(self, unit: Unit, events: Sequence[Received]) -> list[Received]:
        """Of the events that stand on their own, those not done before."""
        alone = {event.id: event for event in events if event.stream is None}
        if not alone:
            return []
        found = await unit.connection.execute(
            _NEW_TO_INBOX, {"consumer": self.name, "ids": list(alone)}
        )
        fresh = set(found.scalars())
        await unit.connection.execute(
            text(
                "DELETE FROM parked WHERE consumer = :consumer AND stream IS NULL "
                "AND event_id = ANY(CAST(:ids AS uuid[]))"
            ),
            {"consumer": self.name, "ids": list(alone)},
        )
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
        keys = {"consumer": self.name, "streams": streams}
        await unit.connection.execute(_POSITIONS, keys)
        rows = await unit.connection.execute(_LOCK_POSITIONS, keys)
        last: dict[str, int] = {row.stream: row.last for row in rows}
        before = dict(last)
        waiting: dict[tuple[str, int], bytes] = {}
        if follow:
            parked = await unit.connection.execute(_PARKED_OF, keys)
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
        columns: dict[str, Any] = {
            "consumer": self.name,
            "streams": [p.event.stream if p.event else None for p in parkings],
            "sequences": [p.event.sequence if p.event else None for p in parkings],
            "ids": [p.event.id if p.event else None for p in parkings],
            "types": [p.event.type if p.event else None for p in parkings],
            "bodies": [p.body for p in parkings],
            "reasons": [p.reason for p in parkings],
            "errors": [p.error for p in parkings],
            "attempts": [p.attempts for p in parkings],
            "waits": [p.wait for p in parkings],
        }
        await unit.connection.execute(_PARK, columns)


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
