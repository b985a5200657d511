"""Durable calls to partners, seen from the partner's books: nothing lost, nothing out of order,
nothing twice that could have been asked about, and nobody starved."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database, DatabaseAway
from common.delivery import (
    Ability,
    Breaker,
    Claimed,
    Deliverer,
    Item,
    Outcome,
    Result,
    deliverer,
    queue,
)
from tests.support.databases import Databases
from tests.support.messaging import Opened, address, rows, run_sql, telemetry, until

DONE = Outcome(Result.DONE)


@pytest.fixture
async def opened(databases: Databases) -> AsyncIterator[Opened]:
    made = Opened(databases)
    yield made
    await made.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds, signs of life several times a second."""
    monkeypatch.setattr(deliverer, "backoff_seconds", lambda _: 0.01)
    monkeypatch.setattr(deliverer, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(deliverer, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(deliverer, "_IDLE_MOST", 0.05)


@dataclass
class Books:
    """A partner with books of its own; ``plan`` says what becomes of each call."""

    batch: int = 10
    parallel: int = 2
    name: str = "partner"
    able: Ability = Ability.LOOK_UP
    entries: list[tuple[str, int]] = field(default_factory=list)
    """Key and version of all that took effect, in order."""
    calls: list[list[Claimed]] = field(default_factory=list)
    asked: list[list[Claimed]] = field(default_factory=list)
    plan: list[Outcome | Exception] = field(default_factory=list)
    forgetful: bool = False
    """What is sent with an unknown outcome did not take effect."""
    settlements: list[tuple[str, Result]] = field(default_factory=list)
    settle_fails: int = 0

    def ability(self, kind: str) -> Ability:
        return self.able

    def group(self, item: Claimed) -> Hashable:
        return item.kind

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        self.calls.append(list(items))
        outcome = self.plan.pop(0) if self.plan else DONE
        lost = self.forgetful or isinstance(outcome, Exception)
        if outcome == DONE or (not lost and outcome.result is Result.UNKNOWN):  # type: ignore[union-attr]
            self.entries += [(item.key, item.version) for item in items]
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome] * len(items)

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        self.asked.append(list(items))
        return [
            DONE if (item.key, item.asked_version) in self.entries else Outcome(Result.NOT_THERE)
            for item in items
        ]

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        if self.settle_fails:
            self.settle_fails -= 1
            raise RuntimeError("the service's own table")
        self.settlements += [(item.key, outcome.result) for item, outcome in outcomes]

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.entries]


def item(key: str, version: int = 1, *, agency: str = "H01", subject: str = "") -> Item:
    subject = subject or key.partition("/")[0]
    return Item(agency, subject, "step", key, f"{key} v{version}".encode(), version)


class Desk:
    """A service's queue for one partner, and its worker."""

    def __init__(self, database: Database, books: Books, breaker: Breaker | None = None) -> None:
        self.database = database
        self.books = books
        self.breaker = breaker or Breaker()
        self.worker = Deliverer(database, books, telemetry(), self.breaker)

    async def queue(self, *items: Item) -> None:
        async with self.database.transaction() as connection:
            await queue(connection, self.books.name, items)

    async def all_due(self) -> None:
        await run_sql(self.database, "UPDATE delivery SET next_at = now()")

    async def waiting(self) -> list[tuple[object, ...]]:
        return await rows(
            self.database, "SELECT key, version, state, attempts FROM delivery ORDER BY id"
        )

    async def deliver(self) -> None:
        """Until nothing is left, whatever waits."""
        for _ in range(100):
            await self.worker.once()
            await self.all_due()
            if not await self.waiting():
                return
        raise AssertionError(await self.waiting())


@pytest.fixture
async def desk(opened: Opened) -> Desk:
    return Desk(await opened(), Books())


async def test_items_of_a_subject_go_out_in_the_order_in_which_they_were_queued(
    desk: Desk,
) -> None:
    for number in range(4):
        await desk.queue(*(item(f"{subject}/{number}") for subject in "abc"))
    await desk.deliver()
    for subject in "abc":
        assert [key for key in desk.books.keys if key[0] == subject] == [
            f"{subject}/{number}" for number in range(4)
        ]
    assert len(desk.books.calls) <= 3


