"""The delivery engine keeps order, turns and doubts; its statements stay cheap."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common.database import Database
from common.delivery import (
    Ability,
    Breaker,
    Claimed,
    Deliverer,
    Item,
    Outcome,
    Result,
    queue,
    rows,
)
from common.settings import DatabaseSettings, TelemetrySettings
from common.telemetry import Telemetry
from tests.support.databases import Databases
from tests.support.portal import prepared

DONE = Outcome(Result.DONE)
Answer = Callable[[Sequence[Claimed]], Sequence[Outcome]]


class Friend:
    """A partner that answers as told and remembers what it was sent, call by call."""

    name = "friend"

    def __init__(self, *, batch: int = 10, parallel: int = 4) -> None:
        self.batch, self.parallel = batch, parallel
        self.abilities = {"asked": Ability.LOOK_UP}
        self.calls: list[list[Claimed]] = []
        self.asked: list[list[Claimed]] = []
        self.noted: list[tuple[str, Result]] = []
        self.answer: Answer = lambda items: [DONE] * len(items)
        self.answer_asked: Answer = lambda items: [DONE] * len(items)
        self.seconds = 0.0
        self.running = self.most_running = 0
        self.trouble: list[Exception] = []

    def ability(self, kind: str) -> Ability:
        return self.abilities.get(kind, Ability.NONE)

    def group(self, item: Claimed) -> str:
        return item.kind

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        assert len(items) <= self.batch
        self.calls.append(list(items))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        return self.answer(items)

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        self.asked.append(list(items))
        return self.answer_asked(items)

    async def settled(self, connection: Any, outcomes: Sequence[tuple[Claimed, Outcome]]) -> None:
        if self.trouble:
            raise self.trouble.pop()
        self.noted += [(item.key, outcome.result) for item, outcome in outcomes]

    @property
    def sent(self) -> list[str]:
        return [item.key for call in self.calls for item in call]


class Desk:
    """A database with a delivery table, and workers on it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def queue(self, *items: Item) -> None:
        async with self.database.transaction() as connection:
            await queue(connection, "friend", items)

    async def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        async with self.database.transaction() as connection:
            found = await connection.execute(text(statement), values)
            return found.all() if found.returns_rows else []

    async def states(self) -> dict[str, str]:
        return {row.key: row.state for row in await self.rows("SELECT * FROM delivery ORDER BY id")}

    async def now(self) -> None:
        """Let time pass for all that was put off."""
        await self.rows("UPDATE delivery SET next_at = now() WHERE state <> 'held'")

    def worker(self, friend: Friend, breaker: Breaker | None = None) -> Deliverer:
        telemetry = Telemetry("test", TelemetrySettings())
        return Deliverer(self.database, friend, telemetry, breaker or Breaker())


@pytest.fixture
async def desk(databases: Databases) -> AsyncIterator[Desk]:
    template = await databases.template("portal", prepared)
    url = await databases.create("engine", template=template)
    database = Database(DatabaseSettings(database_url=SecretStr(url)), name="test")
    yield Desk(database)
    await database.close()


def item(
    key: str, *, subject: str = "s", kind: str = "blind", agency: str = "H10", **more: Any
) -> Item:
    return Item(agency, subject, kind, key, key.encode(), **more)


def items(subject: str, first: int, last: int, **more: Any) -> list[Item]:
    return [
        item(f"{subject}/{number:03}", subject=subject, **more) for number in range(first, last + 1)
    ]


async def test_more_of_a_subject_than_a_call_takes_goes_one_call_after_the_other(
    desk: Desk,
) -> None:
    friend = Friend()
    friend.seconds = 0.02
    await desk.queue(*items("a", 1, 25), *items("b", 1, 6), *items("c", 1, 6))
    worker = desk.worker(friend)
    while await desk.states():
        await worker.once()
    of_a = [key for key in friend.sent if key.startswith("a")]
    assert of_a == [f"a/{number:03}" for number in range(1, 26)]
    assert sorted(friend.sent) == sorted(set(friend.sent))
    for call in friend.calls:
        assert len({one.subject for one in call if one.subject != "a"}) <= 1


