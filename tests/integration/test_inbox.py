"""The consumer's side: every event takes effect once, in the order of its stream, or waits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from common import inbox, parking
from common.database import Database, DatabaseAway, database_is_away
from common.envelope import Received, decode
from common.identifiers import new_id
from common.inbox import Consumer, Subscription
from common.outbox import Outbox, Unit
from common.parking import Recovery
from common.transport.base import Message, Queue
from common.transport.rabbitmq import RabbitTransport
from tests.support.databases import Databases
from tests.support.messaging import (
    Effect,
    Opened,
    address,
    alone,
    effects,
    envelope,
    noting,
    ordered,
    rows,
    run_sql,
    telemetry,
    until,
)


@pytest.fixture
async def opened(databases: Databases) -> AsyncIterator[Opened]:
    made = Opened(databases)
    yield made
    await made.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is parked may be looked at again at once."""
    monkeypatch.setattr(inbox, "FIRST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(parking, "FIRST_LOOK_SECONDS", 0.0)


def consumer_of(
    database: Database, apply: Effect, *, purpose: str = "agencies", batch: int = 200
) -> Consumer:
    subscription = Subscription(purpose, ("#",), apply, batch)
    return Consumer("reader", subscription, Outbox(database, "reader"), telemetry())


def stream_of(count: int, aggregate: str = "a") -> list[bytes]:
    return [envelope(ordered(version=number), aggregate, number) for number in range(1, count + 1)]


class NoHistory:
    """Producers that have nothing to tell."""

    async def events(
        self, producer: str, epoch: int, aggregate: str, first: int, last: int
    ) -> list[bytes]:
        return []

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        return []


async def parked(database: Database, consumer: str = "agencies") -> list[tuple[Any, ...]]:
    return await rows(
        database,
        "SELECT reason, stream, sequence FROM parked WHERE consumer = :consumer "
        "ORDER BY stream, sequence, id",
        consumer=consumer,
    )


async def test_an_event_takes_effect_once_however_often_it_comes(opened: Opened) -> None:
    database = await opened()
    consumer = consumer_of(database, noting("x"))
    bodies = [*stream_of(3), envelope(alone()), envelope(alone())]
    await consumer.take([*bodies, *bodies])
    await consumer.take(bodies)
    await consumer.take(bodies[1:2])
    told = await effects(database)
    assert told["catalog/1/a"] == [1, 2, 3]
    assert len(told[None]) == 2
    assert await rows(database, "SELECT stream, last FROM position") == [("catalog/1/a", 3)]
    assert await parked(database) == []


async def test_effect_position_and_events_told_are_one_transaction(opened: Opened) -> None:
    database = await opened()
    broken = True

    async def apply(unit: Unit, events: Sequence[Received]) -> None:
        await noting("x")(unit, events)
        for event in events:
            unit.tell(ordered(), aggregate="told", agency="H01", cause=event)
        if broken:
            raise RuntimeError("after everything was written")

    consumer = consumer_of(database, apply)
    await consumer.take([*stream_of(2), envelope(alone())])
    assert await effects(database) == {}
    for table in ("event_log", "outbox", "inbox"):
        assert await rows(database, f"SELECT 1 FROM {table}") == []
    assert await rows(database, "SELECT last FROM position") == [(0,)]
    broken = False
    await consumer.take([*stream_of(2), envelope(alone())])
    assert (await effects(database))["catalog/1/a"] == [1, 2]
    assert len(await rows(database, "SELECT 1 FROM outbox")) == 3


async def test_one_poison_event_spoils_nothing_else_of_its_batch(opened: Opened) -> None:
    database = await opened()
    poison = envelope(ordered("POISON"), "b", 1)
    batch = [*stream_of(2), poison, envelope(ordered(), "b", 2), *stream_of(2, "c")]

    def trouble(event: Received) -> None:
        if event.event == ordered("POISON"):
            raise ValueError("Nguyễn Văn A, 012345678901")

    await consumer_of(database, noting("x", trouble)).take([*batch, envelope(alone())])
    told = await effects(database)
    assert told.pop(None) == [None]
    assert told == {"catalog/1/a": [1, 2], "catalog/1/c": [1, 2]}
    assert await parked(database) == [
        ("failed", "catalog/1/b", 1),
        ("early", "catalog/1/b", 2),
    ]
    ((body, error, attempts),) = await rows(
        database, "SELECT body, error, attempts FROM parked WHERE reason = 'failed'"
    )
    assert body == poison
    assert attempts == inbox.QUICK_TRIES
    assert str(error).startswith("ValueError at tests.integration.test_inbox.")
    assert "Nguyễn" not in str(error)


async def test_a_failure_that_passes_is_tried_again_at_once(opened: Opened) -> None:
    database = await opened()
    failures = inbox.QUICK_TRIES

    def trouble(_: Received) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError

    await consumer_of(database, noting("x", trouble)).take(stream_of(1))
    assert await effects(database) == {"catalog/1/a": [1]}
    assert await parked(database) == []


@pytest.mark.parametrize("error", [TimeoutError, FileNotFoundError, ConnectionResetError])
async def test_trouble_of_the_use_case_is_not_taken_for_a_database_that_is_away(
    opened: Opened, error: type[OSError]
) -> None:
    database = await opened()

    def trouble(event: Received) -> None:
        if event.sequence == 1:
            raise error

    await consumer_of(database, noting("x", trouble)).take([*stream_of(1), envelope(alone())])
    assert await parked(database) == [("failed", "catalog/1/a", 1)]
    assert await effects(database) == {None: [None]}


async def test_a_deadlock_is_no_failure_of_the_event(opened: Opened) -> None:
    database = await opened()
    calls: list[int] = []

    async def apply(unit: Unit, events: Sequence[Received]) -> None:
        calls.append(len(events))
        if len(calls) == 1:
            await unit.connection.exec_driver_sql(
                "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"
            )
        await noting("x")(unit, events)

    await consumer_of(database, apply).take(stream_of(3))
    assert calls == [3, 3]
    assert await effects(database) == {"catalog/1/a": [1, 2, 3]}


async def test_a_type_that_is_not_known_moves_the_position_and_does_nothing(
    opened: Opened,
) -> None:
    database = await opened()
    newer = orjson.loads(envelope(ordered(), "a", 2))
    newer["type"] = "vn.gov.dvc.catalog.agency-merged.v9"
    first, _, third = stream_of(3)
    await consumer_of(database, noting("x")).take([first, orjson.dumps(newer), third])
    assert await effects(database) == {"catalog/1/a": [1, 3]}
    assert await rows(database, "SELECT last FROM position") == [(3,)]


async def test_what_cannot_be_read_is_kept_as_it_came_and_once(opened: Opened) -> None:
    database = await opened()
    consumer = consumer_of(database, noting("x"))
    broken = orjson.loads(envelope(ordered(), "b", 1))
    del broken["data"]["name"]
    unreadable = [b"\xff\x00not json", b"", orjson.dumps(broken)]
    await consumer.take([unreadable[0], *stream_of(1), *unreadable, *stream_of(2)])
    await consumer.take(unreadable)
    assert await effects(database) == {"catalog/1/a": [1, 2]}
    kept = await rows(database, "SELECT body, reason, next_at FROM parked")
    assert sorted(bytes(body) for body, *_ in kept) == sorted(unreadable)  # type: ignore[call-overload]
    assert {(reason, next_at) for _, reason, next_at in kept} == {("undecodable", None)}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_odd = st.one_of(
    _json,
    st.sampled_from(
        ["\0", "a" * 3000, "đ" * 190, "-1", str(2**63), str(2**31), "1", 1, True, " 1 ", "٣"]
    ),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    changes=st.dictionaries(
        st.sampled_from(
            [
                *("id", "source", "type", "subject", "time", "sequence", "epoch", "data"),
                *("partitionkey", "traceparent", "correlationid", "specversion"),
            ]
        ),
        _odd,
        min_size=1,
        max_size=3,
    ),
    raw=st.binary(max_size=20),
)
async def test_whatever_comes_is_done_or_parked_and_never_comes_again(
    reading: Consumer, changes: dict[str, Any], raw: bytes
) -> None:
    members = orjson.loads(envelope(ordered(), str(new_id()), 1)) | changes
    try:
        odd = orjson.dumps(members)
    except (TypeError, orjson.JSONEncodeError):
        odd = repr(members).encode()
    await reading.take([raw, odd])


@pytest.fixture
async def reading(opened: Opened) -> Consumer:
    return consumer_of(await opened(), noting("x"))


async def test_events_that_came_early_wait_for_their_forerunners(opened: Opened) -> None:
    database = await opened()
    consumer = consumer_of(database, noting("x"))
    one, two, three, four, five = stream_of(5)
    await consumer.take([five, three])
    await consumer.take([three])
    assert await effects(database) == {}
    assert len(await parked(database)) == 2
    await consumer.take([two, one])
    assert await effects(database) == {"catalog/1/a": [1, 2, 3]}
    await consumer.take([four])
    assert await effects(database) == {"catalog/1/a": [1, 2, 3, 4, 5]}
    assert await parked(database) == []


async def test_only_so_many_parked_successors_are_taken_along_at_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    monkeypatch.setattr(inbox, "FOLLOWERS", 3)
    database = await opened()
    sizes: list[int] = []

    async def apply(unit: Unit, events: Sequence[Received]) -> None:
        sizes.append(len(events))
        await noting("x")(unit, events)

    consumer = consumer_of(database, apply)
    bodies = stream_of(11)
    await consumer.take(bodies[1:])
    await consumer.take(bodies[:1])
    assert sizes == [3]
    await Recovery(consumer, database, NoHistory()).once()
    assert max(sizes) <= 4
    assert await effects(database) == {"catalog/1/a": list(range(1, 12))}


@dataclass
class Plan:
    """What a broker may make of some streams: batches for one or two replicas of a service.

    Attributes:
        batches: (replica, [(stream, number)]); stream None is an event that stands on its own.
        failures: how often the use case fails for an event; -1 until it is healed.
    """

    batches: list[tuple[int, list[tuple[str | None, int]]]]
    failures: dict[tuple[str | None, int], int] = field(default_factory=dict)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names: list[str | None] = [*"ab"[: draw(st.integers(1, 2))], None]
    events = [(name, number) for name in names for number in range(1, draw(st.integers(2, 6)))]
    firsts = [event for event in events if event[1] == 1]
    # In any order, some more than once, some not at all.
    arriving = draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=6))))
    arriving = list(arriving)[: draw(st.integers(1, len(arriving)))]
    batches: list[tuple[int, list[tuple[str | None, int]]]] = []
    while arriving:
        size = draw(st.integers(1, 5))
        batches.append((draw(st.integers(0, 1)), arriving[:size]))
        arriving = arriving[size:]
    failures = draw(
        st.dictionaries(
            st.sampled_from(firsts) | st.sampled_from(events),
            st.sampled_from([1, 5, 9, -1]),
            max_size=3,
        )
    )
    return Plan(batches, failures)


