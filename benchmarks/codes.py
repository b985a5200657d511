"""Dossier codes issued per second, and the CPU time each costs.

    .venv/bin/python -m benchmarks.codes [--codes 20000] [--tasks 200]

Two issuers (as two replicas have) over one embedded PostgreSQL count for one agency and day, which
is the worst case: all wait for one row. CPU time is that of this process alone.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import uvloop

from backbone.postgres import EmbeddedPostgres
from common.database import Database, migrate
from gateway.use_cases.codes import Codes
from tests.support.gateway import settings

AGENCY, DAY = "H10.15", date(2026, 11, 2)


async def measure(issuers: list[Codes], codes: int, tasks: int) -> None:
    """Issue that many codes, one at a time by each task, and print the figures."""

    async def one_by_one(issuer: Codes, count: int) -> list[str]:
        return [(await issuer.next(AGENCY, DAY))[0] for _ in range(count)]

    wall, cpu = time.perf_counter(), time.process_time()
    given = await asyncio.gather(
        *(one_by_one(issuers[n % len(issuers)], codes // tasks) for n in range(tasks))
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    made = [code for found in given for code in found]
    sys.stdout.write(
        f"{len(made)} codes by {tasks} tasks at {len(issuers)} issuers: {len(made) / wall:.0f}/s, "
        f"CPU {cpu / len(made) * 1000:.3f} ms per code; {len(set(made))} different, "
        f"the last is {max(made, key=lambda code: int(code.rsplit('-', 1)[1]))}\n"
    )


async def main(codes: int, tasks: int) -> None:
    """Prepare a database, measure, and take everything away again."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("gateway", "gateway", "gateway")
        given = settings(url.replace("postgresql://", "postgresql+asyncpg://", 1), Path(folder))
        databases = [Database(given, name="gateway") for _ in range(2)]
        try:
            await migrate(databases[0], "gateway")
            issuers = [Codes(database) for database in databases]
            await measure(issuers, tasks, tasks)  # warm
            await measure(issuers, codes, tasks)
        finally:
            for database in databases:
                await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=20_000)
    parser.add_argument("--tasks", type=int, default=200)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.codes, options.tasks))
