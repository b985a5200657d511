"""Durable calls to partners: a row for each item until the partner is known to have it.

A use case queues items in its own transaction; workers claim them in batches, call the partner
outside of any transaction and settle the outcome. What became of a call whose answer never came,
or whose worker died in the middle, is *unknown*: it is asked about where the partner can be
asked, and otherwise sent again under the same key and marked as maybe doubled.

Items of one subject (a dossier) go out in the order in which they were queued. Agencies take
turns, so that one agency's backlog does not hold up another's. An open breaker or a partner that
asks for patience stops the claiming and costs no attempt.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database, database_is_away
from common.errors import describe
from common.identifiers import new_id
from common.telemetry import Telemetry

log = structlog.get_logger()

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 3600.0
HEARTBEAT_SECONDS, LEASE_SECONDS = 2.0, 10.0
_AGENCIES_AT_ONCE = 20
_IDLE_LEAST, _IDLE_MOST = 0.05, 1.0


class Ability(StrEnum):
    """What a partner can confirm about an item afterwards."""

    LOOK_UP = "look-up"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Item:
    """Something to deliver.

    Attributes:
        agency: whose item it is, for fairness.
        subject: items of one subject keep their order.
        kind: what it is, in the adapter's words.
        key: its natural key at the partner; queued again under the same kind and key, a newer
            version takes the place of the older one.
    """

    agency: str
    subject: str
    kind: str
    key: str
    body: bytes
    version: int = 1
    traceparent: str | None = None
    lane: str = "live"


@dataclass(frozen=True, slots=True)
class Claimed:
    """An item that this worker is delivering."""

    id: int
    agency: str
    subject: str
    kind: str
    key: str
    version: int
    body: bytes
    traceparent: str | None
    attempts: int
    asking: bool
    """Its last call had an unknown outcome."""
    asked_version: int | None
    """The version that was sent then."""
    maybe_doubled: bool


class Result(StrEnum):
    """What became of an item."""

    DONE = "done"
    RETRY = "retry"
    """Certainly not done."""
    UNKNOWN = "unknown"
    """Perhaps done: the call was sent and not (understandably) answered."""
    NOT_THERE = "not-there"
    """Asked about, and the partner does not have it: send it."""
    REFUSED = "refused"
    """The partner will never take it like this: held for an operator."""
    WHOLE = "whole"
    """The call was refused as a whole, perhaps because of another item: send in halves."""
    AGAIN = "again"
    """Not done and to be sent again at once in another form (the adapter has noted which)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one item.

    Attributes:
        reason: for operators; no personal data.
        pause: seconds for which the partner asked not to be called (``Retry-After``).
        partner_down: counts for the breaker: the partner as such, not this item, failed.
    """

    result: Result
    reason: str | None = None
    pause: float | None = None
    partner_down: bool = False


class Partner(Protocol):
    """An adapter: how one partner is called. It never raises; every item gets an outcome."""

    name: str
    batch: int
    """How many items one call takes."""
    parallel: int
    """How many calls may run at the same time."""

    def ability(self, kind: str) -> Ability:
        """What the partner can confirm for this kind of item."""

    def group(self, item: Claimed) -> Hashable:
        """Items with equal groups may share a call."""

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """One call with items of one group."""

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """Ask what became of items (DONE, NOT_THERE, or UNKNOWN still)."""

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        """Note outcomes in the service's own tables, in the transaction that settles them."""


_QUEUE = text(
    """
    WITH added AS (
        SELECT * FROM unnest(CAST(:agencies AS text[]), CAST(:subjects AS text[]),
            CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:versions AS bigint[]),
            CAST(:bodies AS bytea[]), CAST(:traces AS text[]), CAST(:lanes AS text[]))
            WITH ORDINALITY AS given
            (agency, subject, kind, key, version, body, traceparent, lane, place)
    ), known AS (
        INSERT INTO delivery_agency (partner, lane, agency)
        SELECT DISTINCT :partner, lane, agency FROM added
        ORDER BY 2, 3 ON CONFLICT DO NOTHING
    )
    INSERT INTO delivery AS d (partner, lane, agency, subject, kind, key, version, body, traceparent)
    SELECT :partner, lane, agency, subject, kind, key, version, body, traceparent
    FROM added ORDER BY place
    ON CONFLICT (partner, kind, key) DO UPDATE
        SET version = excluded.version, body = excluded.body, traceparent = excluded.traceparent,
            state = CASE d.state WHEN 'held' THEN 'due' ELSE d.state END,
            next_at = CASE d.state WHEN 'held' THEN now() ELSE d.next_at END
        WHERE d.version < excluded.version
    """
)