class Rehearsal:
    """Plays a plan, and knows what must have come of it."""

    def __init__(self, plan: Plan, databases: Sequence[Database]) -> None:
        self.plan = plan
        self.name = str(new_id())
        self.failures = Counter(plan.failures)
        places = {place for _, batch in plan.batches for place in batch} | set(plan.failures)
        self.last = {
            stream: max((n for s, n in places if s == stream), default=0) for stream, _ in places
        }
        self.bodies: dict[tuple[str | None, int], bytes] = {}
        self.places: dict[UUID, tuple[str | None, int]] = {}
        for stream, last in self.last.items():
            for number in range(1, last + 1):
                event = ordered(version=number) if stream else alone()
                body = envelope(event, f"{self.name}-{stream}", number if stream else None)
                self.bodies[stream, number] = body
                self.places[decode(body).id] = (stream, number)
        apply = noting(self.name, self._trouble)
        self.database = databases[0]
        self.consumers = [consumer_of(one, apply, purpose=self.name) for one in databases]
        self.recoveries = [
            Recovery(consumer, one, self)
            for consumer, one in zip(self.consumers, databases, strict=True)
        ]

    def _trouble(self, event: Received) -> None:
        left = self.failures[self.places[event.id]]
        if left:
            self.failures[self.places[event.id]] -= left > 0
            raise RuntimeError("told to fail")

    async def events(
        self, producer: str, epoch: int, aggregate: str, first: int, last: int
    ) -> list[bytes]:
        stream = aggregate.rpartition("-")[2]
        return [self.bodies[stream, number] for number in range(first, last + 1)]

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        raise NotImplementedError

    async def play(self) -> None:
        async def replica(number: int) -> None:
            for wanted, batch in self.plan.batches:
                if wanted == number:
                    await self.consumers[number].take([self.bodies[place] for place in batch])

        await asyncio.gather(replica(0), replica(1))

    async def recover(self) -> None:
        for _ in range(40):
            busy = await asyncio.gather(*(recovery.once() for recovery in self.recoveries))
            stuck = await rows(
                self.database,
                "SELECT 1 FROM parked WHERE consumer = :consumer AND reason = 'early'",
                consumer=self.name,
            )
            if not any(busy) and not stuck:
                return

    def arrived(self) -> dict[str | None, int]:
        """The highest number of each stream that a broker handed over."""
        seen = {place for _, batch in self.plan.batches for place in batch}
        return {s: max((n for t, n in seen if t == s), default=0) for s in self.last}

    def expected(self) -> dict[str | None, list[int]]:
        """Numbers in their order up to the first that fails for good."""
        told = {}
        for stream, last in self.arrived().items():
            if stream is not None:
                bad = [n for (s, n), left in self.failures.items() if s == stream and left < 0]
                told[stream] = list(range(1, min([last + 1, *bad])))
        return {stream: numbers for stream, numbers in told.items() if numbers}

    def expected_alone(self) -> set[int]:
        seen = {n for _, batch in self.plan.batches for s, n in batch if s is None}
        return {n for n in seen if self.failures[None, n] >= 0}

    async def check(self) -> None:
        found = await rows(
            self.database,
            "SELECT event_id FROM effect WHERE consumer = :consumer ORDER BY number",
            consumer=self.name,
        )
        done: dict[str | None, list[int]] = {}
        for (event_id,) in found:
            stream, number = self.places[event_id]  # type: ignore[index]
            done.setdefault(stream, []).append(number)
        single = done.pop(None, [])
        assert done == self.expected(), self.plan
        assert sorted(single) == sorted(self.expected_alone())
        positions = await rows(
            self.database,
            "SELECT stream, last FROM position WHERE consumer = :consumer AND last > 0",
            consumer=self.name,
        )
        assert dict(positions) == {  # type: ignore[arg-type]
            f"catalog/1/{self.name}-{stream}": numbers[-1] for stream, numbers in done.items()
        }

    async def parked(self) -> set[tuple[str | None, int]]:
        found = await rows(
            self.database,
            "SELECT event_id FROM parked WHERE consumer = :consumer",
            consumer=self.name,
        )
        return {self.places[event_id] for (event_id,) in found}  # type: ignore[index]


