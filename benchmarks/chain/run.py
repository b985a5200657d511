"""What one run does, one thing after the other."""

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import psutil

from benchmarks.chain import others, ours
from benchmarks.chain.backlog import backlog
from benchmarks.chain.gate import Pair, ratios
from benchmarks.chain.idle import idle
from benchmarks.chain.rounds import Chain, Round, play
from benchmarks.chain.soak import soak
from benchmarks.chain.statements import counted
from benchmarks.chain.stored import fill
from benchmarks.chain.summary import summary

OURS, TWICE, STEPS = "ours", "ours-twice", "ours-steps"
CHAINS = ("least", OURS, STEPS, TWICE, "celery", "faststream")
_MAY_BE_MISSING = [one.name for one in others.PIPELINES.values() if one.framework]
_FAILURES = (others.NotInstalled, RuntimeError, OSError, psutil.Error)  # OSError: a timeout as well
_WARM, _COUNTED = 300, 1000
_PACED_SECONDS = 20


@dataclass
class Run:
    """A run and what it has found."""

    options: argparse.Namespace
    where: ours.Place
    folder: Path
    result: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def started(self, name: str) -> AsyncIterator[Chain]:
        """A chain, running and warm."""
        pipeline = others.PIPELINES.get(name)
        running = (
            ours.ours(self.where, 2 if name == TWICE else 1)
            if pipeline is None
            else others.running(pipeline, self.where.stack, self.folder, self.options.delay)
        )
        async with running as chain:
            wanted = ours.with_steps(chain, self.where) if name == STEPS else chain
            await self.play(wanted, _WARM)
            yield wanted

    async def play(self, chain: Chain, count: int, rate: float | None = None) -> Round:
        """A round, just after a checkpoint."""
        connection = await asyncpg.connect(self.where.stack.postgres.dsn)
        try:
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
        return await play(chain, count, self.options.connections, rate)

    async def rounds(self, chains: Sequence[str]) -> None:
        """All rounds of all chains, in turns; after the last one what is asked once."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in chains}
        missing: dict[str, str] = {}
        self.result |= {"chains": found, "not_run": missing}
        for number in range(self.options.rounds):
            for name in [name for name in chains if name not in missing]:
                try:
                    async with self.started(name) as chain:
                        one = await self.play(chain, self.options.count)
                        found[name].append(summary(one))
                        _say(f"{name}: {one.rate:.0f}/s, {one.cpu_per_1000:.2f} s CPU per 1,000")
                        if number == self.options.rounds - 1:
                            await self.once(name, chain)
                except _FAILURES as error:
                    if name not in _MAY_BE_MISSING:
                        raise
                    missing[name] = f"{type(error).__name__}: {error}"
                    found.pop(name)

    async def pairs(self) -> list[Pair]:
        """Rounds of ours and of the least chain in turns, until enough of them were quiet; twice as
        many at most."""
        found: list[Pair] = []
        while len(found) < 2 * self.options.rounds:
            both: dict[str, dict[str, Any]] = {}
            for name in ("least", OURS):
                async with self.started(name) as chain:
                    both[name] = summary(await self.play(chain, self.options.count))
            found.append((both[OURS], both["least"]))
            quiet = ratios(found, self.options.busy)
            others_took = max(one["elsewhere"] for one in both.values())
            _say(f"{found[-1][0]['cpu'] / found[-1][1]['cpu']:.2f} times, {others_took:.0%} others")
            if len(quiet) >= self.options.rounds:
                break
        return found

    async def once(self, name: str, chain: Chain) -> None:
        """What is not repeated: statements, a slow and a middling load, and idleness."""
        count = min(self.options.count, _COUNTED)
        async with counted(self.where.stack) as statements:
            await self.play(chain, count)
        told = {one: statements[one] / count for one in chain.databases}
        self.result.setdefault("statements", {})[name] = told
        if name == OURS:
            quarter = median(one["rate"] for one in self.result["chains"][OURS]) / 4
            for rate in (self.options.rate, quarter):
                paced = await self.play(chain, int(rate * _PACED_SECONDS), rate)
                self.result.setdefault("paced", {})[f"ours at {rate:.0f}/s"] = [summary(paced)]
            if self.options.idle:
                self.result["idle"] = await idle(chain, self.options.idle)

    async def stored(self, count: int) -> None:
        """Rounds of ours and of the least chain, once so many dossiers are there."""
        async with self.started(OURS) as chain:
            await fill(chain, count, self.options.connections)
        _say(f"{count} stored")
        found: dict[str, Any] = {"count": count, "least": [], OURS: []}
        for _ in range(self.options.rounds):
            for name in ("least", OURS):
                async with self.started(name) as chain:
                    one = await self.play(chain, self.options.count)
                    found[name].append(summary(one))
                    _say(f"{name}: {one.rate:.0f}/s, {one.cpu_per_1000:.2f} s CPU per 1,000")
        self.result.setdefault("stored", []).append(found)

    async def long(self) -> None:
        """What takes long, where it was asked for."""
        options = self.options
        for count in sorted(options.stored):
            await self.stored(count)
        if options.backlog or options.soak:
            steady = median(one["rate"] for one in self.result["chains"][OURS])
            async with self.started(OURS) as chain:
                if options.backlog:
                    self.result["backlog"] = await backlog(
                        chain, self.where, options.backlog, options.connections, steady
                    )
                if options.soak:
                    self.result["soak"] = await soak(
                        chain, options.soak, options.rate, options.connections
                    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