async def test_what_follows_a_failed_item_of_its_subject_is_not_sent(desk: Desk) -> None:
    def answer(claimed: Sequence[Claimed]) -> Sequence[Outcome]:
        if not any(one.key == "a/003" for one in claimed):
            return [DONE] * len(claimed)
        whole = Result.WHOLE if len(claimed) > 1 else Result.REFUSED
        return [Outcome(whole)] * len(claimed)

    friend = Friend(batch=100)
    friend.answer = answer
    await desk.queue(*items("a", 1, 8), *items("b", 1, 8))
    await desk.worker(friend).once()
    assert await desk.states() == {
        "a/003": "held",
        **{f"a/{number:03}": "due" for number in range(4, 9)},
    }
    last = {key: at for at, call in enumerate(friend.calls) for key in (one.key for one in call)}
    assert last["a/003"] >= max(at for key, at in last.items() if key > "a/003" and key[0] == "a")
    attempts = await desk.rows("SELECT attempts FROM delivery WHERE state = 'due'")
    assert {row.attempts for row in attempts} == {0}


async def test_what_follows_an_item_without_outcome_waits_for_it(desk: Desk) -> None:
    friend = Friend(batch=2)
    friend.answer = lambda claimed: [Outcome(Result.UNKNOWN)] * len(claimed)
    await desk.queue(*items("a", 1, 6))
    worker = desk.worker(friend)
    await worker.once()
    assert [[one.key for one in call] for call in friend.calls] == [["a/001", "a/002"]]
    friend.answer = lambda claimed: [DONE] * len(claimed)
    await worker.once()
    assert len(friend.calls) == 1
    await desk.now()
    while await desk.states():
        await worker.once()
    assert friend.sent == ["a/001", "a/002", *(f"a/{number:03}" for number in range(1, 7))]


async def test_an_item_whose_forerunner_somebody_has_in_hand_is_left_alone(desk: Desk) -> None:
    friend = Friend()
    await desk.queue(*items("a", 1, 3), *items("b", 1, 1))
    async with desk.database.transaction() as other:
        await other.execute(text("SELECT FROM delivery WHERE key = 'a/001' FOR UPDATE"))
        await desk.worker(friend).once()
    assert not any(key.startswith("a") for key in friend.sent)
    await desk.worker(friend).once()
    assert [key for key in friend.sent if key[0] == "a"] == ["a/001", "a/002", "a/003"]


async def test_an_item_that_need_not_wait_does_not(desk: Desk) -> None:
    friend = Friend()
    friend.answer = lambda claimed: [
        Outcome(Result.REFUSED) if one.kind == "blind" else DONE for one in claimed
    ]
    await desk.queue(*items("a", 1, 2))
    worker = desk.worker(friend)
    await worker.once()
    await desk.queue(item("a", subject="a", kind="snapshot", waits=False), *items("a", 3, 3))
    await worker.once()
    assert "a" in friend.sent
    assert "a/003" not in friend.sent


async def test_agencies_take_turns_and_calls_are_full_all_the_same(desk: Desk) -> None:
    friend = Friend(batch=100, parallel=1)
    big = [item(f"big/{n}", subject=f"big/{n}", agency="H10") for n in range(300)]
    small = [item(f"s/{n}", subject=f"s/{n}", agency=f"H{11 + n % 9}") for n in range(18)]
    await desk.queue(*big, *small)
    await desk.worker(friend).once()
    keys = {one.key for call in friend.calls for one in call}
    assert {f"s/{n}" for n in range(18)} <= keys
    assert len(keys) >= 90