async def test_a_queue_that_was_counted_while_empty_is_not_read_anew_for_each_item(
    desk: Desk,
) -> None:
    await desk.queue(*(item(f"gone-{number}") for number in range(2000)))
    await run_sql(desk.database, "DELETE FROM delivery")
    await run_sql(desk.database, "ANALYZE delivery")  # no rows, on many pages
    await desk.queue(*(item(f"waiting-{number}") for number in range(400)))
    read: list[int] = []
    async with desk.database.transaction() as connection:
        for batch in range(8):  # from the sixth on its statements are planned for all alike
            await queue(connection, "partner", [item(f"{batch}-{number}") for number in range(50)])
            counted = await connection.execute(
                text(
                    "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)"
                    " FROM pg_stat_xact_user_tables WHERE relname = 'delivery'"
                )
            )
            read.append(counted.scalar_one())
    assert read[-1] - read[-2] <= 2 * (400 + 8 * 50)


async def test_a_newer_version_takes_the_place_of_the_older_one(desk: Desk) -> None:
    await desk.queue(item("a", 1), item("b", 1))
    await desk.queue(item("a", 3))
    await desk.queue(item("a", 2))  # comes late
    await desk.deliver()
    assert desk.books.entries == [("a", 3), ("b", 1)]
    assert [bytes(one.body) for call in desk.books.calls for one in call] == [b"a v3", b"b v1"]


async def test_a_version_that_is_queued_during_the_call_is_sent_after_it(desk: Desk) -> None:
    send = desk.books.send

    async def busy(items: Sequence[Claimed]) -> Sequence[Outcome]:
        if len(desk.books.calls) == 0:
            await desk.queue(item("a", 2))
        return await send(items)

    desk.books.send = busy  # type: ignore[method-assign]
    await desk.queue(item("a", 1))
    await desk.deliver()
    assert desk.books.entries == [("a", 1), ("a", 2)]


@pytest.mark.parametrize("arrived", [True, False])
async def test_an_unknown_outcome_is_asked_about_and_not_sent_again_if_it_is_there(
    desk: Desk, arrived: bool
) -> None:
    desk.books.plan = [Outcome(Result.UNKNOWN, "cut off")]
    desk.books.forgetful = not arrived
    await desk.queue(item("a"), item("b"))
    await desk.worker.once()
    assert {state for _, _, state, _ in await desk.waiting()} == {"unknown"}
    await desk.deliver()
    assert sorted(desk.books.entries) == [("a", 1), ("b", 1)]
    assert len(desk.books.asked) == 1
    assert len(desk.books.calls) == (1 if arrived else 2)
    assert await rows(desk.database, "SELECT 1 FROM delivery WHERE maybe_doubled") == []


async def test_a_partner_that_cannot_be_asked_gets_it_again_marked_as_maybe_doubled(
    opened: Opened,
) -> None:
    books = Books(able=Ability.NONE, plan=[Outcome(Result.UNKNOWN, "cut off")])
    desk = Desk(await opened(), books)
    await desk.queue(item("a"))
    await desk.deliver()
    assert books.asked == []
    assert books.entries == [("a", 1), ("a", 1)]
    first, second = (call[0] for call in books.calls)
    assert not first.maybe_doubled
    assert second.maybe_doubled


async def test_an_adapter_that_raises_leaves_an_unknown_outcome(desk: Desk) -> None:
    desk.books.plan = [ValueError("Nguyễn Văn A")]
    await desk.queue(item("a"))
    await desk.worker.once()
    ((state, error),) = await rows(desk.database, "SELECT state, error FROM delivery")
    assert state == "unknown"
    assert str(error).startswith("ValueError at tests.integration.test_delivery.")
    await desk.deliver()
    assert desk.books.entries == [("a", 1)]


