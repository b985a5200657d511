"""Measure the whole chain beside reference pipelines; print one table, and write it as JSON.

    .venv/bin/python -m benchmarks.chain [--count 20000] [--rounds 3] [--chains least ours …]
        [--connections 32] [--delay 0.02] [--rate 100] [--idle 60] [--json FILE]
    .venv/bin/python -m benchmarks.chain --check | --accept

Six services as processes of their own on a real RabbitMQ and a real PostgreSQL (with fsync), with
everything on: rights, message log, history, measurements. Every chain runs alone on the same two
servers; they take turns. ``--check`` compares with the kept ratio and ends with 1 where ours has
become slower; ``--accept`` keeps the ratio found now.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import uvloop

from benchmarks.chain import others, ours, table
from benchmarks.chain.gate import Reference, ratios, verdict
from benchmarks.chain.idle import idle
from benchmarks.chain.rounds import Chain, Round, play
from benchmarks.chain.statements import counted
from benchmarks.chain.summary import summary

OURS, TWICE, STEPS = "ours", "ours, 2 of each", "ours, with steps"
CHAINS = ("least", OURS, STEPS, TWICE, "celery", "faststream")
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
                except (others.NotInstalled, RuntimeError) as error:
                    if name not in others.PIPELINES:
                        raise
                    missing[name] = str(error)
                    found.pop(name)

    async def once(self, name: str, chain: Chain) -> None:
        """What is not repeated: statements, a slow and a middling load, and idleness."""
        if self.options.check or self.options.accept:
            return
        count = min(self.options.count, _COUNTED)
        async with counted(self.where.stack) as statements:
            await self.play(chain, count)
        told = sum(statements[one] for one in chain.databases) / count
        self.result.setdefault("statements", {})[name] = told
        if name == OURS:
            quarter = median(one["rate"] for one in self.result["chains"][OURS]) / 4
            for rate in (self.options.rate, quarter):
                paced = await self.play(chain, int(rate * _PACED_SECONDS), rate)
                self.result.setdefault("paced", {})[f"ours at {rate:.0f}/s"] = [summary(paced)]
            if self.options.idle:
                self.result["idle"] = await idle(chain, self.options.idle)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _code() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],  # noqa: S607 - as in a shell
        capture_output=True,
        text=True,
        check=False,
    )
    return f"code {told.stdout.strip()}" if told.returncode == 0 else "code unknown"


async def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, and take everything away again."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with ours.place(folder, options.delay) as where:
            run = Run(options, where, folder)
            run.result |= {
                "command": " ".join(["python -m benchmarks.chain", *sys.argv[1:]]),
                "code": _code(),
                "cores": len(os.sched_getaffinity(0)),
                "agencies": len(where.agencies),
                "bytes": len(others.example()),
                **{name: getattr(options, name) for name in ("count", "rounds", "connections")},
                "delay": options.delay,
            }
            await run.rounds(options.chains)
            return run.result


def checked(options: argparse.Namespace, result: dict[str, Any], kept: Reference) -> int:
    """Hold what was found against what is kept, or keep it; what the program ends with."""
    found = ratios(result["chains"][OURS], result["chains"]["least"])
    if options.accept:
        replace(kept, cpu_ratio=round(median(found), 2)).keep()
        print(f"kept: {median(found):.2f} times the CPU time of the least chain")
        return 0
    passed, sentence = verdict(found, kept)
    print(sentence)
    return 0 if passed else 1


def main() -> int:
    """What was asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--chains", nargs="+", choices=CHAINS, default=list(CHAINS))
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--json", type=Path, default=table.RESULT)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--accept", action="store_true")
    options = parser.parse_args()
    gate = options.check or options.accept
    kept = Reference.kept()
    options.count = options.count or (kept.count if gate else 20_000)
    options.rounds = options.rounds or (kept.rounds if gate else 3)
    if gate:
        options.chains = ["least", OURS]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(measured(options))
    if gate:
        return checked(options, result, kept)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(table.markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
