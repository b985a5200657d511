"""Measure the whole chain beside reference pipelines; print one table, and write it as JSON.

    .venv/bin/python -m benchmarks.chain [--count 20000] [--rounds 3] [--chains least ours …]
        [--connections 32] [--delay 0.02] [--rate 100] [--idle 60] [--json FILE]
        [--stored 100000 1000000] [--backlog 200000] [--soak 30]
    .venv/bin/python -m benchmarks.chain --check | --accept [--busy 0.15]

Six services as processes of their own on a real RabbitMQ and a real PostgreSQL (with fsync), with
everything on: rights, message log, history, measurements. Every chain runs alone on the same two
servers; they take turns. Only where asked for: the same with ``--stored`` dossiers there already, a
``--backlog`` that drains, ``--soak`` minutes at the ``--rate``. ``--check`` compares with the kept
ratio and ends with 1 where ours has become slower, with 2 where others took more than ``--busy`` of
the machine too often to tell; ``--accept`` keeps the ratio found now.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from benchmarks.chain import others, ours, table
from benchmarks.chain.gate import Pair, Reference, ratios, verdict
from benchmarks.chain.run import CHAINS, OURS, Run
from benchmarks.chain.stored import THROUGH


def _code() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],  # noqa: S607 - as in a shell
        capture_output=True,
        text=True,
        check=False,
    )
    return f"code {told.stdout.strip()}" if told.returncode == 0 else "code unknown"


async def measured(options: argparse.Namespace, result: dict[str, Any]) -> list[Pair]:
    """Measure, and take everything away again; pairs of rounds where it is for the gate."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with ours.place(folder, options.delay) as where:
            run = Run(options, where, folder, result)
            if options.check or options.accept:
                return await run.pairs()
            result |= {
                "command": " ".join(["python -m benchmarks.chain", *sys.argv[1:]]),
                "code": _code(),
                "cores": len(os.sched_getaffinity(0)),
                "agencies": len(where.agencies),
                "bytes": len(others.example()),
                **{name: getattr(options, name) for name in ("count", "rounds", "connections")},
                "delay": options.delay,
            }
            await run.rounds(options.chains)
            await run.long()
            return []


def judged(options: argparse.Namespace, pairs: list[Pair], kept: Reference) -> int:
    """Hold what was found against what is kept, or keep it; what the program ends with."""
    found = ratios(pairs, options.busy)
    status, sentence = verdict(found, kept)
    if options.accept and status < 2:
        now = {name: getattr(options, name) for name in ("count", "rounds")}
        replace(kept, cpu_ratio=round(median(found), 2), **now).keep()
        status, sentence = 0, f"kept: {median(found):.2f} times the CPU time of the least chain"
    print(sentence)
    return status


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
    parser.add_argument("--stored", type=int, nargs="+", default=[])
    for name in ("backlog", "soak"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--busy", type=float, default=0.15)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--accept", action="store_true")
    options = parser.parse_args()
    if sum(count > THROUGH for count in options.stored) > 1:
        parser.error(f"copies are made once: one size above {THROUGH:,}")
    gate = options.check or options.accept
    kept = Reference.kept()
    options.count = options.count or (kept.count if gate else 20_000)
    options.rounds = options.rounds or (kept.rounds if gate else 3)
    if options.stored or options.backlog or options.soak:  # which are held against these
        options.chains = list(dict.fromkeys(["least", OURS, *options.chains]))
    result: dict[str, Any] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        pairs = runner.run(measured(options, result))
    if gate:
        return judged(options, pairs, kept)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(table.markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
