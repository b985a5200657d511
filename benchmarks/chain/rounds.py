"""A round: so many dossiers through one chain, and what that took."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psutil

from benchmarks.chain.usage import Memory, Written, machine, memory, percentile, written
from benchmarks.peers.clients import Load, code_of, cpu_of, load
from tests.support.stack import Stack

LOAD = "load"
"""Who hands the dossiers in: this process."""
_PATIENCE_SECONDS = 60.0
"""Without an arrival."""
_LOOK_SECONDS = 0.05
_AT_ONCE = 10_000
"""Requests that are held in memory."""


class Portal(Protocol):
    """What a chain delivers to."""

    async def known(self) -> tuple[int, float]:
        """How many items it knows, and when it accepted the last one (seconds since 1970)."""

    async def times(self) -> Mapping[str, float]:
        """When it accepted each dossier."""


async def _nowhere(_: Sequence[str]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Chain:
    """One that takes dossiers in and delivers them.

    Attributes:
        ports: where it takes them in.
        requests: so many of them, as they go over the wire.
        watched: process ids by role; their CPU time is the chain's.
        beside: the same of the outside systems.
        databases: names.
        at_rest: returns once nothing is left to do behind the portal's back.
        applied: when dossiers were applied, where there is such a stage.
    """

    name: str
    stack: Stack
    ports: Sequence[int]
    requests: Callable[[int], Awaitable[list[bytes]]]
    portal: Portal
    watched: Mapping[str, Sequence[int]]
    beside: Mapping[str, Sequence[int]]
    databases: Sequence[str]
    at_rest: Callable[[], Awaitable[None]]
    applied: Callable[[Sequence[str]], Awaitable[Mapping[str, float]]] = _nowhere


@dataclass(frozen=True)
class Round:
    """What a round showed.

    Attributes:
        seconds: from the first request to the last acceptance.
        cpu: seconds by role, from the first request until the chain was at rest.
        beside: the same of the load and the outside systems.
        elsewhere: share of the machine that others took meanwhile.
        stages: seconds of each dossier, by stage.
    """

    load: Load
    seconds: float
    cpu: Mapping[str, float]
    beside: Mapping[str, float]
    memory: Mapping[str, Memory]
    written: Written
    elsewhere: float
    stages: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests a second, from end to end."""
        return self.load.accepted / self.seconds

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds of the whole chain for 1,000 requests."""
        return sum(self.cpu.values()) / self.load.accepted * 1000


async def play(chain: Chain, count: int, connections: int, rate: float | None = None) -> Round:
    """Hand dossiers in and wait until the portal knows them all.

    Raises:
        RuntimeError: not all were taken in, or not all arrived.
    """
    asked = await chain.requests(count)
    count = len(asked)  # a profile hands in whole dossiers
    before, _ = await chain.portal.known()
    servers = await written(chain.stack, chain.databases)
    cpu, beside = _cpu(chain.watched), _cpu(chain.beside)
    all_of_it, clock, whole = machine(), time.monotonic(), time.process_time()
    begun, own = time.time(), time.process_time()
    found = await load(chain.ports, asked, connections=connections, rate=rate)
    own = time.process_time() - own
    if found.accepted < count:
        raise RuntimeError(f"{chain.name} refused: {dict(found.refused)}")
    last = await arrived(chain, before + count)
    await chain.at_rest()
    spent, aside = _less(_cpu(chain.watched), cpu), _less(_cpu(chain.beside), beside)
    ours = sum(spent.values()) + sum(aside.values()) + time.process_time() - whole
    capacity = (time.monotonic() - clock) * len(os.sched_getaffinity(0))
    return Round(
        found,
        last - begun,
        spent,
        {LOAD: own, **aside},
        memory(chain.watched),
        await written(chain.stack, chain.databases) - servers,
        max(0.0, machine() - all_of_it - ours) / capacity,
        await _stages(chain, asked, found),
    )


async def hand_in(
    chain: Chain, count: int, connections: int, rate: float | None = None
) -> list[float]:
    """Hand so many dossiers in, and wait for nobody; how long each answer took (seconds).

    Raises:
        RuntimeError: one was refused.
    """
    latencies: list[float] = []
    for begin in range(0, count, _AT_ONCE):
        asked = await chain.requests(min(_AT_ONCE, count - begin))
        found = await load(chain.ports, asked, connections=connections, rate=rate)
        if found.accepted < len(asked):
            raise RuntimeError(f"{chain.name} refused: {dict(found.refused)}")
        latencies += found.latencies
    return latencies


async def arrived(chain: Chain, count: int) -> float:
    """Wait until the portal knows so many; when it accepted the last one (seconds since 1970).

    Raises:
        RuntimeError: nothing arrived for a while.
    """
    there, moved = -1, 0.0
    while True:
        now, last = await chain.portal.known()
        if now >= count:
            return last
        if now > there:
            there, moved = now, time.monotonic()
        elif time.monotonic() - moved > _PATIENCE_SECONDS:
            raise RuntimeError(f"{chain.name}: {count - now} of {count} did not arrive")
        await asyncio.sleep(_LOOK_SECONDS)


async def _stages(chain: Chain, asked: Sequence[bytes], found: Load) -> dict[str, list[float]]:
    known = await chain.portal.times()
    codes = {
        code: found.answered[place] for place, one in enumerate(asked) if (code := code_of(one))
    }
    answered = {code: at for code, at in codes.items() if code in known}
    applied = await chain.applied(list(answered))
    stages = {
        "intake answers": found.latencies,
        "accepted → applied": [applied[code] - answered[code] for code in answered if applied],
        "applied → known": [known[code] - applied[code] for code in answered if applied],
        "accepted → known": [known[code] - answered[code] for code in answered],
    }
    return {stage: seconds for stage, seconds in stages.items() if seconds}


def shares(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 of a stage, milliseconds."""
    return {"p50": percentile(seconds, 0.5) * 1000, "p99": percentile(seconds, 0.99) * 1000}


def _cpu(watched: Mapping[str, Sequence[int]]) -> dict[str, float]:
    found = {}
    for role, pids in watched.items():
        try:
            found[role] = cpu_of(pids)
        except psutil.NoSuchProcess as error:
            raise RuntimeError(f"{role} has ended") from error
    return found


def _less(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {role: after[role] - before[role] for role in after}
