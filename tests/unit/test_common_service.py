"""Workers that are kept alive, and usage that is told at most once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from common import service
from common.contracts.usage import UsageMeasured
from common.settings import TelemetrySettings
from common.telemetry import Telemetry


async def test_a_worker_that_fails_or_ends_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_RESTART_LEAST", 0.001)
    monkeypatch.setattr(service, "_RESTART_MOST", 0.002)
    starts = 0

    async def worker() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise RuntimeError
        if starts == 2:
            # What a library raises whose connection was lost; nobody cancelled this task.
            raise asyncio.CancelledError
        if starts > 4:
            await asyncio.sleep(60)

    task = asyncio.create_task(service._kept_alive("thing", "worker", worker))
    for _ in range(200):
        await asyncio.sleep(0.005)
        if starts == 5:
            break
    assert starts == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@dataclass
class Outbox:
    """Takes what is told; can fail before or after it was written."""

    told: list[UsageMeasured] = field(default_factory=list)
    fail: str | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        drafts: list[UsageMeasured] = []

        class Unit:
            def tell(self, event: UsageMeasured, **_: object) -> None:
                drafts.append(event)

        yield Unit()
        await asyncio.sleep(0.001)
        if self.fail == "before the commit":
            raise ConnectionError
        self.told += drafts
        if self.fail == "after the commit":
            raise ConnectionError


@dataclass
class Core:
    """As much of a service's core as usage needs."""

    name: str = "thing"
    outbox: Outbox = field(default_factory=Outbox)
    telemetry: Telemetry = field(default_factory=lambda: Telemetry("thing", TelemetrySettings()))

    def totals(self) -> dict[str, int]:
        """What a reader adds up who takes each interval once."""
        intervals = {event.interval: event for event in self.outbox.told}
        sums: dict[str, int] = {}
        for event in intervals.values():
            for count in event.counts:
                sums[count.name] = sums.get(count.name, 0) + count.value
        return sums


@pytest.fixture
def core() -> Core:
    return Core()


async def test_each_interval_tells_what_was_counted_in_it(core: Core) -> None:
    usage = service._Usage(core)  # type: ignore[arg-type]
    core.telemetry.usage["a"] += 2
    await usage.tell()
    core.telemetry.usage["a"] += 3
    await usage.tell()
    await usage.tell()
    first, second, third = core.outbox.told
    assert [event.interval for event in core.outbox.told] == [1, 2, 3]
    assert len({(event.service, event.instance, event.boot) for event in core.outbox.told}) == 1
    assert core.totals() == {"a": 5}
    assert first.ended_at == second.started_at <= second.ended_at == third.started_at
    assert third.counts == ()


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
async def test_a_failure_to_tell_neither_loses_nor_doubles_anything(core: Core, when: str) -> None:
    usage = service._Usage(core)  # type: ignore[arg-type]
    core.telemetry.usage["a"] += 2
    core.outbox.fail = when
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await usage.tell()
        core.telemetry.usage["a"] += 1
    core.outbox.fail = None
    await usage.tell()
    await usage.tell()
    assert core.totals() == {"a": 4}
    for event in core.outbox.told:  # told again or not, an interval says the same
        assert [event] == [e for e in set(core.outbox.told) if e.interval == event.interval]


async def test_telling_twice_at_the_same_time_tells_twice_the_half_and_not_the_double(
    core: Core,
) -> None:
    usage = service._Usage(core)  # type: ignore[arg-type]
    core.telemetry.usage["a"] += 7
    await asyncio.gather(usage.tell(), usage.tell())
    assert core.totals() == {"a": 7}
    assert [event.interval for event in core.outbox.told] == [1, 2]
    assert core.telemetry.usage == {}
