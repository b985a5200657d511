"""The whole chain, from HTTP intake to the national portal's acceptance, beside the least one.

    .venv/bin/python -m benchmarks.chain [--count 5000] [--rounds 3] [--connections 32]
        [--delay 0.02] [--rate 100] [--json FILE]

Six services as processes of their own on a real RabbitMQ and a real PostgreSQL (with fsync), with
everything on: rights, message log, history, measurements. The least chain
(``benchmarks/peers/{floor,least,portal}.py``) has the same durability and nothing else, runs on the
same two servers, and takes turns. Dossiers of 2 KiB go to more than a hundred agencies; a call to
either portal takes the same time. What counts is the ratio, and CPU time by process: the load and
the outside systems share the processors.
"""

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg
import httpx
import psutil
import uvloop

from backbone.assembly import Client
from backbone.demo import play
from backbone.demo.client import ClientSystem
from backbone.leash import Leashed
from benchmarks.peers import clients
from benchmarks.peers.least import STORE
from tests.support.stack import Stack, running_stack

_UNLIMITED = {"RATE_PER_SECOND": "1000000", "RATE_BURST": "1000000"}
_PATIENCE = 60.0
"""Seconds without an arrival."""
_QUIET_SECONDS = 2.0
"""After the last arrival: what is told and measured of it still costs."""

Arrived = Callable[[], Awaitable[int]]


@dataclass(frozen=True)
class Chain:
    """One that takes dossiers in and delivers them.

    Attributes:
        requests: so many of them, as they go over the wire.
        arrived: how many dossiers its portal knows.
        watched: process ids by role.
    """

    name: str
    port: int
    requests: Callable[[int], list[bytes]]
    arrived: Arrived
    watched: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Round:
    """What one showed.

    Attributes:
        seconds: from the first request to the last arrival.
        memory: MiB at the end, by role.
    """

    load: clients.Load
    seconds: float
    memory: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Dossiers a second, from end to end."""
        return self.load.accepted / self.seconds

    def cpu(self, *but: str) -> float:
        """CPU seconds for 1,000 dossiers of all roles but these."""
        return sum(self.load.cpu_ms(role) for role in self.load.cpu if role not in but)


async def play_round(
    chain: Chain, count: int, connections: int, rate: float | None = None
) -> Round:
    """Hand dossiers in and wait until the portal knows them all.

    Raises:
        RuntimeError: not all were taken in, or not all arrived.
    """
    asked = chain.requests(count)
    before, begun = await chain.arrived(), time.perf_counter()
    cpu = {role: clients.cpu_of(pids) for role, pids in chain.watched.items()}
    load = await clients.load(chain.port, asked, connections=connections, rate=rate)
    if load.accepted < count:
        raise RuntimeError(f"{chain.name} refused: {dict(load.refused)}")
    there, moved = 0, time.perf_counter()
    while there < count:
        now = await chain.arrived() - before
        if now > there:
            there, moved = now, time.perf_counter()
        elif time.perf_counter() - moved > _PATIENCE:
            raise RuntimeError(f"{chain.name}: {count - there} of {count} did not arrive")
        await asyncio.sleep(0.02)
    seconds = time.perf_counter() - begun
    await asyncio.sleep(_QUIET_SECONDS)
    load.cpu = {role: clients.cpu_of(chain.watched[role]) - cpu[role] for role in cpu}
    memory = {role: _memory(pids) for role, pids in chain.watched.items()}
    return Round(load, seconds, memory)


def _memory(pids: Sequence[int]) -> float:
    """MiB that processes hold (of PostgreSQL too much: each counts what they share)."""
    return float(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 2**20)


@asynccontextmanager
async def ours(folder: Path, delay: float) -> AsyncIterator[tuple[Stack, Chain]]:
    """Our own chain."""
    client = Client("bench", secrets.token_urlsafe(24), play.SCOPES, ("*",))
    async with running_stack(folder, client=client, around=lambda _: _UNLIMITED) as stack:
        slow: dict[str, object] = {"program": "national-portal", "kind": "delay", "on": "*"}
        await play.set_faults(stack.outside, [{**slow, "ms": delay * 1000}])
        system = ClientSystem(stack.plan.url("gateway"), client.client_id, client.secret)
        procedure = (await play.catalogue(system))[0].code
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            header = await system.authorization(http)
            told = await http.get(stack.plan.url("gateway") + "/v1/agencies?limit=200")
            agencies = [one["code"] for one in told.json()["items"]]
            books = f"{stack.outside.national_portal}/_books"

            def requests(count: int) -> list[bytes]:
                return clients.requests(
                    "/v1/dossiers", count, header, agencies=agencies, procedure=procedure
                )

            async def arrived() -> int:
                return int((await http.get(books)).json()["dossiers"])

            services = {name: [process.pid] for name, process in stack.processes.items()}
            watched = {**services, **_servers(stack)}
            yield stack, Chain("ours", stack.port("gateway"), requests, arrived, watched)


@asynccontextmanager
async def least(stack: Stack, folder: Path, delay: float) -> AsyncIterator[Chain]:
    """The least chain, on the same servers."""
    own = [
        await stack.postgres.create_database(f"least_{name}", "least", "least")
        for name in ("intake", "store")
    ]
    await _execute(own[1], STORE)
    ports = [clients.free_port() for _ in range(2)]
    portal = f"http://127.0.0.1:{ports[1]}"
    common = ["--intake", own[0], "--store", own[1], "--amqp", stack.rabbit.url]
    programs = {
        "intake": ["floor", "--database", own[0], "--port", str(ports[0])],
        "portal": ["portal", "--port", str(ports[1]), "--delay", str(delay)],
        **{
            role: ["least", role, *common, "--portal", f"{portal}/push"]
            for role in ("relay", "consumer", "pusher")
        },
    }
    async with AsyncExitStack() as ends:
        started: dict[str, Leashed] = {}
        for role, (module, *options) in programs.items():
            command = [sys.executable, "-m", f"benchmarks.peers.{module}", *options]
            started[role] = Leashed(command, log=folder / f"least-{role}.log")
            ends.callback(started[role].stop)
            if role in ("intake", "portal"):
                await clients.listening(ports[role == "portal"])
        http = await ends.enter_async_context(httpx.AsyncClient(trust_env=False))

        def requests(count: int) -> list[bytes]:
            return clients.requests("/dossiers", count, {})

        async def arrived() -> int:
            return int((await http.get(f"{portal}/arrived")).json()["arrived"])

        own_roles = {role: [one.pid] for role, one in started.items() if role != "portal"}
        watched = {**own_roles, **_servers(stack)}
        yield Chain("least", ports[0], requests, arrived, watched)


def _servers(stack: Stack) -> dict[str, list[int]]:
    return {"PostgreSQL": [stack.postgres.pid], "RabbitMQ": [stack.rabbit.pid]}


async def _execute(dsn: str, statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


def told(name: str, rounds: Sequence[Round]) -> str:
    """What a chain's rounds showed, role by role."""
    whole = (
        f"{name}: {median(one.rate for one in rounds):.0f}/s end to end, "
        f"intake {median(one.load.rate for one in rounds):.0f}/s "
        f"p50 {median(one.load.percentile(0.5) for one in rounds):.1f} ms "
        f"p99 {median(one.load.percentile(0.99) for one in rounds):.1f} ms, "
        f"{median(one.cpu() for one in rounds):.2f} s CPU per 1,000"
    )
    lines = [whole]
    for role in rounds[0].load.cpu:
        cpu = median(one.load.cpu_ms(role) for one in rounds)
        memory = median(one.memory[role] for one in rounds)
        lines.append(f"  {role:<22} {cpu:>6.3f} s per 1,000  {memory:>6.0f} MiB")
    return "\n".join(lines)


