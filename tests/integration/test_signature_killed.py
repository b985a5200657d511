"""Workers are killed at every step of an order that is answered later; any other goes on from
there."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.later_signers import Running, later_signers
from tests.support.signing_bench import Bench, bench_of
from tests.support.signing_worker import Nursery, nursery


@pytest.fixture(scope="module")
def the_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with later_signers(tmp_path_factory.mktemp("later")) as running:
        yield running


@pytest.fixture
async def bench(
    databases: Databases, tmp_path: Path, the_provider: Running
) -> AsyncIterator[Bench]:
    async with bench_of(databases, tmp_path, the_provider) as made:
        yield made


@pytest.fixture(scope="module")
def the_nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with nursery(tmp_path_factory.mktemp("nursery") / "workers.log") as running:
        yield running


@dataclass
class Doomed:
    """Workers in a process of their own, which dies at a step."""

    bench: Bench
    nursery: Nursery

    async def killed(self, state: str, when: str, **more: Any) -> None:
        """Have one work until it dies there."""
        told = self.bench.told(die=[state, when], calls_back=True, **more)
        process = await asyncio.to_thread(self.nursery.begin, told)
        ended = asyncio.create_task(asyncio.to_thread(self.nursery.ended))
        try:
            async with asyncio.timeout(150):
                assert await asyncio.shield(ended) == -signal.SIGKILL, self.nursery.said()
        finally:
            if not ended.done():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                await ended


@pytest.fixture
def doomed(bench: Bench, the_nursery: Nursery) -> Doomed:
    return Doomed(bench, the_nursery)


STEPS = [
    "prepared", "submitting", "awaiting-user", "signed-raw", "validated", "completed"
]  # fmt: skip


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", STEPS)
async def test_a_process_that_is_killed_at_any_step_is_followed_by_one_that_goes_on(
    bench: Bench, doomed: Doomed, state: str, when: str
) -> None:
    request_id = await bench.asked()
    await doomed.killed(state, when)
    never_left = (state, when) == ("submitting", "after")
    async with bench.workers(calls_back=True, news=4):
        done = await bench.until(request_id, "manual-review" if never_left else "completed")
    states = [one["to"] for one in await bench.records(request_id)]
    assert ("unknown" in states) == (never_left or (state, when) == ("awaiting-user", "before"))
    assert bench.provider.asked() == ([] if never_left else [1])
    assert done.submissions == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", ["assembled", "signed-raw", "validated"])
async def test_a_process_that_is_killed_over_an_assembled_document_is_followed_by_another(
    bench: Bench, doomed: Doomed, state: str, when: str
) -> None:
    """What one process prepared another finishes, by what the row and the file store hold."""
    request_id = await bench.asked()
    await doomed.killed(state, when, signs="hashes")
    left = await bench.request(request_id)
    assert (left.state == state) == (when == "after")
    assert left.sealed_preparation is not None
    async with bench.workers(calls_back=True, signs="hashes"):
        done = await bench.until(request_id, "completed")
    states = [one["to"] for one in await bench.records(request_id)]
    assert states[-4:] == ["signed-raw", "assembled", "validated", "completed"]
    assert states.count("assembled") == 1
    assert bench.provider.asked() == [1]
    assert (done.submissions, done.level) == (1, "b-b")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_is_killed_over_an_unknown_fate_is_followed_by_one_that_asks(
    bench: Bench, doomed: Doomed, when: str
) -> None:
    bench.provider.behave(lose_answers=True)
    request_id = await bench.asked()
    await doomed.killed("unknown", when)
    left = await bench.request(request_id)
    assert left.state == ("unknown" if when == "after" else "submitting")
    async with bench.workers(calls_back=True):
        done = await bench.until(request_id, "completed")
    states = [one["to"] for one in await bench.records(request_id)]
    assert states[2:] == ["submitting", "unknown", "signed-raw", "validated", "completed"]
    assert bench.provider.asked() == [1]
    assert done.submissions == 1


@pytest.mark.parametrize("confirms", ["accepted", "nothing"])
async def test_a_process_killed_over_an_order_that_cannot_be_asked_about_leaves_it_to_an_operator(
    bench: Bench, doomed: Doomed, confirms: str
) -> None:
    request_id = await bench.asked()
    # What was accepted by one that tells nothing cannot be followed either.
    step = "awaiting-user" if confirms == "accepted" else "manual-review"
    await doomed.killed(step, "before", confirms=confirms)
    async with bench.workers(calls_back=True, confirms=confirms):
        await bench.until(request_id, "manual-review")
    assert bench.provider.asked() == [1]