@pytest.fixture
async def replicas(opened: Opened) -> list[Database]:
    first = await opened(pool=4)
    return [first, opened.again(address(first), pool=4)]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=plans())
async def test_any_order_any_repetition_any_trouble_ends_in_each_event_done_once_in_its_turn(
    replicas: list[Database], at_once: None, plan: Plan
) -> None:
    rehearsal = Rehearsal(plan, replicas)
    await rehearsal.play()
    await rehearsal.recover()
    await rehearsal.check()
    # What is parked is what fails for good, and what stands behind it.
    for stream, number in await rehearsal.parked():
        bad = [n for (s, n), left in rehearsal.failures.items() if s == stream and left < 0]
        assert bad
        assert number >= min(bad) if stream else number in bad
    rehearsal.failures.clear()  # healed
    await rehearsal.recover()
    await rehearsal.check()
    assert await rehearsal.parked() == set()


async def test_two_replicas_of_a_service_share_a_queue(
    opened: Opened, amqp_url: str, at_once: None
) -> None:
    first = await opened()
    second = opened.again(address(first))
    queue = Queue("reader", "agencies", ("catalog.#",))
    transports, recoveries = [], []
    for database in (first, second):
        consumer = consumer_of(database, noting("x"), batch=15)
        transport = RabbitTransport(SecretStr(amqp_url), "reader")
        transport.consume(queue, consumer.take, check=database.check, batch=15)
        transports.append(transport)
        recoveries.append(asyncio.create_task(Recovery(consumer, database, NoHistory()).run()))
    await asyncio.sleep(0.7)
    sender = RabbitTransport(SecretStr(amqp_url), "catalog")
    window = [
        Message("catalog.x", "1", envelope(ordered(), f"d{stream}", number))
        for number in range(1, 31)
        for stream in range(20)
    ]
    for start in range(0, len(window), 100):
        assert all(await sender.publish(window[start : start + 100]))

    async def done() -> bool:
        return await rows(first, "SELECT count(*) FROM effect") == [(600,)]

    await until(done, seconds=30)
    assert await effects(first) == {f"catalog/1/d{n}": list(range(1, 31)) for n in range(20)}
    assert await parked(first) == []
    for task in recoveries:
        task.cancel()
    await asyncio.gather(*recoveries, return_exceptions=True)
    for transport in (*transports, sender):
        await transport.close()


