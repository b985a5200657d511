"""What was told while a consumer had no queue is read from the producers' logs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from common import outbox as outbox_module
from common.backfill import Backfill
from common.database import Database
from common.identifiers import moment_of
from common.inbox import Consumer, Subscription
from common.outbox import Outbox
from common.parking import DatabaseHistory, HistoryAway
from tests.support.databases import Databases
from tests.support.messaging import (
    Opened,
    alone,
    effects,
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


class History(DatabaseHistory):
    """Notes from where it is read; can be away."""

    away = False

    def __init__(self, databases: dict[str, Database]) -> None:
        super().__init__(databases)
        self.asked: list[tuple[str, UUID]] = []

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        if self.away:
            raise HistoryAway(producer)
        self.asked.append((producer, after))
        return await super().log(producer, types, after)


class World:
    """A producer with its log, and a consumer that has never had a queue."""

    def __init__(self, producer: Database, database: Database) -> None:
        self.producer = Outbox(producer, "catalog")
        self.dossier = Outbox(producer, "dossier")
        self.database = database
        self.history = History({"catalog": producer, "dossier": producer})
        self.restart()

    def restart(self) -> None:
        """The consumer's process ends and comes back."""
        subscription = Subscription(
            "facts", ("catalog.agency-published.v1", "signing.#"), noting("x")
        )
        outbox = Outbox(self.database, "reader")
        self.consumer = Consumer("reader", subscription, outbox, telemetry())
        self.backfill = Backfill(self.consumer, self.database, self.history)

    async def tell(self, count: int = 1) -> None:
        async with self.producer.transaction() as unit:
            for _ in range(count):
                unit.tell(ordered(), aggregate="a", agency="H01")

    async def attach(self, *, exists: bool = False) -> None:
        """The queue is bound, and made first if it was missing."""
        async with self.backfill.attaching(exists):
            pass


@pytest.fixture
async def world(opened: Opened) -> World:
    return World(await opened("catalog"), await opened("reader"))


async def test_who_comes_late_reads_what_was_told_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "WINDOW", 4)
    await world.tell(10)
    async with world.dossier.transaction() as unit:
        unit.tell(alone(), aggregate="a", agency="H01")
    await world.attach()
    assert await world.backfill.once() == 11
    told = await effects(world.database)
    assert told == {"catalog/1/a": list(range(1, 11)), None: [None]}
    assert {producer for producer, _ in world.history.asked} == {"catalog", "dossier"}
    assert await world.backfill.once() == 0


async def test_a_process_that_ends_in_between_reads_it_on_its_next_start(world: World) -> None:
    await world.tell(3)
    world.history.away = True
    await world.attach()
    with pytest.raises(HistoryAway):
        await world.backfill.once()
    world.restart()
    world.history.away = False
    await world.attach(exists=True)
    assert await world.backfill.once() == 3
    assert await effects(world.database) == {"catalog/1/a": [1, 2, 3]}


async def test_a_queue_that_was_made_but_not_bound_is_missing_until_it_is(world: World) -> None:
    """Between making and binding its process ended; the next one must not read the log first."""
    with pytest.raises(RuntimeError):
        async with world.backfill.attaching(exists=False):
            raise RuntimeError("the process ends")
    world.restart()
    assert await world.backfill.once() == 0
    async with world.backfill.attaching(exists=True):
        await world.tell(2)  # which no binding brings
    assert await world.backfill.once() == 2


async def test_what_is_known_already_changes_nothing(world: World) -> None:
    await world.tell(3)
    await world.attach()
    await world.backfill.once()
    await world.attach()
    assert await world.backfill.once() == 3
    assert await effects(world.database) == {"catalog/1/a": [1, 2, 3]}


async def test_a_queue_that_was_there_all_the_time_is_not_made_up_for(world: World) -> None:
    await world.tell(3)
    assert await world.backfill.once() == 0
    assert world.history.asked == []


async def test_it_is_read_from_what_was_taken_last_and_not_from_when_it_was_last_looked_at(
    world: World,
) -> None:
    """A deleted queue may have held events that nobody had taken for a long time."""
    await world.tell(1)
    await world.attach()
    await world.backfill.once()
    long_ago = datetime.now(UTC) - timedelta(days=2)
    await run_sql(world.database, "UPDATE attachment SET seen_at = :ago", ago=long_ago)
    world.restart()
    await world.backfill.once()  # as every minute, with nothing taken
    assert await rows(world.database, "SELECT seen_at FROM attachment") == [(long_ago,)]
    world.history.asked.clear()
    await world.attach()
    await world.backfill.once()
    (first,) = {after for _, after in world.history.asked[:1]}
    assert timedelta(minutes=59) < long_ago - moment_of(first) <= timedelta(hours=1, seconds=1)


async def test_what_was_taken_is_noted(world: World) -> None:
    await world.tell(2)
    bodies = await world.history.events("catalog", 1, "a", 1, 2)
    await world.consumer.take(bodies)
    await world.backfill.once()
    ((seen_at,),) = await rows(world.database, "SELECT seen_at FROM attachment")
    assert seen_at == world.consumer.newest
    assert abs(datetime.now(UTC) - seen_at) < timedelta(minutes=1)  # type: ignore[operator]


async def test_it_reads_as_soon_as_the_queue_is_bound_and_waits_for_a_producer_that_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.backfill._RETRY_SECONDS", 0.05)
    await world.tell(2)
    running = asyncio.create_task(world.backfill.run())
    await asyncio.sleep(0.2)
    world.history.away = True
    await world.attach()
    await asyncio.sleep(0.2)
    assert await effects(world.database) == {}
    world.history.away = False

    async def read() -> bool:
        return await effects(world.database) == {"catalog/1/a": [1, 2]}

    await until(read, seconds=5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