async def queue(connection: AsyncConnection, partner: str, items: Sequence[Item]) -> None:
    """Queue items in the caller's transaction.

    An older version that still waits is replaced in its place. Of several items with one kind and
    key only the last is taken, in the place of the first.
    """
    latest: dict[tuple[str, str], Item] = {}
    for item in items:
        latest[item.kind, item.key] = item
    if not latest:
        return
    rows = list(latest.values())
    await connection.execute(
        _QUEUE,
        {
            "partner": partner,
            "agencies": [item.agency for item in rows],
            "subjects": [item.subject for item in rows],
            "kinds": [item.kind for item in rows],
            "keys": [item.key for item in rows],
            "versions": [item.version for item in rows],
            "bodies": [item.body for item in rows],
            "traces": [item.traceparent for item in rows],
            "lanes": [item.lane for item in rows],
        },
    )


_TURNS = text(
    """
    SELECT lane, agency FROM delivery_agency
    WHERE partner = :partner AND EXISTS (
        SELECT FROM delivery d WHERE d.partner = :partner AND d.lane = delivery_agency.lane
        AND d.agency = delivery_agency.agency AND d.state IN ('due', 'unknown')
        AND d.next_at <= now())
    ORDER BY served_at LIMIT :agencies FOR UPDATE SKIP LOCKED
    """
)
# The lock on the agency's row makes claiming its items one worker's business at a time. An item is
# ready when all before it of the same subject are ready too and of its kind: they share the call.
_CLAIM = text(
    """
    WITH turns AS (
        SELECT * FROM unnest(CAST(:lanes AS text[]), CAST(:agencies AS text[])) AS t (lane, agency)
    ), served AS (
        UPDATE delivery_agency SET served_at = clock_timestamp() FROM turns
        WHERE delivery_agency.partner = :partner AND delivery_agency.lane = turns.lane
          AND delivery_agency.agency = turns.agency
    ), ready AS (
        SELECT chosen.* FROM turns CROSS JOIN LATERAL (
            SELECT d.id, d.state, d.sent_version FROM delivery d
            WHERE d.partner = :partner AND d.lane = turns.lane AND d.agency = turns.agency
              AND d.state IN ('due', 'unknown') AND d.next_at <= now()
              AND NOT EXISTS (
                SELECT FROM delivery before
                WHERE before.partner = :partner AND before.subject = d.subject
                  AND before.id < d.id
                  AND (before.kind <> d.kind OR before.state <> d.state OR before.next_at > now()))
            ORDER BY d.id LIMIT :share FOR UPDATE SKIP LOCKED) AS chosen
    )
    UPDATE delivery SET state = 'sending', worker = :worker, sent_version = version,
        attempts = attempts + 1
    FROM ready WHERE delivery.id = ready.id
    RETURNING delivery.id, agency, subject, kind, key, version, body, traceparent, attempts,
        ready.state = 'unknown' AS asking, ready.sent_version AS asked_version, maybe_doubled
    """
)
_SETTLE = text(
    """
    WITH settled AS (
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:states AS text[]),
            CAST(:waits AS float8[]), CAST(:attempts AS integer[]), CAST(:doubled AS boolean[]),
            CAST(:errors AS text[])) AS s (id, state, wait, attempts, doubled, error)
    ), gone AS (
        DELETE FROM delivery USING settled
        WHERE delivery.id = settled.id AND delivery.worker = :worker AND settled.state = 'done'
          AND delivery.state = 'sending' AND delivery.version = delivery.sent_version
        RETURNING delivery.id
    )
    UPDATE delivery SET
        state = CASE WHEN settled.state = 'done' THEN 'due' ELSE settled.state END,
        next_at = now() + make_interval(secs => settled.wait),
        attempts = settled.attempts, error = settled.error, worker = NULL,
        maybe_doubled = delivery.maybe_doubled OR settled.doubled
    FROM settled
    WHERE delivery.id = settled.id AND delivery.worker = :worker AND delivery.state = 'sending'
      AND NOT (settled.state = 'done' AND delivery.version = delivery.sent_version)
    """
)
_SEEN = text(
    """
    INSERT INTO delivery_worker (worker) VALUES (:worker)
    ON CONFLICT (worker) DO UPDATE SET seen_at = now()
    """
)
_ORPHANS = text(
    """
    WITH lost AS (
        DELETE FROM delivery_worker
        WHERE seen_at < now() - make_interval(secs => :lease) RETURNING worker
    )
    UPDATE delivery SET state = 'unknown', worker = NULL, next_at = now(),
        error = 'the worker ended in the middle of the call'
    FROM lost WHERE delivery.worker = lost.worker AND delivery.state = 'sending'
    """
)


