"""Second chances: gaps are closed from the producer's log, failures tried again, in order."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from common import inbox, parking
from common.database import Database
from common.envelope import Received, decode
from common.inbox import Consumer, Subscription
from common.outbox import Outbox
from common.parking import DatabaseHistory, HistoryAway, Recovery
from tests.support.databases import Databases
from tests.support.messaging import (
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


@dataclass
class Log:
    """A producer's log, and what it was asked."""

    bodies: dict[int, bytes] = field(default_factory=dict)
    asked: list[tuple[str, int, str, int, int]] = field(default_factory=list)
    page: int = 500

    async def events(
        self, producer: str, epoch: int, aggregate: str, first: int, last: int
    ) -> list[bytes]:
        self.asked.append((producer, epoch, aggregate, first, last))
        wanted = [self.bodies[n] for n in range(first, last + 1) if n in self.bodies]
        return wanted[: self.page]

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        raise NotImplementedError


@dataclass
class Reader:
    """A consumer with its recovery; events named in ``bad`` fail."""

    database: Database
    history: Log
    bad: set[int] = field(default_factory=set)
    tried: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        subscription = Subscription("agencies", ("#",), noting("x", self._trouble))
        outbox = Outbox(self.database, "reader")
        self.consumer = Consumer("reader", subscription, outbox, telemetry("reader"))
        self.recovery = Recovery(self.consumer, self.database, self.history)

    def _trouble(self, event: Received) -> None:
        self.tried.append(event.sequence)
        if event.sequence in self.bad or (event.sequence is None and self.bad):
            raise RuntimeError("told to fail")

    async def take(self, *numbers: int) -> None:
        await self.consumer.take([self.history.bodies[number] for number in numbers])

    async def due_now(self, *numbers: int) -> None:
        """Some parked events' time has come, and no others'."""
        await run_sql(
            self.database,
            "UPDATE parked SET next_at = CASE WHEN sequence = ANY(:due) THEN now() - interval '1s' "
            "ELSE now() + interval '1 hour' END",
            due=list(numbers),
        )

    async def parked(self) -> list[tuple[object, ...]]:
        return await rows(
            self.database, "SELECT reason, sequence FROM parked ORDER BY sequence, id"
        )


def log_of(count: int, aggregate: str = "a") -> Log:
    return Log({n: envelope(ordered(version=n), aggregate, n) for n in range(1, count + 1)})


@pytest.fixture
async def reader(opened: Opened) -> Reader:
    return Reader(await opened(), log_of(12))