async def test_calls_of_a_worker_that_is_lost_become_unknown_to_the_others(
    opened: Opened, hasty: None
) -> None:
    database = await opened()
    books = Books()
    lost, other = Desk(database, books), Desk(opened.again(address(database)), books)
    await lost.queue(item("a"), item("b"))
    await lost.worker._sign_of_life()
    await lost.worker._claim(2)  # and then its process ends
    assert {state for _, _, state, _ in await lost.waiting()} == {"sending"}
    running = asyncio.create_task(other.worker.run())

    async def delivered() -> bool:
        return not await other.waiting()

    await until(delivered, seconds=60)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(books.entries) == [("a", 1), ("b", 1)]
    assert len(books.asked) >= 1  # it was asked about, since it may have been sent


async def test_a_worker_that_lives_keeps_what_it_is_sending(opened: Opened, hasty: None) -> None:
    database, may_end = await opened(), asyncio.Event()
    slow, other = Books(), Books()

    async def send(items: Sequence[Claimed]) -> Sequence[Outcome]:
        await may_end.wait()
        return await Books.send(slow, items)

    slow.send = send  # type: ignore[method-assign]
    desks = Desk(database, slow), Desk(opened.again(address(database)), other)
    await desks[0].queue(item("a"))
    running = [asyncio.create_task(desks[0].worker.run())]
    await until(lambda: asyncio.sleep(0.05, True))
    running.append(asyncio.create_task(desks[1].worker.run()))
    await asyncio.sleep(1.2)  # more than two leases
    may_end.set()

    async def delivered() -> bool:
        return not await desks[0].waiting()

    await until(delivered, seconds=60)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert slow.entries == [("a", 1)]
    assert other.calls == []


async def test_an_open_breaker_pauses_without_using_up_attempts(
    opened: Opened, hasty: None
) -> None:
    books = Books(batch=1, plan=[Outcome(Result.RETRY, "503", partner_down=True)] * 6)
    breaker = Breaker(failures_to_open=3, pause_seconds=0.4)
    desk = Desk(await opened(), books, breaker)
    await desk.queue(*(item(f"s{number}") for number in range(8)))
    running = asyncio.create_task(desk.worker.run())
    await until(lambda: breaker.open, seconds=60)
    calls = len(books.calls)
    assert breaker.wait() > 0.1
    await asyncio.sleep(0.1)
    assert len(books.calls) == calls  # nobody calls while it is open
    async with asyncio.timeout(30):  # the last call may still have to be settled
        while {attempts for *_, attempts in await desk.waiting()} != {0}:
            await asyncio.sleep(0.01)
    await until(lambda: len(books.entries) == 8, seconds=60)
    assert not breaker.open
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(set(books.keys)) == sorted(books.keys)


async def test_retry_after_is_honoured_for_the_item_and_for_the_partner(desk: Desk) -> None:
    desk.books.batch = 1
    desk.books.parallel = 1
    desk.books.plan = [Outcome(Result.RETRY, "429", pause=600.0)]
    await desk.queue(item("a"), item("b"))
    await desk.worker.once()
    assert 590 < desk.breaker.wait() <= 600
    assert not desk.breaker.open
    told = await rows(
        desk.database,
        "SELECT key, attempts, next_at > now() + interval '9 minutes' FROM delivery ORDER BY id",
    )
    assert told == [("a", 0, True), ("b", 0, False)]


async def test_failures_of_the_item_use_up_attempts_and_wait_longer_and_longer(
    desk: Desk,
) -> None:
    desk.books.plan = [Outcome(Result.RETRY, "400")] * 20
    await desk.queue(item("a"))
    for attempt in range(1, 15):
        await desk.worker.once()
        ((attempts, seconds),) = await rows(
            desk.database, "SELECT attempts, extract(epoch FROM next_at - now()) FROM delivery"
        )
        assert attempts == attempt
        assert float(seconds) <= min(2**attempt, 3600)  # type: ignore[arg-type]
        await desk.all_due()


async def test_one_agencys_backlog_does_not_hold_up_another(opened: Opened) -> None:
    desk = Desk(await opened(), Books(batch=20, parallel=1))
    await run_sql(
        desk.database,
        "INSERT INTO delivery (partner, agency, subject, kind, key, body) "
        "SELECT 'partner', 'H01', 's' || n, 'step', 's' || n, 'x' "
        "FROM generate_series(1, 10000) AS n",
    )
    await desk.worker.once()
    await desk.queue(item("new/1", agency="H02"), item("new/2", agency="H02"))
    before = len(desk.books.calls)
    await desk.worker.once()
    await desk.worker.once()
    soon = [one.key for call in desk.books.calls[before:] for one in call]
    assert soon.index("new/1") < soon.index("new/2")
    assert len(soon) <= 40
    assert len(desk.books.entries) >= 38  # and the backlog goes on, in full calls