@dataclass
class Breaker:
    """Opens after failures in a row, lets a single call through after a pause, then closes."""

    failures_to_open: int = 5
    pause_seconds: float = 5.0
    longest_seconds: float = 60.0
    _failures: int = field(default=0, init=False)
    _closed_until: float = field(default=0.0, init=False)

    def wait(self) -> float:
        """Seconds until a call may be tried."""
        return max(0.0, self._closed_until - time.monotonic())

    @property
    def open(self) -> bool:
        """Whether the last calls failed so often that only one at a time is tried."""
        return self._failures >= self.failures_to_open

    def record(self, *, failed: bool) -> None:
        """Count a call."""
        if not failed:
            self._failures = 0
            return
        self._failures += 1
        if self.open:
            times = self._failures - self.failures_to_open
            pause = min(self.pause_seconds * 2 ** min(times, 8), self.longest_seconds)
            self._closed_until = time.monotonic() + pause * random.uniform(0.5, 1)

    def hold(self, seconds: float) -> None:
        """Do as the partner asks: no calls for a while."""
        until = time.monotonic() + min(seconds, LONGEST_WAIT_SECONDS)
        self._closed_until = max(self._closed_until, until)


class Deliverer:
    """Delivers the items of one partner. Any number may run, in any number of processes."""

    def __init__(
        self,
        database: Database,
        partner: Partner,
        telemetry: Telemetry,
        breaker: Breaker,
    ) -> None:
        self._database = database
        self._partner = partner
        self._telemetry = telemetry
        self._breaker = breaker
        self._worker: UUID = new_id()
        self._queued = asyncio.Event()

    def wake(self) -> None:
        """Something was queued by this process."""
        self._queued.set()

    async def run(self) -> None:
        """Work without end."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_alive())
            tasks.create_task(self._deliver())

    async def _stay_alive(self) -> None:
        while True:
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(_SEEN, {"worker": self._worker})
                    lost = await connection.execute(_ORPHANS, {"lease": LEASE_SECONDS})
                if lost.rowcount:
                    log.warning(
                        "calls of a lost worker",
                        partner=self._partner.name,
                        items=lost.rowcount,
                    )
                    self.wake()
            except Exception as error:
                log.warning("no sign of life written", error=repr(error))
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _deliver(self) -> None:
        idle = _IDLE_LEAST
        running: set[asyncio.Task[None]] = set()
        while True:
            if (wait := self._breaker.wait()) > 0:
                await asyncio.sleep(min(wait, 1.0))
                continue
            free = (1 if self._breaker.open else self._partner.parallel) - len(running)
            if free <= 0:
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                continue
            self._queued.clear()
            try:
                calls = self._calls(await self._claim(free))
            except Exception as error:
                log.warning(
                    "delivery interrupted",
                    partner=self._partner.name,
                    error=repr(error),
                )
                await asyncio.sleep(_IDLE_MOST)
                continue
            if calls:
                idle = _IDLE_LEAST
                running |= {asyncio.create_task(call) for call in calls}
                continue
            try:
                async with asyncio.timeout(idle):
                    await self._queued.wait()
            except TimeoutError:
                idle = min(idle * 2, _IDLE_MOST)
            running = {task for task in running if not task.done()}

    async def once(self) -> int:
        """Claim, call and settle once; how many calls there were."""
        calls = self._calls(await self._claim(self._partner.parallel))
        await asyncio.gather(*calls)
        return len(calls)

    def _calls(self, items: Sequence[Claimed]) -> list[Coroutine[None, None, None]]:
        groups: dict[tuple[bool, Hashable], list[Claimed]] = {}
        for item in items:
            ask = item.asking and self._partner.ability(item.kind) is Ability.LOOK_UP
            groups.setdefault((ask, self._partner.group(item)), []).append(item)
        size = self._partner.batch
        return [
            self._call(group[start : start + size], ask=ask)
            for (ask, _), group in groups.items()
            for start in range(0, len(group), size)
        ]

    async def _claim(self, calls: int) -> list[Claimed]:
        most = 1 if self._breaker.open else self._partner.batch * calls
        async with self._database.transaction() as connection:
            turns = (
                await connection.execute(
                    _TURNS,
                    {
                        "partner": self._partner.name,
                        "agencies": min(most, _AGENCIES_AT_ONCE),
                    },
                )
            ).all()
            if not turns:
                return []
            rows = await connection.execute(
                _CLAIM,
                {
                    "partner": self._partner.name,
                    "lanes": [turn.lane for turn in turns],
                    "agencies": [turn.agency for turn in turns],
                    "share": max(1, most // len(turns)),
                    "worker": self._worker,
                },
            )
            claimed = [Claimed(**row._mapping) for row in rows]
        return sorted(claimed, key=lambda item: item.id)

    async def _call(self, items: Sequence[Claimed], *, ask: bool) -> None:
        outcomes: Sequence[Outcome]
        try:
            with self._telemetry.call(
                f"{self._partner.name} {'ask' if ask else 'send'}",
                [item.traceparent for item in items],
            ):
                outcomes = await (self._partner.ask if ask else self._partner.send)(items)
        except Exception as error:
            log.error("adapter failed", partner=self._partner.name, error=describe(error))
            outcomes = [Outcome(Result.UNKNOWN, describe(error))] * len(items)
        self._breaker.record(failed=any(outcome.partner_down for outcome in outcomes))
        if pause := max((outcome.pause or 0 for outcome in outcomes), default=0):
            self._breaker.hold(pause)
        whole = [i for i, o in zip(items, outcomes, strict=True) if o.result is Result.WHOLE]
        if len(whole) > 1:
            half = len(whole) // 2
            await self._call(whole[:half], ask=ask)
            await self._call(whole[half:], ask=ask)
        await self._settle(
            [
                (item, outcome)
                for item, outcome in zip(items, outcomes, strict=True)
                if len(whole) <= 1 or outcome.result is not Result.WHOLE
            ]
        )

    async def _settle(self, outcomes: Sequence[tuple[Claimed, Outcome]]) -> None:
        """Write what became of a call; kept in hand until the database takes it."""
        if not outcomes:
            return
        rows = sorted(_settlement(item, outcome, self._partner) for item, outcome in outcomes)
        columns = dict(
            zip(
                ("ids", "states", "waits", "attempts", "doubled", "errors"),
                (list(column) for column in zip(*rows, strict=True)),
                strict=True,
            )
        )
        while True:
            try:
                async with self._database.transaction() as connection:
                    await connection.execute(_SETTLE, {**columns, "worker": self._worker})
                    await self._partner.settled(connection, outcomes)
                break
            except Exception as error:
                log.warning(
                    "settlement not written",
                    partner=self._partner.name,
                    error=describe(error),
                )
                if not database_is_away(error):
                    raise
                await asyncio.sleep(_IDLE_MOST)
        for result, count in Counter(outcome.result for _, outcome in outcomes).items():
            self._telemetry.called(self._partner.name, result.value, count)


def _settlement(
    item: Claimed, outcome: Outcome, partner: Partner
) -> tuple[int, str, float, int, bool, str | None]:
    """Id, next state, seconds to wait, attempts, maybe doubled from now on, error."""
    free = outcome.pause is not None or outcome.partner_down
    attempts = item.attempts - 1 if free else item.attempts
    wait = outcome.pause if outcome.pause is not None else backoff_seconds(item.attempts)
    match outcome.result:
        case Result.DONE if item.asking and item.asked_version not in (
            None,
            item.version,
        ):
            return item.id, "due", 0.0, 0, False, None  # an older version is there
        case Result.DONE:
            return item.id, "done", 0.0, 0, False, None
        case Result.NOT_THERE | Result.AGAIN:
            return item.id, "due", 0.0, attempts, False, outcome.reason
        case Result.RETRY:
            return item.id, "due", wait, attempts, False, outcome.reason
        case Result.REFUSED | Result.WHOLE:
            return item.id, "held", 0.0, attempts, False, outcome.reason
        case Result.UNKNOWN:
            blind = partner.ability(item.kind) is Ability.NONE
            return item.id, "unknown", wait, attempts, blind, outcome.reason


def backoff_seconds(attempts: int) -> float:
    """Full jitter: quick tries first, an hour at the most."""
    return random.uniform(
        0.5, min(FIRST_WAIT_SECONDS * 2 ** min(attempts, 12), LONGEST_WAIT_SECONDS)
    )