@asynccontextmanager
async def away(postgres: str, database: Database) -> AsyncIterator[None]:
    """The database takes no connections, and those it had are gone."""
    server = await asyncpg.connect(postgres)
    name = database.engine.url.database
    try:
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
    finally:
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await server.close()


async def test_while_the_database_is_away_a_consumer_waits_and_then_goes_on(
    opened: Opened, amqp_url: str, postgres: str
) -> None:
    database = await opened()
    taken = 0
    consumer = consumer_of(database, noting("x"), batch=10)

    async def take(bodies: Sequence[bytes]) -> None:
        nonlocal taken
        taken += 1
        await consumer.take(bodies)

    transport = RabbitTransport(SecretStr(amqp_url), "reader")
    transport.consume(consumer.queue, take, check=database.check, batch=10)
    await asyncio.sleep(0.5)
    bodies = stream_of(60)

    async def publish(some: Sequence[bytes]) -> None:
        assert all(await transport.publish([Message("x", str(new_id()), body) for body in some]))

    async def done(count: int) -> bool:
        return await rows(database, "SELECT count(*) FROM effect") == [(count,)]

    await publish(bodies[:20])
    await until(lambda: done(20))
    async with away(postgres, database):
        before = taken
        await publish(bodies[20:40])
        await asyncio.sleep(1.5)
        with pytest.raises(DatabaseAway):
            await database.check()
        assert taken - before <= 2  # then it asks the database, and leaves the queue alone
        await publish(bodies[40:])
    await until(lambda: done(60), seconds=20)
    assert await effects(database) == {"catalog/1/a": list(range(1, 61))}
    assert await parked(database) == []
    await transport.close()