async def test_every_agency_gets_its_share_over_a_round(desk: Desk) -> None:
    friend = Friend(batch=40, parallel=1)
    await desk.queue(
        *(
            item(f"{agency}/{n}", subject=f"{agency}/{n}", agency=f"H{agency}")
            for agency in range(10, 35)
            for n in range(40)
        )
    )
    worker = desk.worker(friend)
    for _ in range(10):
        await worker.once()
    shares = Counter(key[:2] for key in friend.sent)
    assert len(shares) == 25
    assert max(shares.values()) <= min(shares.values()) + 2


async def test_no_more_calls_than_allowed_run_at_once(desk: Desk) -> None:
    friend = Friend(batch=5, parallel=2)
    friend.seconds = 0.02
    kinds = [f"kind {n}" for n in range(6)]
    await desk.queue(*(item(kind, subject=kind, kind=kind) for kind in kinds))
    await desk.worker(friend).once()
    assert sorted(friend.sent) == kinds
    assert friend.most_running == 2


async def test_a_partner_that_asks_for_patience_is_not_called_with_the_rest(desk: Desk) -> None:
    friend = Friend(batch=8)
    breaker = Breaker()

    def answer(claimed: Sequence[Claimed]) -> Sequence[Outcome]:
        if len(claimed) == 8:
            return [Outcome(Result.WHOLE)] * 8
        return [Outcome(Result.RETRY, "HTTP 503", pause=30.0)] * len(claimed)

    friend.answer = answer
    await desk.queue(*(item(f"k{n}", subject=f"s{n}") for n in range(8)))
    await desk.worker(friend, breaker).once()
    assert [len(call) for call in friend.calls] == [8, 4]
    assert breaker.wait() > 25
    left = await desk.rows("SELECT state, attempts FROM delivery")
    assert {(row.state, row.attempts) for row in left} == {("due", 0)}


async def test_a_version_that_was_never_sent_is_sent_however_often_one_must_ask(
    desk: Desk,
) -> None:
    friend = Friend()
    worker = desk.worker(friend)
    await desk.queue(item("k", kind="asked", version=1))
    friend.answer = lambda claimed: [Outcome(Result.UNKNOWN)]
    await worker.once()
    await desk.queue(item("k", kind="asked", version=2))
    friend.answer = lambda claimed: [DONE]
    friend.answer_asked = lambda claimed: [Outcome(Result.UNKNOWN)]
    for _ in range(2):
        await desk.now()
        await worker.once()
    friend.answer_asked = lambda claimed: [DONE]
    await desk.now()
    await worker.once()
    assert await desk.states() == {"k": "due"}
    await worker.once()
    assert [one.version for call in friend.calls for one in call] == [1, 2]
    assert len(friend.asked) == 3
    assert await desk.states() == {}


async def test_a_newer_version_sent_blindly_is_sent_once(desk: Desk) -> None:
    friend = Friend()
    worker = desk.worker(friend)
    await desk.queue(item("k", version=1))
    friend.answer = lambda claimed: [Outcome(Result.UNKNOWN)]
    await worker.once()
    await desk.queue(item("k", version=2))
    friend.answer = lambda claimed: [DONE]
    await desk.now()
    await worker.once()
    assert await desk.states() == {}
    assert [(one.version, one.maybe_doubled) for call in friend.calls for one in call] == [
        (1, False),
        (2, True),
    ]


async def test_a_version_that_comes_during_the_call_goes_out_next(desk: Desk) -> None:
    friend = Friend()
    friend.seconds = 0.1
    worker = desk.worker(friend)
    await desk.queue(item("k", version=1))
    call = asyncio.create_task(worker.once())
    while not friend.calls:
        await asyncio.sleep(0.005)
    await desk.queue(item("k", version=2))
    await call
    assert await desk.states() == {"k": "due"}
    await worker.once()
    assert [one.version for call in friend.calls for one in call] == [1, 2]
    assert await desk.states() == {}