async def test_many_agencies_get_their_turns(opened: Opened) -> None:
    desk = Desk(await opened(), Books(batch=10, parallel=1))
    agencies = [f"H{number:02}" for number in range(40)]
    await desk.queue(
        *(item(f"{agency}-{n}", agency=agency) for agency in agencies for n in range(20))
    )
    served: Counter[str] = Counter()
    for _ in range(12):
        await desk.worker.once()
    for call in desk.books.calls:
        served.update(one.agency for one in call)
    assert served.keys() == set(agencies)
    assert max(served.values()) - min(served.values()) <= 2


async def test_a_call_refused_as_a_whole_is_halved_until_the_item_at_fault_stands_alone(
    desk: Desk,
) -> None:
    whole = Outcome(Result.WHOLE, "400")

    async def send(items: Sequence[Claimed]) -> Sequence[Outcome]:
        desk.books.calls.append(list(items))
        if any(one.key == "s5" for one in items):
            return [whole] * len(items)
        desk.books.entries += [(one.key, one.version) for one in items]
        return [DONE] * len(items)

    desk.books.send = send  # type: ignore[method-assign]
    await desk.queue(*(item(f"s{number}") for number in range(8)))
    await desk.worker.once()
    assert await desk.waiting() == [("s5", 1, "held", 1)]
    assert sorted(desk.books.keys) == [f"s{number}" for number in range(8) if number != 5]
    assert len(desk.books.calls) <= 7


async def test_the_only_other_item_of_a_call_that_was_refused_for_one_of_two_goes_alone(
    desk: Desk,
) -> None:
    async def send(items: Sequence[Claimed]) -> Sequence[Outcome]:
        if all(one.key != "s1" for one in items):
            return [DONE] * len(items)
        return [
            Outcome(Result.REFUSED, "s1") if one.key == "s1" else Outcome(Result.WHOLE)
            for one in items
        ]

    desk.books.send = send  # type: ignore[method-assign]
    await desk.queue(item("s0"), item("s1"))
    await desk.worker.once()
    assert await desk.waiting() == [("s1", 1, "held", 1)]


async def test_a_held_item_holds_up_its_subject_alone_and_a_newer_version_frees_it(
    desk: Desk,
) -> None:
    desk.books.plan = [Outcome(Result.REFUSED, "never like this")]
    await desk.queue(item("a/1"))
    await desk.worker.once()
    await desk.queue(item("a/2"), item("b/1"))
    for _ in range(3):
        await desk.worker.once()
    assert desk.books.entries == [("b/1", 1)]
    assert [(key, state) for key, _, state, _ in await desk.waiting()] == [
        ("a/1", "held"),
        ("a/2", "due"),
    ]
    await desk.queue(item("a/1", 2))
    await desk.deliver()
    assert desk.books.entries == [("b/1", 1), ("a/1", 2), ("a/2", 1)]


async def test_what_became_of_a_call_is_kept_in_hand_while_the_database_is_away(
    opened: Opened, hasty: None, postgres: str
) -> None:
    database, books = await opened(), Books()
    desk = Desk(database, books)
    server = await asyncpg.connect(postgres)
    name = database.engine.url.database

    async def send(items: Sequence[Claimed]) -> Sequence[Outcome]:
        outcomes = await Books.send(books, items)
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        return outcomes

    books.send = send  # type: ignore[method-assign]
    await desk.queue(item("a"))
    settling = asyncio.create_task(desk.worker.once())
    await asyncio.sleep(0.5)
    assert not settling.done()
    await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await server.close()
    await asyncio.wait_for(settling, 10)
    assert await desk.waiting() == []
    assert books.entries == [("a", 1)]
    assert books.settlements == [("a", Result.DONE)]


