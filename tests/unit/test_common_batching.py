"""Group commit: every entry is answered, with its own answer, whatever happens to the others."""

import asyncio
from collections.abc import Sequence

import pytest

from common.batching import GroupCommit, Overloaded
from common.database import DatabaseAway


class Store:
    """Writes batches; can be slow, refuse an entry, or be away."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.running = self.most_running = 0
        self.bad: set[int] = set()
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, entries: Sequence[int]) -> list[str]:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.open.wait()
            await asyncio.sleep(0)
            if self.away:
                raise DatabaseAway("told to be")
            if self.bad & set(entries):
                raise ValueError(*self.bad & set(entries))
            self.batches.append(list(entries))
            return [f"answer {entry}" for entry in entries]
        finally:
            self.running -= 1


async def test_what_waits_at_the_same_moment_is_written_together() -> None:
    store = Store()
    group = GroupCommit(store.write, writers=2, largest=50)
    answers = await asyncio.gather(*(group.add(number) for number in range(400)))
    assert answers == [f"answer {number}" for number in range(400)]
    assert len(store.batches) <= 10
    assert max(map(len, store.batches)) <= 50
    assert store.most_running <= 2


async def test_one_bad_entry_refuses_no_other_and_few_transactions_find_it() -> None:
    store = Store()
    store.bad = {70}
    group = GroupCommit(store.write, writers=1)
    answers = await asyncio.gather(
        *(group.add(number) for number in range(128)), return_exceptions=True
    )
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, Exception)]
    assert refused == [70]
    assert isinstance(answers[70], ValueError)
    assert sorted(entry for batch in store.batches for entry in batch) == sorted(
        set(range(128)) - {70}
    )
    assert len(store.batches) <= 10


async def test_while_the_database_is_away_everybody_is_told_at_once() -> None:
    store, calls = Store(), 0
    store.away = True

    async def write(entries: Sequence[int]) -> list[str]:
        nonlocal calls
        calls += 1
        return await store.write(entries)

    group = GroupCommit(write, writers=1)
    answers = await asyncio.gather(
        *(group.add(number) for number in range(100)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {DatabaseAway}
    assert len(set(map(id, answers))) == 100  # each has an error of its own
    assert calls <= 2
    store.away = False
    assert await group.add(7) == "answer 7"


async def test_one_who_waits_no_longer_holds_up_nobody() -> None:
    store = Store()
    store.open.clear()
    group = GroupCommit(store.write, writers=1)
    waiting = [asyncio.create_task(group.add(number)) for number in range(10)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    waiting[5].cancel()
    store.open.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[5], asyncio.CancelledError)
    assert answers[6] == "answer 6"
    assert await group.add(11) == "answer 11"


async def test_more_than_may_wait_is_refused_at_once() -> None:
    store = Store()
    store.open.clear()
    group = GroupCommit(store.write, writers=1, largest=1, waiting=5)
    waiting = [asyncio.create_task(group.add(0))]
    await asyncio.sleep(0.01)  # being written now
    waiting += [asyncio.create_task(group.add(number)) for number in range(1, 6)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await asyncio.wait_for(group.add(7), 5)
    store.open.set()
    assert len(await asyncio.gather(*waiting)) == 6
    assert await group.add(8) == "answer 8"


async def test_no_entry_is_left_behind_however_writers_come_and_go() -> None:
    store = Store()
    group = GroupCommit(store.write, writers=2, largest=3)

    async def client(number: int) -> None:
        for turn in range(30):
            for _ in range((number + turn) % 4):
                await asyncio.sleep(0)
            assert await group.add(number * 100 + turn) == f"answer {number * 100 + turn}"

    async with asyncio.timeout(20):
        await asyncio.gather(*(client(number) for number in range(17)))
    assert sum(map(len, store.batches)) == 17 * 30


async def test_a_writer_that_forgets_an_answer_leaves_nobody_waiting() -> None:
    async def write(entries: Sequence[int]) -> list[str]:
        return ["one answer"]

    group = GroupCommit(write, writers=1)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(group.add(number) for number in range(3)))
    assert answers == ["one answer"] * 3  # each alone, since one answer fits one entry
