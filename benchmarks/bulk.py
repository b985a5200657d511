"""Dossiers by bulk requests beside the same by single requests, and what bulk costs who is live.

    .venv/bin/python -m benchmarks.bulk [--rounds 3] [--seconds 3] [--lines 5000]

Dossiers of 2 KiB at one gateway process with everything on, over kept connections and by NDJSON
requests, in turns within one run. Then single requests at a quarter of their rate: alone, and while
bulk requests come in all the time. What counts are ratios, and CPU time.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import uvloop

from backbone.postgres import EmbeddedPostgres
from benchmarks.intake import MEMORY, Bench, bearer, told
from benchmarks.peers import clients
from benchmarks.peers.clients import Load, cpu_of
from common.identifiers import new_id


async def send(port: int, lines: list[bytes]) -> int:
    """Send one bulk request; how many lines were taken in."""
    body = b"\n".join(lines)
    head = {
        **bearer(),
        "host": "bench",
        "connection": "close",
        "content-type": "application/x-ndjson",
        "content-length": str(len(body)),
        "idempotency-key": str(new_id()),
    }
    named = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /v1/dossiers/bulk HTTP/1.1\r\n{named}\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    return answer.count(b'"outcome":"taken-in"')


def dossiers(count: int) -> list[bytes]:
    """The lines of a bulk request."""
    asked = clients.requests("/", count, {})
    return [request.partition(b"\r\n\r\n")[2] for request in asked]


async def bulk(bench: Bench, count: int) -> Load:
    """One round of a bulk request."""
    lines = dossiers(count)
    watched = {"process": [bench.pids["gateway"]], "postgres": [bench.postgres.pid]}
    before = {who: cpu_of(pids) for who, pids in watched.items()}
    began = time.perf_counter()
    found = Load(accepted=await send(bench.ports["gateway"], lines))
    found.seconds = time.perf_counter() - began
    found.cpu = {who: cpu_of(pids) - before[who] for who, pids in watched.items()}
    if found.accepted != count:
        raise RuntimeError(f"{count - found.accepted} lines of {count} were not taken in")
    return found


async def without_end(bench: Bench, count: int, done: list[int]) -> None:
    """One bulk request after the other."""
    while True:
        done.append(await send(bench.ports["gateway"], dossiers(count)))


def row(name: str, loads: list[Load]) -> str:
    """A row of a figure without latencies."""
    return (
        f"{name:<22} {median(one.rate for one in loads):>8.0f}/s{'':<31}"
        f"  CPU per dossier: process {median(one.cpu_ms('process') for one in loads):.3f} ms,"
        f" PostgreSQL {median(one.cpu_ms('postgres') for one in loads):.3f} ms\n"
    )


async def main(rounds: int, seconds: float, lines: int) -> None:
    """Measure, and take everything away again."""
    with (
        tempfile.TemporaryDirectory() as place,
        EmbeddedPostgres(Path(place) / "pg", settings=MEMORY) as server,
    ):
        bench = Bench(Path(place), server)
        try:
            await bench.gateway("gateway")
            await bench.round("gateway", 300, connections=48)
            warm = await bench.round("gateway", 1000, connections=48)
            await bulk(bench, 500)
            count = max(int(warm.rate * seconds), 500)
            singles, bulks = [], []
            for _ in range(rounds):
                singles.append(await bench.round("gateway", count, connections=48))
                bulks.append(await bulk(bench, lines))
            sys.stdout.write(told("single", singles) + row("bulk", bulks))
            ratio = median(b.rate / s.rate for b, s in zip(bulks, singles, strict=True))
            cost = median(
                s.cpu_ms("process") / b.cpu_ms("process")
                for b, s in zip(bulks, singles, strict=True)
            )
            sys.stdout.write(
                f"bulk : single          {ratio:.1f} times its rate (aim: 3), "
                f"a {cost:.1f}th of its CPU\n"
            )
            rate = median(one.rate for one in singles) / 4
            asked = int(rate * seconds * 2)
            alone = await bench.round("gateway", asked, connections=48, rate=rate)
            done: list[int] = []
            pushed = asyncio.create_task(without_end(bench, 100, done))
            beside = await bench.round("gateway", asked, connections=48, rate=rate)
            pushed.cancel()
            await asyncio.gather(pushed, return_exceptions=True)
            sys.stdout.write(told(f"live, {rate:.0f}/s", [alone]))
            sys.stdout.write(told("live, bulk beside", [beside]))
            sys.stdout.write(f"bulk beside live       {sum(done) / beside.seconds:>8.0f}/s\n")
        finally:
            bench.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--lines", type=int, default=5000)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.rounds, options.seconds, options.lines))