async def main(options: argparse.Namespace) -> None:
    """Measure, and take everything away again."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with ours(folder, options.delay) as (stack, chain):
            found: dict[str, list[Round]] = {"least": [], "ours": []}
            await play_round(chain, 300, options.connections)  # warm
            for _ in range(options.rounds):
                async with least(stack, folder, options.delay) as other:
                    await play_round(other, 300, options.connections)
                    for one in (other, chain):
                        found[one.name].append(
                            await play_round(one, options.count, options.connections)
                        )
            slow = await play_round(
                chain, int(options.rate * 10), options.connections, rate=options.rate
            )
    for name, rounds in found.items():
        print(told(name, rounds))
    ratios = [
        (mine.rate / other.rate, mine.cpu() / other.cpu())
        for mine, other in zip(found["ours"], found["least"], strict=True)
    ]
    rate, cpu = (median(column) for column in zip(*ratios, strict=True))
    print(f"ours : least  {rate:.0%} of its rate, {cpu:.1f} times its CPU")
    print(told(f"ours at {options.rate:.0f}/s", [slow]))
    if options.json:
        summary = {
            name: [
                {"rate": one.rate, "cpu_s_per_1000": one.cpu(), "by_role": one.load.cpu}
                for one in rounds
            ]
            for name, rounds in found.items()
        }
        options.json.write_text(json.dumps({"rate": rate, "cpu": cpu, "rounds": summary}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--json", type=Path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args()))