async def test_a_batch_that_cannot_be_written_is_not_taken(opened: Opened, postgres: str) -> None:
    database = await opened()
    consumer = consumer_of(database, noting("x"))
    async with away(postgres, database):
        with pytest.raises(DatabaseAway):
            await consumer.take([*stream_of(3), b"undecodable"])
    await consumer.take([*stream_of(3), b"undecodable"])
    assert await effects(database) == {"catalog/1/a": [1, 2, 3]}
    assert len(await parked(database)) == 1


async def test_a_batch_that_loses_its_connection_in_the_middle_is_not_half_done(
    opened: Opened,
) -> None:
    database = await opened()
    cut = True

    async def apply(unit: Unit, events: Sequence[Received]) -> None:
        nonlocal cut
        await noting("x")(unit, events)
        if cut:
            cut = False
            await run_sql(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = "
                "'idle in transaction' AND datname = current_database() AND pid <> "
                "pg_backend_pid()",
            )
            await unit.connection.exec_driver_sql("SELECT 1")

    consumer = consumer_of(database, apply)
    with pytest.raises(Exception) as lost:  # noqa: PT011 - which one is the driver's affair
        await consumer.take(stream_of(3))
    assert database_is_away(lost.value)
    await consumer.take(stream_of(3))
    assert await effects(database) == {"catalog/1/a": [1, 2, 3]}
