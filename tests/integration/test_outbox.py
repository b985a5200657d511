"""The outbox: nothing told is lost, nothing untold published, and each stream keeps its order."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from common import outbox as outbox_module
from common.database import Database
from common.envelope import Received, decode
from common.identifiers import new_id
from common.outbox import Outbox, begin_epoch, history, log_page, part_of
from common.transport.base import Message, TransportDown
from common.transport.local import LocalTransport
from tests.support.databases import Databases
from tests.support.messaging import Opened, address, alone, ordered, rows, run_sql, until


@pytest.fixture
async def opened(databases: Databases) -> AsyncIterator[Opened]:
    made = Opened(databases)
    yield made
    await made.close()


class Broker(LocalTransport):
    """Notes what is published; can be down, refuse messages, be slow, and lose the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[Received] = []
        self.windows: list[int] = []
        self.down = False
        self.refuse: set[int] = set()
        self.refused_types: set[str] = set()

    async def ready(self) -> None:
        if self.down:
            raise TransportDown("told to be")

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        await self.ready()
        self.windows.append(len(messages))
        safe = []
        for place, message in enumerate(messages):
            taken = place not in self.refuse and message.routing_key not in self.refused_types
            safe.append(taken)
            if taken:
                self.published.append(decode(message.body))
        await asyncio.sleep(0)
        return safe

    def sequences(self) -> dict[str | None, list[int | None]]:
        told: dict[str | None, list[int | None]] = {}
        for event in self.published:
            told.setdefault(event.stream, []).append(event.sequence)
        return told


async def tell(outbox: Outbox, aggregate: str, count: int = 1) -> None:
    async with outbox.transaction() as unit:
        for version in range(count):
            unit.tell(ordered(version=version), aggregate=aggregate, agency="H01")


async def publish_all(outbox: Outbox, broker: Broker) -> int:
    published = 0
    while now := await outbox.publish_once(broker):
        published += now
    return published


async def test_events_are_numbered_within_their_stream_and_published_once(
    opened: Opened,
) -> None:
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    await tell(outbox, "a", 2)
    async with outbox.transaction() as unit:
        for aggregate in ("b", "a", "c", "b"):
            unit.tell(ordered(aggregate), aggregate=aggregate, agency="H01.7", subject="s")
        unit.tell(alone(), aggregate="a", agency="H01")
    assert await publish_all(outbox, broker) == 7
    assert await publish_all(outbox, broker) == 0
    assert broker.sequences() == {
        "catalog/1/a": [1, 2, 3],
        "catalog/1/b": [1, 2],
        "catalog/1/c": [1],
        None: [None],
    }
    third = broker.published[2]
    assert (third.producer, third.agency, third.subject) == ("catalog", "H01.7", "s")
    assert third.event == ordered("b")


async def test_a_transaction_that_is_rolled_back_tells_nothing(opened: Opened) -> None:
    database = await opened()
    outbox, broker = Outbox(database, "catalog"), Broker()
    await tell(outbox, "a")

    async def fail(in_database: bool) -> None:
        async with outbox.transaction() as unit:
            unit.tell(ordered(), aggregate="a", agency="H01")
            if not in_database:
                raise ZeroDivisionError
            await unit.connection.exec_driver_sql("INSERT INTO position VALUES (NULL, NULL, 1)")

    with pytest.raises(ZeroDivisionError):
        await fail(in_database=False)
    with pytest.raises(DBAPIError):
        await fail(in_database=True)
    await tell(outbox, "a")
    assert await publish_all(outbox, broker) == 2
    assert broker.sequences() == {"catalog/1/a": [1, 2]}
    assert await rows(database, "SELECT count(*) FROM event_log") == [(2,)]


async def test_a_late_commit_is_not_lost(opened: Opened) -> None:
    """The numbers of rows are given before the commit, so a later row can be there first."""
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    written, may_commit = asyncio.Event(), asyncio.Event()

    async def late() -> None:
        async with outbox.transaction() as unit:
            unit.tell(ordered(), aggregate="late", agency="H01")
            await outbox._write(unit)
            unit.drafts.clear()
            written.set()
            await may_commit.wait()

    task = asyncio.create_task(late())
    await written.wait()
    for number in range(20):  # in every part, also in that of the late one
        await tell(outbox, f"soon {number}")
    assert await publish_all(outbox, broker) == 20
    may_commit.set()
    await task
    assert await publish_all(outbox, broker) == 1
    assert broker.sequences()["catalog/1/late"] == [1]