async def test_a_version_that_comes_during_the_settlement_goes_out_next(desk: Desk) -> None:
    """The row is being replaced, not yet committed, when the worker wants to delete it."""
    friend = Friend()
    worker = desk.worker(friend)
    await desk.queue(item("k", version=1))
    async with desk.database.transaction() as consumer:
        friend.seconds = 0.1
        call = asyncio.create_task(worker.once())
        while not friend.calls:
            await asyncio.sleep(0.005)
        await queue(consumer, "friend", [item("k", version=2)])
        while not await desk.rows(
            "SELECT 1 FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ):
            await asyncio.sleep(0.01)
    await call
    assert await desk.states() == {"k": "due"}
    await worker.once()
    assert [one.version for sent in friend.calls for one in sent] == [1, 2]
    assert await desk.states() == {}


async def test_what_a_lost_worker_was_sending_blindly_is_sent_again_as_doubtful(
    desk: Desk,
) -> None:
    friend = Friend()
    await desk.queue(item("k"))
    await desk.rows("UPDATE delivery SET state = 'sending', worker = :ghost", ghost=uuid4())
    worker = desk.worker(friend)
    friend.answer = lambda claimed: [Outcome(Result.RETRY, partner_down=True)]
    await worker.once()
    (row,) = await desk.rows("SELECT state, maybe_doubled FROM delivery")
    assert (row.state, row.maybe_doubled) == ("due", True)
    friend.answer = lambda claimed: [DONE]
    await desk.now()
    await worker.once()
    assert [one.maybe_doubled for call in friend.calls for one in call] == [True, True]


async def test_a_settlement_that_cannot_be_noted_is_tried_again(desk: Desk) -> None:
    friend = Friend()
    friend.trouble = [RuntimeError("a fault of the adapter")]
    await desk.queue(item("k"))
    await desk.worker(friend).once()
    assert friend.sent == ["k"]
    assert friend.noted == [("k", Result.DONE)]
    assert await desk.states() == {}


@pytest.mark.parametrize("outcomes", [[], [DONE, DONE]])
async def test_an_adapter_that_miscounts_leaves_nothing_stuck(
    desk: Desk, outcomes: list[Outcome]
) -> None:
    friend = Friend()
    friend.answer = lambda _: outcomes
    await desk.queue(item("k"))
    await desk.worker(friend).once()
    assert await desk.states() == {"k": "unknown"}


async def test_a_fault_in_the_midst_leaves_nothing_stuck(desk: Desk) -> None:
    friend = Friend()
    ability = friend.ability
    friend.answer = lambda claimed: [Outcome(Result.UNKNOWN)] * len(claimed)
    faults = [KeyError("a fault of the adapter")]

    def faulty(kind: str) -> Ability:
        if friend.calls and faults:
            raise faults.pop()
        return ability(kind)

    friend.ability = faulty  # type: ignore[method-assign]
    await desk.queue(item("k"))
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(30):
            await desk.worker(friend).run()
    assert await desk.states() == {"k": "sending"}
    friend.answer = lambda claimed: [DONE] * len(claimed)
    await desk.worker(friend).once()
    assert [one.maybe_doubled for call in friend.calls for one in call] == [False, True]
    assert await desk.states() == {}


async def test_a_worker_that_is_told_to_end_finishes_its_calls(desk: Desk) -> None:
    friend = Friend()
    friend.seconds = 0.2
    await desk.queue(item("k"))
    running = asyncio.create_task(desk.worker(friend).run())
    while not friend.calls:
        await asyncio.sleep(0.005)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert await desk.states() == {}
    assert await desk.rows("SELECT worker FROM delivery_worker") == []


async def test_a_woken_worker_delivers_soon(desk: Desk) -> None:
    friend = Friend()
    worker = desk.worker(friend)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(1.7)  # by now it looks only once a second
    await desk.queue(item("k"))
    worker.wake()
    async with asyncio.timeout(0.7):
        while await desk.states():
            await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_followers_of_held_items_are_put_off_and_let_go(desk: Desk) -> None:
    """However many stand behind held items, what can go is found."""
    friend = Friend(batch=50, parallel=1)
    friend.answer = lambda claimed: [
        Outcome(Result.REFUSED) if one.kind == "first" else DONE for one in claimed
    ]
    for n in range(400):
        await desk.queue(*items(f"h{n:03}", 1, 1, kind="first"), *items(f"h{n:03}", 2, 4))
    worker = desk.worker(friend)
    for _ in range(45):
        await worker.once()
    await desk.queue(*items("good", 1, 1))
    await worker.once()
    assert friend.sent[-1] == "good/001"
    put_off = await desk.rows("SELECT count(*) AS n FROM delivery WHERE next_at > now()")
    assert put_off[0].n >= 1000
    friend.answer = lambda claimed: [DONE] * len(claimed)
    await desk.rows("UPDATE delivery SET state = 'due', next_at = now() WHERE key = 'h007/001'")
    for _ in range(4):
        await worker.once()
    assert [key for key in friend.sent if key.startswith("h007")] == [
        "h007/001",
        *(f"h007/{n:03}" for n in range(1, 5)),
    ]


_FULL = ("ANALYZE delivery",)
_EMPTY_ON_PAGES = (
    "CREATE TEMP TABLE kept AS TABLE delivery",
    "DELETE FROM delivery",
    "ANALYZE delivery",
    "INSERT INTO delivery OVERRIDING SYSTEM VALUE TABLE kept",
)


@pytest.mark.parametrize("counted", [_FULL, _EMPTY_ON_PAGES], ids=["in use", "while empty"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_the_statements_find_their_rows_by_index_whatever_was_counted(
    desk: Desk, counted: tuple[str, ...], mode: str
) -> None:
    await desk.rows(
        """
        INSERT INTO delivery (partner, agency, subject, kind, key, body)
        SELECT 'friend', 'H' || d % 100, 's' || d, CASE s WHEN 0 THEN 'a' ELSE 'b' END,
               d || '/' || s, convert_to(repeat('x', 800), 'utf8')
        FROM generate_series(1, 5000) AS d, generate_series(0, 3) AS s
        """
    )
    async with desk.database.transaction() as connection:
        for statement in counted:
            await connection.execute(text(statement))
    turns = [("live", f"H{n}") for n in range(20)]
    plans: dict[str, str] = {}
    worker = uuid4()

    class Explained:
        """Passes statements on, with their plans."""

        def __init__(self, connection: Any, name: str) -> None:
            self.connection, self.name = connection, name

        async def execute(self, statement: Any, values: Any) -> Any:
            plan = await self.connection.execute(text(f"EXPLAIN {statement.text}"), values)
            plans[self.name] = "\n".join(plan.scalars())
            return await self.connection.execute(statement, values)

    async with desk.database.transaction() as connection:

        def explained(name: str) -> Any:
            return Explained(connection, name)

        await connection.execute(text(f"SET LOCAL plan_cache_mode = {mode}"))
        await rows.turns(explained("turns"), "friend", ("live", "H5"), 20)
        found = await rows.claim(explained("claim"), "friend", worker, turns, [20] * len(turns))
        await rows.defer(explained("defer"), "friend", turns)
        settled = [(one.item.id, 1, "done", 0.0, 0, False, None) for one in found]
        await rows.settle(explained("settle"), "friend", worker, settled)
        await rows.alive(explained("alive"), worker, 10.0)
    assert len(found) == 400
    for name, plan in plans.items():
        assert "Seq Scan on delivery" not in plan.replace("delivery_worker", ""), (name, plan)
        assert "delivery_partner_kind_key_key" not in plan, (name, plan)
        ways = re.findall(r"Index.* Scan using (delivery_\w+) on delivery .*\n *(\w+ \w+)", plan)
        assert {how for _, how in ways} <= {"Index Cond"}, (name, plan)  # none from end to end
    assert plans["settle"].count("delivery_pkey") == 3, plans["settle"]