class Deaf:
    """A database whose next claim is committed, but the answer to that is lost."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost = 0
        self._transaction = database.transaction
        monkeypatch.setattr(database, "transaction", self.transaction)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._transaction() as connection:
            yield connection
            found = await connection.execute(
                text("SELECT count(*) FROM delivery WHERE state = 'sending'")
            )
            claimed = found.scalar_one()
        if claimed and not self.lost:
            self.lost += 1
            raise DatabaseAway("the answer to the commit was lost")


async def test_what_was_claimed_without_the_worker_hearing_of_it_is_sent_all_the_same(
    desk: Desk, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf = Deaf(desk.database, monkeypatch)
    desk.books.able = Ability.NONE
    await desk.queue(item("a/1"), item("a/2"), item("b"))
    with pytest.raises(DatabaseAway):
        await desk.worker.once()
    assert desk.books.calls == []
    await desk.deliver()
    assert deaf.lost == 1
    assert desk.books.keys == ["a/1", "a/2", "b"]
    assert not any(sent.maybe_doubled for call in desk.books.calls for sent in call)


async def test_what_was_unknown_before_a_claim_went_astray_is_asked_about_still(
    desk: Desk, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.books.plan = [Outcome(Result.UNKNOWN, partner_down=True)]
    await desk.queue(item("a"))
    await desk.worker.once()
    await desk.all_due()
    Deaf(desk.database, monkeypatch)
    with pytest.raises(DatabaseAway):
        await desk.worker.once()
    await desk.deliver()
    assert [[sent.key for sent in call] for call in desk.books.asked] == [["a"]]
    assert desk.books.entries == [("a", 1)]


async def test_what_a_worker_has_in_hand_is_not_let_go_because_another_claim_went_astray(
    opened: Opened, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(batch=1)
    desk = Desk(await opened(), books)
    monkeypatch.setattr(deliverer, "LEASE_SECONDS", 10.0)
    began, go = asyncio.Event(), asyncio.Event()

    async def send(items: Sequence[Claimed]) -> Sequence[Outcome]:
        if items[0].key == "a":
            began.set()
            await go.wait()
        return await Books.send(books, items)

    books.send = send  # type: ignore[method-assign]
    await desk.queue(item("a"))
    first = asyncio.create_task(desk.worker.once())
    await began.wait()
    await desk.queue(item("b"))
    desk.worker._astray_until = time.monotonic() + 10
    await desk.worker.once()
    go.set()
    await first
    assert sorted(books.keys) == ["a", "b"]
    assert await desk.waiting() == []


async def test_what_is_noted_of_an_outcome_is_one_transaction_with_it(
    desk: Desk, hasty: None
) -> None:
    desk.books.settle_fails = 2
    await desk.queue(item("a"))
    await asyncio.wait_for(desk.worker.once(), 10)
    assert desk.books.settlements == [("a", Result.DONE)]
    assert await desk.waiting() == []


async def test_what_a_transaction_queued_that_was_rolled_back_is_not_sent(desk: Desk) -> None:
    async def fail() -> None:
        async with desk.database.transaction() as connection:
            await queue(connection, "partner", [item("a")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await desk.worker.once() == 0


async def test_an_item_that_cannot_go_yet_does_not_stop_the_others_of_its_agency(
    desk: Desk,
) -> None:
    """The second one's time has come before the first one's, the third one's after it."""
    await desk.queue(item("a/1"), item("a/2"), item("a/3"), item("b/1"))
    for key, seconds in (("a/1", 20), ("a/2", 30), ("a/3", 10), ("b/1", 5)):
        await run_sql(
            desk.database,
            "UPDATE delivery SET next_at = now() - make_interval(secs => :s) WHERE key = :key",
            key=key,
            s=seconds,
        )
    await desk.worker.once()
    assert desk.books.keys == ["a/1", "b/1"]
    assert [(key, attempts) for key, _, _, attempts in await desk.waiting()] == [
        ("a/2", 0),
        ("a/3", 0),
    ]
    await desk.worker.once()
    assert desk.books.keys == ["a/1", "b/1", "a/2", "a/3"]