async def test_writers_of_one_stream_commit_in_the_order_of_its_numbers(opened: Opened) -> None:
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    chance = random.Random(1)

    async def write(writer: int) -> None:
        for _ in range(20):
            async with outbox.transaction() as unit:
                for aggregate in chance.sample("abcd", 2):
                    unit.tell(ordered(version=writer), aggregate=aggregate, agency="H01")
                await outbox._write(unit)
                unit.drafts.clear()
                await asyncio.sleep(chance.random() / 500)

    await asyncio.gather(*(write(writer) for writer in range(6)))
    assert await publish_all(outbox, broker) == 240
    for numbers in broker.sequences().values():
        assert numbers == list(range(1, len(numbers) + 1))


async def test_what_was_refused_stays_with_all_that_follows_it_in_its_stream(
    opened: Opened,
) -> None:
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    async with outbox.transaction() as unit:
        for aggregate in "abab":
            unit.tell(ordered(), aggregate=aggregate, agency="H01")
        unit.tell(alone(), aggregate="a", agency="H01")
        unit.tell(alone(), aggregate="a", agency="H01")
    broker.refuse = {1, 5}  # b's first one, and the last that stands on its own
    assert await outbox.publish_once(broker) == 3
    broker.refuse = set()
    assert await publish_all(outbox, broker) == 3
    numbers = broker.sequences()
    assert numbers["catalog/1/a"] == [1, 2]
    assert numbers["catalog/1/b"] == [2, 1, 2]  # again, with its forerunner before it
    assert len(numbers[None]) == 2


async def test_nothing_is_published_while_the_transport_is_down(opened: Opened) -> None:
    database = await opened()
    outbox, broker = Outbox(database, "catalog"), Broker()
    await tell(outbox, "a", 3)
    broker.down = True
    assert await outbox.publish_once(broker) == 0
    assert await rows(database, "SELECT count(*) FROM outbox") == [(3,)]
    broker.down = False
    assert await publish_all(outbox, broker) == 3