async def test_a_gap_is_closed_from_the_producers_log_after_a_while(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inbox.FIRST_LOOK_SECONDS == 5.0
    monkeypatch.setattr(inbox, "FIRST_LOOK_SECONDS", 0.4)
    monkeypatch.setattr(parking, "LOOK_SECONDS", 0.05)
    running = asyncio.create_task(reader.recovery.run())
    began = time.monotonic()
    await reader.take(1, 2, 5, 6)
    await asyncio.sleep(0.2)
    assert reader.history.asked == []
    assert await effects(reader.database) == {"catalog/1/a": [1, 2]}

    async def closed() -> bool:
        return await effects(reader.database) == {"catalog/1/a": [1, 2, 3, 4, 5, 6]}

    await until(closed, seconds=10)
    assert time.monotonic() - began >= 0.4
    assert reader.history.asked == [("catalog", 1, "a", 3, 4)]
    assert await reader.parked() == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_gap_that_the_forerunner_closes_is_not_asked_about(reader: Reader) -> None:
    await reader.take(2)
    await reader.take(1)
    await reader.due_now(2)
    assert not await reader.recovery.once()
    assert reader.history.asked == []


async def test_a_gap_longer_than_a_page_is_closed_at_once(reader: Reader) -> None:
    reader.history.page = 3
    await reader.take(1, 12)
    await reader.due_now(12)
    await reader.recovery.once()
    assert await effects(reader.database) == {"catalog/1/a": list(range(1, 13))}
    assert [first for *_, first, _ in reader.history.asked] == [2, 5, 8, 11]


async def test_several_gaps_of_a_stream_are_closed_one_after_the_other(reader: Reader) -> None:
    await reader.take(1, 3, 5, 6, 9)
    await reader.due_now(3)
    await reader.recovery.once()
    assert await effects(reader.database) == {"catalog/1/a": list(range(1, 10))}
    assert [asked[3:] for asked in reader.history.asked] == [(2, 2), (4, 4), (7, 8)]


async def test_while_the_producer_has_nothing_the_event_waits_longer_and_longer(
    reader: Reader,
) -> None:
    missing = reader.history.bodies.pop(1)
    await reader.take(2)
    waits = []
    for _ in range(4):
        await reader.due_now(2)
        assert await reader.recovery.once()
        ((seconds,),) = await rows(
            reader.database, "SELECT extract(epoch FROM next_at - now()) FROM parked"
        )
        waits.append(float(seconds))  # type: ignore[arg-type]
    assert await reader.parked() == [("early", 2)]
    for attempts, seconds in enumerate(waits):
        assert 2.5 * 2**attempts - 1 <= seconds <= 5 * 2**attempts
    await run_sql(reader.database, "UPDATE parked SET attempts = 10000")
    await reader.due_now(2)
    await reader.recovery.once()
    ((seconds,),) = await rows(
        reader.database, "SELECT extract(epoch FROM next_at - now()) FROM parked"
    )
    assert 1_700 < float(seconds) <= parking.LONGEST_WAIT_SECONDS  # type: ignore[arg-type]
    reader.history.bodies[1] = missing
    await reader.due_now(2)
    await reader.recovery.once()
    assert await effects(reader.database) == {"catalog/1/a": [1, 2]}


async def test_what_stands_behind_a_failed_event_is_done_when_that_one_heals(
    reader: Reader,
) -> None:
    reader.bad = {2}
    await reader.take(1, 2, 3)
    await reader.take(4, 5)
    assert await reader.parked() == [("failed", 2), ("early", 3), ("early", 4), ("early", 5)]
    reader.tried.clear()
    await reader.due_now(3, 4, 5)
    await reader.recovery.once()
    assert reader.tried == []  # the failed one has its own time, which those behind cannot hasten
    await reader.due_now(2)
    await reader.recovery.once()
    assert set(reader.tried) == {2}
    assert await effects(reader.database) == {"catalog/1/a": [1]}
    reader.bad = set()
    await reader.due_now(2)
    await reader.recovery.once()
    assert await effects(reader.database) == {"catalog/1/a": [1, 2, 3, 4, 5]}
    assert await reader.parked() == []


async def test_the_very_first_event_of_a_stream_is_tried_again_too(reader: Reader) -> None:
    reader.bad = {1}
    await reader.take(1)
    assert await reader.parked() == [("failed", 1)]
    reader.bad = set()
    await reader.due_now(1)
    await reader.recovery.once()
    assert await effects(reader.database) == {"catalog/1/a": [1]}


async def test_a_successor_that_fails_in_its_turn_spoils_nothing_before_it(
    reader: Reader,
) -> None:
    reader.bad = {3}
    await reader.take(2, 3, 4)
    await reader.take(1)
    assert await effects(reader.database) == {"catalog/1/a": [1]}
    await reader.recovery.once()  # the next one was called up when its forerunner was done
    assert await effects(reader.database) == {"catalog/1/a": [1, 2]}
    assert await reader.parked() == [("failed", 3), ("early", 4)]


async def test_an_event_from_the_log_that_fails_is_parked_like_any_other(reader: Reader) -> None:
    reader.bad = {2}
    await reader.take(1, 3)
    await reader.due_now(3)
    await reader.recovery.once()
    assert await reader.parked() == [("failed", 2), ("early", 3)]


async def test_a_log_that_holds_something_unreadable_stops_only_that_stream(
    opened: Opened,
) -> None:
    reader = Reader(await opened(), log_of(3))
    reader.history.bodies[1] = b"no event"
    other = [envelope(ordered(), "b", number) for number in (1, 2)]
    await reader.take(2)
    await reader.consumer.take(other[1:])
    reader.history.bodies |= {100: other[0]}
    await reader.due_now(2)
    await reader.recovery.once()
    assert await reader.parked() == [("early", 2), ("early", 2), ("undecodable", None)]
    await reader.consumer.take(other[:1])
    assert await effects(reader.database) == {"catalog/1/b": [1, 2]}


async def test_trouble_with_one_stream_does_not_hold_up_another(opened: Opened) -> None:
    reader = Reader(await opened(), log_of(2))
    bodies = {n: envelope(ordered(version=n), "b", n) for n in (1, 2)}

    class Broken(Log):
        async def events(
            self, producer: str, epoch: int, aggregate: str, first: int, last: int
        ) -> list[bytes]:
            if aggregate == "a":
                raise RuntimeError("a fault of the history's own")
            return [bodies[1]]

    reader.recovery = Recovery(reader.consumer, reader.database, Broken())
    await reader.take(2)
    await reader.consumer.take([bodies[2]])
    await reader.due_now(2)
    await reader.recovery.once()
    assert await effects(reader.database) == {"catalog/1/b": [1, 2]}


async def test_an_event_that_stands_alone_is_tried_again_alone(opened: Opened) -> None:
    reader = Reader(await opened(), Log())
    reader.bad = {0}
    bodies = [envelope(alone()), envelope(alone())]
    await reader.consumer.take(bodies)
    assert [reason for reason, _ in await reader.parked()] == ["failed", "failed"]
    reader.bad = set()
    await run_sql(reader.database, "UPDATE parked SET next_at = now()")
    assert await reader.recovery.once()
    assert len((await effects(reader.database))[None]) == 2
    assert await reader.parked() == []
    await reader.consumer.take(bodies)
    assert len((await effects(reader.database))[None]) == 2


async def test_a_row_that_its_event_has_overtaken_is_cleared_away(reader: Reader) -> None:
    """One replica parks what another one has done meanwhile."""
    await reader.take(1, 2)
    await run_sql(
        reader.database,
        "INSERT INTO parked (consumer, stream, sequence, event_id, body, reason, next_at) "
        "VALUES ('agencies', 'catalog/1/a', 2, :id, 'x', 'failed', now())",
        id=decode(reader.history.bodies[2]).id,
    )
    await reader.recovery.once()
    assert await reader.parked() == []
    assert await effects(reader.database) == {"catalog/1/a": [1, 2]}


async def test_recoveries_of_two_replicas_do_not_get_in_each_others_way(opened: Opened) -> None:
    database = await opened()
    first = Reader(database, log_of(12))
    second = Reader(opened.again(address(database)), first.history)
    await first.take(2, 4, 6, 8, 10, 12)
    await first.due_now(2, 4, 6, 8, 10, 12)
    for _ in range(3):
        await asyncio.gather(first.recovery.once(), second.recovery.once())
    assert await effects(database) == {"catalog/1/a": list(range(1, 13))}
    assert await first.parked() == []


async def test_history_within_one_process_reads_the_producers_database(opened: Opened) -> None:
    database = await opened()
    async with Outbox(database, "catalog").transaction() as unit:
        for _ in range(3):
            unit.tell(ordered(), aggregate="a", agency="H01")
    history = DatabaseHistory({"catalog": database})
    found = await history.events("catalog", 1, "a", 2, 3)
    assert [decode(body).sequence for body in found] == [2, 3]
    assert await history.events("nobody", 1, "a", 1, 3) == []
    assert len(await history.log("catalog", ["catalog.%"], UUID(int=0))) == 3
    with pytest.raises(HistoryAway):
        await history.log("nobody", ["catalog.%"], UUID(int=0))