class Chaos:
    """A partner that fails in every way, and keeps books of what really took effect."""

    name = "partner"
    batch = 6
    parallel = 3

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.entries: list[tuple[str, str, int, bool]] = []
        """Kind, key, version, and whether it came marked as maybe doubled."""
        self.quiet = False

    def ability(self, kind: str) -> Ability:
        return Ability.LOOK_UP if kind == "asked" else Ability.NONE

    def group(self, item: Claimed) -> Hashable:
        return item.kind

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        await asyncio.sleep(self.chance.random() / 100)
        fate = 1.0 if self.quiet else self.chance.random()
        if fate < 0.1:
            return [Outcome(Result.RETRY, "503", partner_down=True)] * len(items)
        if fate < 0.15:
            return [Outcome(Result.RETRY, "429", pause=0.02)] * len(items)
        if fate < 0.2:
            return (
                [Outcome(Result.WHOLE, "400")] * len(items)
                if len(items) > 1
                else [Outcome(Result.RETRY)]
            )
        taken = self.chance.randrange(len(items) + 1) if fate < 0.4 else len(items)
        for item in items[:taken]:
            self.entries.append((item.kind, item.key, item.version, item.maybe_doubled))
        await asyncio.sleep(self.chance.random() / 100)
        if fate < 0.3:  # cut off: nobody can tell how far it came
            return [Outcome(Result.UNKNOWN, "cut off")] * len(items)
        return [DONE] * taken + [Outcome(Result.RETRY, "later")] * (len(items) - taken)

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        await asyncio.sleep(self.chance.random() / 200)
        if not self.quiet and self.chance.random() < 0.2:
            return [Outcome(Result.UNKNOWN, "still")] * len(items)
        known = {(key, version) for _, key, version, _ in self.entries}
        return [
            DONE if (item.key, item.asked_version) in known else Outcome(Result.NOT_THERE)
            for item in items
        ]

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_fails_everything_arrives_in_order_and_nothing_twice_unmarked(
    opened: Opened, hasty: None, seed: int
) -> None:
    first = await opened()
    databases = [first, opened.again(address(first))]
    partner = Chaos(seed)
    chance = random.Random(seed)

    async def worker(database: Database) -> None:
        while True:
            breaker = Breaker(failures_to_open=4, pause_seconds=0.02, longest_seconds=0.05)
            running = asyncio.create_task(Deliverer(database, partner, telemetry(), breaker).run())
            try:
                await asyncio.sleep(0.1 + chance.random() / 2)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    workers = [asyncio.create_task(worker(database)) for database in databases]
    newest: dict[str, int] = {}
    for round_ in range(25):
        items = []
        for subject in chance.sample([f"d{number}" for number in range(10)], 3):
            agency = f"H{int(subject[1:]) % 3}"
            step = Item(agency, subject, "blind", f"{subject}/{round_}", b"", 1)
            version = newest.get(subject, 0) + 1
            newest[subject] = version
            snapshot = Item(agency, subject, "asked", subject, b"", version, waits=False)
            items += [step, snapshot]
        async with first.transaction() as connection:
            await queue(connection, partner.name, items)
        await asyncio.sleep(chance.random() / 20)
    await asyncio.sleep(1.0)
    partner.quiet = True

    async def delivered() -> bool:
        return not await rows(first, "SELECT 1 FROM delivery")

    await until(delivered, seconds=40)
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    steps: dict[str, list[int]] = {}
    snapshots: dict[str, list[int]] = {}
    seen: set[tuple[str, int]] = set()
    for kind, key, version, marked in partner.entries:
        if kind == "blind":
            assert marked or (key, version) not in seen, f"{key} came twice unmarked"
            subject, _, number = key.partition("/")
            steps.setdefault(subject, []).append(int(number))
        else:
            snapshots.setdefault(key, []).append(version)
        seen.add((key, version))
    for numbers in steps.values():
        first_times = list(dict.fromkeys(numbers))
        assert first_times == sorted(first_times)
    assert {subject: versions[-1] for subject, versions in snapshots.items()} == newest
    for subject, versions in snapshots.items():
        assert versions == sorted(set(versions)), f"{subject}: {versions}"
    assert sum(len(set(numbers)) for numbers in steps.values()) == 25 * 3
