"""Intake of one gateway process with everything on, beside the least that durable intake can be.

    .venv/bin/python -m benchmarks.intake [--rounds 4] [--seconds 3] [--connections 48]

Dossiers of 2 KiB, one embedded PostgreSQL (with fsync). The gateway checks token, rights and
schema, knows repetitions, seals personal data, writes submission, event and message log, and seals
the log; the floor (``benchmarks/peers/floor.py``) parses, stores and commits. Both run as one
process, take turns within one run, and neither has a broker. What counts is the ratio, and CPU time
rather than time on the wall.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

import uvloop

from backbone.leash import Leashed
from backbone.postgres import EmbeddedPostgres
from benchmarks.peers import clients
from benchmarks.peers.clients import Load
from benchmarks.peers.served import prepare
from tests.support.gateway import CLIENTS, SCOPES, sign, signing_key

MEMORY = {"shared_buffers": "256MB", "max_wal_size": "4GB"}


def bearer() -> dict[str, str]:
    """Header of the client whose dossiers these are."""
    token = sign(client_id="one-stop", scope=" ".join(SCOPES), agencies=["H56"])
    return {"authorization": f"Bearer {token}"}


class Bench:
    """Programs that take dossiers in, on one database server."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self.ports: dict[str, int] = {}
        self.pids: dict[str, int] = {}
        self.programs: dict[str, Leashed] = {}

    async def gateway(self, name: str, *options: str) -> None:
        """Start a gateway on a database of its own."""
        url = await self.postgres.create_database(f"bench_{name}", "gateway", "gateway")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await prepare(url, self.folder, json.dumps(CLIENTS))
        key = self.folder / "key.pem"
        key.write_text(signing_key())
        given = ("--database", url, "--folder", str(self.folder), "--key", str(key))
        await self._start(name, "served", *given, *options)

    async def floor(self, name: str) -> None:
        """Start the floor."""
        url = await self.postgres.create_database(f"bench_{name}", "gateway", "gateway")
        await self._start(name, "floor", "--database", url)

    async def _start(self, name: str, module: str, *options: str) -> None:
        port = self.ports[name] = clients.free_port()
        command = [sys.executable, "-m", f"benchmarks.peers.{module}", *options]
        program = Leashed([*command, "--port", str(port)], log=self.folder / f"{name}.log")
        self.programs[name] = program
        self.pids[name] = program.pid
        await clients.listening(port)

    async def round(
        self,
        name: str,
        count: int,
        *,
        connections: int,
        rate: float | None = None,
        settle: float = 0.0,
    ) -> Load:
        """Hand that many dossiers in."""
        path = "/dossiers" if name == "floor" else "/v1/dossiers"
        asked = clients.requests(path, count, bearer())
        return await clients.load(
            self.ports[name],
            asked,
            connections=connections,
            rate=rate,
            settle=settle,
            watched={"process": [self.pids[name]], "postgres": [self.postgres.pid]},
        )

    def stop(self) -> None:
        """End all of them."""
        for program in self.programs.values():
            program.stop()


def told(name: str, loads: list[Load]) -> str:
    """A row.

    Raises:
        RuntimeError: not everything was accepted, so that the figures say nothing.
    """
    refused = sum((+one.refused for one in loads), Counter[int]())
    if refused:
        raise RuntimeError(f"{name} refused: {dict(refused)}")
    return (
        f"{name:<22} {median(one.rate for one in loads):>8.0f}/s"
        f"  p50 {median(one.percentile(0.5) for one in loads):>6.1f} ms"
        f"  p99 {median(one.percentile(0.99) for one in loads):>6.1f} ms"
        f"  CPU per dossier: process {median(one.cpu_ms('process') for one in loads):.3f} ms,"
        f" PostgreSQL {median(one.cpu_ms('postgres') for one in loads):.3f} ms\n"
    )


async def main(rounds: int, seconds: float, connections: int) -> None:
    """Measure, and take everything away again."""
    with (
        tempfile.TemporaryDirectory() as place,
        EmbeddedPostgres(Path(place) / "pg", settings=MEMORY) as server,
    ):
        folder = Path(place)
        bench = Bench(folder, server)
        shares = folder / "shares.json"
        try:
            await bench.floor("floor")
            await bench.gateway("gateway")
            counts = {}
            for name in ("floor", "gateway"):  # warm, and to know how many a round takes
                await bench.round(name, 300, connections=connections)
                warm = await bench.round(name, 1500, connections=connections)
                counts[name] = max(int(warm.rate * seconds), 500)
            loads: dict[str, list[Load]] = {"floor": [], "gateway": []}
            for _ in range(rounds):
                for name, found in loads.items():
                    found.append(await bench.round(name, counts[name], connections=connections))
            for name, found in loads.items():
                sys.stdout.write(told(name, found))
            ratios = [
                ours.rate / least.rate
                for ours, least in zip(loads["gateway"], loads["floor"], strict=True)
            ]
            costs = [
                ours.cpu_ms("process") / least.cpu_ms("process")
                for ours, least in zip(loads["gateway"], loads["floor"], strict=True)
            ]
            saturated = median(one.rate for one in loads["gateway"])
            sys.stdout.write(
                f"gateway : floor         {median(ratios):.0%} of its rate (aim: 50 %), "
                f"{median(costs):.1f} times its CPU\n"
            )
            quarter = saturated / 4
            slow = await bench.round(
                "gateway", int(quarter * seconds * 2), connections=connections, rate=quarter
            )
            sys.stdout.write(told(f"at {quarter:.0f}/s", [slow]))
            bench.stop()
            await bench.gateway("profiled", "--shares", str(shares))
            await bench.round("profiled", 300, connections=connections)
            await bench.round("profiled", counts["gateway"], connections=connections)
            bench.programs["profiled"].stop()  # which waits for its end
            parts = json.loads(shares.read_text())
            whole = sum(parts.values())
            sys.stdout.write("where the process's time goes\n")
            for part, samples in sorted(parts.items(), key=lambda one: -one[1]):
                sys.stdout.write(f"  {part:<26} {samples / whole:>6.1%}\n")
        finally:
            bench.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=48)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.rounds, options.seconds, options.connections))
