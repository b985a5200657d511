"""What limits and strict JSON cost a request: CPU time, and round trips to the database.

    .venv/bin/python -m benchmarks.limits [--requests 50000] [--clients 20]

Two replicas over one embedded PostgreSQL let requests of some clients through. Beside it: the time
that checking one submission for JSON that could be read in two ways takes.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from backbone.postgres import EmbeddedPostgres
from common.database import Database, migrate
from gateway.api.bodies import SUBMIT
from gateway.api.strict_json import checked
from gateway.store import limits as store
from gateway.use_cases.limits import Defaults, Limits, Rate
from tests.support.gateway import settings, submission

_TASKS = 50
_ROUNDS = 20_000


async def measure(replicas: list[Limits], requests: int, clients: int) -> None:
    """Let that many requests through and print the figures."""
    trips = 0
    lease = store.lease_rates

    async def counted(*asked):  # type: ignore[no-untyped-def]
        nonlocal trips
        trips += 1
        return await lease(*asked)

    store.lease_rates = counted
    refused = 0

    async def some(number: int) -> None:
        nonlocal refused
        for place in range(requests // _TASKS):
            try:
                await replicas[number % len(replicas)].request(f"client-{place % clients}")
            except Exception:
                refused += 1
            await asyncio.sleep(0)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(some(number) for number in range(_TASKS)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    store.lease_rates = lease
    sys.stdout.write(
        f"{requests} requests of {clients} clients at {len(replicas)} replicas: "
        f"{cpu / requests * 1e6:.1f} µs CPU each, {trips} round trips "
        f"({requests / max(1, trips):.0f} requests each), {refused} refused, {wall:.2f} s\n"
    )


def strictness() -> None:
    """Print what the two passes over one submission take."""
    raw = json.dumps(submission()).encode()

    def each(work: Callable[[bytes], object]) -> float:
        began = time.process_time()
        for _ in range(_ROUNDS):
            work(raw)
        return (time.process_time() - began) / _ROUNDS * 1e6

    def names(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError

    sys.stdout.write(
        f"strict JSON, {len(raw)} bytes: {each(checked):.1f} µs; the schema "
        f"{each(SUBMIT.validate_json):.1f} µs; names alone, by the standard library's reader, "
        f"{each(lambda body: json.loads(body, object_pairs_hook=names)):.1f} µs\n"
    )


async def main(requests: int, clients: int) -> None:
    """Prepare a database, measure, and take everything away again."""
    strictness()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("gateway", "gateway", "gateway")
        given = settings(url.replace("postgresql://", "postgresql+asyncpg://", 1), Path(folder))
        databases = [Database(given, name="gateway") for _ in range(2)]
        rate = Rate(2000, 4000)
        try:
            await migrate(databases[0], "gateway")
            replicas = [
                Limits(database, Defaults(rate, 10**9, rate, rate, replicas=2))
                for database in databases
            ]
            await measure(replicas, requests, clients)
        finally:
            for database in databases:
                await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=20)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.requests, options.clients))