async def test_a_window_is_bounded_in_number_and_in_bytes(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    await tell(outbox, "a", 25)
    monkeypatch.setattr(outbox_module, "WINDOW", 10)
    await publish_all(outbox, broker)
    assert broker.windows == [10, 10, 5]
    broker.windows.clear()
    monkeypatch.setattr(outbox_module, "WINDOW_BYTES", 2_000)
    async with outbox.transaction() as unit:
        for length in (10, 900, 5_000, 10):
            unit.tell(ordered("x" * length), aggregate="a", agency="H01")
    await publish_all(outbox, broker)
    assert broker.windows == [3, 1]  # one that alone is above the limit goes all the same
    assert broker.sequences()["catalog/1/a"] == list(range(1, 30))


async def test_a_relay_is_woken_by_a_commit_and_survives_trouble(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_IDLE_MOST", 60.0)
    monkeypatch.setattr(outbox_module, "_IDLE_LEAST", 30.0)
    monkeypatch.setattr(outbox_module, "_TROUBLE_LEAST", 0.01)
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    failures = 2

    async def publish(messages: Sequence[Message]) -> list[bool]:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("a fault of the transport's own")
        return await Broker.publish(broker, messages)

    monkeypatch.setattr(broker, "publish", publish)
    relay = asyncio.create_task(outbox.relay(broker))
    await asyncio.sleep(0.1)  # idle now, for half a minute
    await tell(outbox, "a")
    await until(lambda: len(broker.published) == 1, seconds=5)
    await tell(outbox, "a")
    await until(lambda: len(broker.published) == 2, seconds=5)
    assert not failures
    relay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await relay


async def test_two_relays_never_work_on_one_part_at_the_same_time(opened: Opened) -> None:
    database = await opened()
    outbox, first, second = Outbox(database, "catalog"), Broker(), Broker()
    began, may_end = asyncio.Event(), asyncio.Event()

    async def slow(messages: Sequence[Message]) -> list[bool]:
        began.set()
        await may_end.wait()
        return await Broker.publish(first, messages)

    first.publish = slow  # type: ignore[method-assign]
    await tell(outbox, "a", 2)
    task = asyncio.create_task(outbox.publish_once(first))
    await began.wait()
    await tell(outbox, "a", 2)  # behind those that are on their way
    other = next(name for name in map(str, range(100)) if part_of(name) != part_of("a"))
    await tell(outbox, other)
    assert await outbox.publish_once(second) == 1
    assert second.sequences() == {f"catalog/1/{other}": [1]}
    may_end.set()
    assert await task == 2
    assert await outbox.publish_once(second) == 2


class Chaos:
    """Writers, and relays that are cancelled or lose their session at any moment."""

    def __init__(self, writing: Database, publishing: Sequence[Database], seed: int) -> None:
        self.chance = random.Random(seed)
        self.broker = Broker()
        self.told: Counter[str] = Counter()
        self.crashes = 0
        self._writing = writing
        self._publishing = publishing
        self._sound = self.broker.publish
        self.broker.publish = self._publish  # type: ignore[method-assign]

    async def _publish(self, messages: Sequence[Message]) -> list[bool]:
        await self._dawdle()
        taken = len(messages)
        if self.chance.random() < 0.1:  # a lost connection: the rest did not get there
            taken = self.chance.randrange(taken)
        safe = await self._sound(messages[:taken])
        await self._dawdle()
        return safe + [False] * (len(messages) - taken)

    async def _dawdle(self) -> None:
        for _ in range(self.chance.randrange(3)):
            await asyncio.sleep(self.chance.random() / 300)

    async def write(self) -> None:
        outbox = Outbox(self._writing, "catalog")
        for _ in range(60):
            aggregates = self.chance.choices([f"d{number}" for number in range(12)], k=3)
            try:
                async with outbox.transaction() as unit:
                    for aggregate in aggregates:
                        unit.tell(ordered(), aggregate=aggregate, agency="H01")
                    await self._dawdle()
                    if self.chance.random() < 0.2:
                        raise ZeroDivisionError
                self.told.update(aggregates)
            except ZeroDivisionError:
                pass

    async def relay(self, database: Database) -> None:
        while True:
            relay = asyncio.create_task(Outbox(database, "catalog").relay(self.broker))
            try:  # long enough to connect, on a busy machine too
                await asyncio.sleep(self.chance.random() / 3)
            finally:
                relay.cancel()
                await asyncio.gather(relay, return_exceptions=True)
            self.crashes += 1

    async def kill_sessions(self) -> None:
        while True:
            await asyncio.sleep(self.chance.random() / 10)
            await _kill_a_session(self._writing)
            self.crashes += 1


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_or_out_of_order_when_relays_die_at_any_moment(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(outbox_module, "WINDOW", 40)
    monkeypatch.setattr(outbox_module, "_TROUBLE_LEAST", 0.01)
    writing = await opened()
    publishing = [opened.again(address(writing), pool=2) for _ in range(3)]
    chaos = Chaos(writing, publishing, seed)
    tasks = [asyncio.create_task(chaos.relay(database)) for database in publishing]
    tasks.append(asyncio.create_task(chaos.kill_sessions()))
    await asyncio.gather(*(chaos.write() for _ in range(5)))

    async def drained() -> bool:
        return not await rows(writing, "SELECT 1 FROM outbox")

    await until(drained)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert chaos.crashes >= 10
    for aggregate, count in chaos.told.items():
        first_times = dict.fromkeys(chaos.broker.sequences()[f"catalog/1/{aggregate}"])
        assert list(first_times) == list(range(1, count + 1)), aggregate


async def _kill_a_session(database: Database) -> None:
    """End one of the relays' sessions that is in the middle of a window."""
    await rows(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND query LIKE '%event_log%LATERAL%' LIMIT 1",
    )


async def test_the_log_keeps_what_was_published_and_closes_gaps(opened: Opened) -> None:
    database = await opened()
    outbox, broker = Outbox(database, "catalog"), Broker()
    await tell(outbox, "a", 5)
    await tell(outbox, "b", 2)
    await publish_all(outbox, broker)
    await tell(outbox, "a", 1)  # told, and not yet published
    missed = [decode(body) for body in await history(database, "a", 1, 2, 4)]
    assert [event.sequence for event in missed] == [2, 3, 4]
    assert missed == broker.published[1:4]
    assert len(await history(database, "a", 1, 6, 6)) == 1
    assert await history(database, "a", 2, 1, 9) == []
    assert await history(database, "nobody", 1, 1, 9) == []


async def test_the_log_is_read_page_by_page_by_type(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "WINDOW", 3)
    database = await opened()
    outbox = Outbox(database, "catalog")
    await tell(outbox, "a", 4)
    async with outbox.transaction() as unit:
        unit.tell(alone(), aggregate="a", agency="H01")
    types, after, read = ["catalog.agency-published.v1"], UUID(int=0), []
    while page := await log_page(database, types, after):
        assert len(page) <= 3
        read += [decode(body) for body in page]
        after = read[-1].id
    assert sorted(event.sequence or 0 for event in read) == [1, 2, 3, 4]
    assert await log_page(database, types, new_id()) == []


async def test_a_restored_producer_begins_an_epoch_whose_numbers_are_new_to_consumers(
    opened: Opened,
) -> None:
    database = await opened()
    outbox, broker = Outbox(database, "catalog"), Broker()
    await tell(outbox, "a", 2)
    assert await begin_epoch(database) == 2
    await tell(outbox, "a", 2)
    await publish_all(outbox, broker)
    assert broker.sequences() == {"catalog/1/a": [1, 2], "catalog/2/a": [1, 2]}
    for epoch in (1, 2):
        bodies = await history(database, "a", epoch, 1, 9)
        assert [decode(body).stream for body in bodies] == [f"catalog/{epoch}/a"] * 2


async def test_an_event_that_follows_another_carries_its_correlation(opened: Opened) -> None:
    outbox, broker = Outbox(await opened(), "catalog"), Broker()
    await tell(outbox, "a")
    await publish_all(outbox, broker)
    cause = broker.published[0]
    async with outbox.transaction() as unit:
        unit.tell(ordered(), aggregate="b", agency="H01", cause=cause)
    await publish_all(outbox, broker)
    effect = broker.published[1]
    assert cause.correlation == str(cause.id)
    assert effect.correlation == cause.correlation
    assert effect.id != cause.id
    assert b'"causationid":"%s"' % str(cause.id).encode() in effect.body


async def test_what_a_relay_looks_up_costs_no_more_in_a_large_log(opened: Opened) -> None:
    """A plan that reads the whole log would make a relay slower with every month."""
    database = await opened()
    await run_sql(
        database,
        "INSERT INTO event_log (event_id, type, body) SELECT gen_random_uuid(), 't', 'x' "
        "FROM generate_series(1, 20000)",
    )
    outbox, broker = Outbox(database, "catalog"), Broker()
    await tell(outbox, "a", 300)
    before = await _rows_read(database)
    assert await outbox.publish_once(broker) == 300
    assert await _rows_read(database) - before < 2_000


async def _rows_read(database: Database) -> int:
    """Rows that scans of whole partitions of the log have read."""
    await asyncio.sleep(0.05)
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    found: list[tuple[Any, ...]] = await rows(
        database,
        "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables "
        "WHERE relname LIKE 'event_log%'",
    )
    return int(found[0][0])


async def test_streams_are_spread_over_all_parts(opened: Opened) -> None:
    database = await opened()
    async with Outbox(database, "catalog").transaction() as unit:
        for number in range(300):
            unit.tell(ordered(), aggregate=f"H{number % 150:03}-251121-0001", agency="H01")
    parts = await rows(database, "SELECT count(*) FROM outbox GROUP BY part")
    assert len(parts) == outbox_module.PARTS
    (streams,) = await rows(
        database,
        "SELECT count(DISTINCT stream) FROM (SELECT stream FROM outbox JOIN event_log "
        "USING (event_id) GROUP BY stream HAVING count(DISTINCT part) = 1) AS in_one_part",
    )
    assert streams == (150,)
