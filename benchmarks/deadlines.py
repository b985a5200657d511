"""Due dates: what one costs to compute, and how fast many that fall due together are told.

    .venv/bin/python -m benchmarks.deadlines [--dossiers 100000] [--workers 2]

The schedule is filled as if that many dossiers fell due at the same moment, among as many
whose time has not come. Then workers tell them through the outbox of an embedded PostgreSQL. CPU
time is that of this process alone.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from pydantic import SecretStr
from sqlalchemy import text

from backbone.postgres import EmbeddedPostgres
from common.contracts.catalog import ProcessingTime
from common.database import Database
from common.outbox import Outbox
from common.settings import TelemetrySettings
from common.telemetry import Telemetry
from dossier.domain import calendar
from dossier.domain.deadlines import Deadlines
from dossier.settings import Settings
from dossier.use_cases.deadlines import Watch
from tests.support.dossier_service import prepared
from tests.support.dossiers import AGENCY

NOW = datetime(2026, 3, 16, 2, tzinfo=UTC)
ROUNDS = 20_000

# Every second one is due; a third of the others has been told of already.
_FILL = """
    INSERT INTO deadline (code, due_at, warn_at, running, told, next_at)
    SELECT code, due_at, due_at - interval '2 days', true, told,
        CASE told WHEN 0 THEN due_at - interval '2 days' ELSE due_at END
    FROM (
        SELECT code,
            CAST(:now AS timestamptz) + CASE WHEN n % 2 = 0
                THEN - interval '1 second' * (n % 7200) ELSE interval '3 days' END AS due_at,
            CASE WHEN n % 6 = 0 THEN 1 ELSE 0 END AS told
        FROM (SELECT code, row_number() OVER (ORDER BY code) AS n FROM dossier) AS numbered
    ) AS dated
"""
_DOSSIERS = """
    INSERT INTO dossier (code, agency, procedure, channel, status, version, body)
    SELECT :agency || '-260301-' || lpad(CAST(n AS text), 7, '0'), :agency, '1.000016', '2', 4, 2,
        CAST('' AS bytea)
    FROM generate_series(1, :dossiers) AS n
"""


def say(line: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"{line}\n")


def compute() -> None:
    """Microseconds for each of the rules."""
    begun = time.perf_counter()
    deadlines = Deadlines(calendar.load())
    say(f"package and calendar of 100 years read in {(time.perf_counter() - begun) * 1000:.0f} ms")
    start = datetime(2026, 2, 12, 2, tzinfo=UTC)
    later = start + timedelta(days=9)
    term = ProcessingTime(quantity=6.25, unit="working-day")
    rules: dict[str, Callable[[], object]] = {
        "due date from 6.25 working days": lambda: deadlines.due(start, term),
        "due date put off by a supplement": lambda: deadlines.put_off(later, start, later, term),
        "working days counted": lambda: deadlines.calendar.between(start, later),
    }
    for name, rule in rules.items():
        begun = time.process_time()
        for _ in range(ROUNDS):
            rule()
        say(f"{name}: {(time.process_time() - begun) / ROUNDS * 1e6:.1f} µs")


async def measure(database: Database, dossiers: int, workers: int) -> None:
    """Tell all that is due and print how long it took."""
    async with database.transaction() as connection:
        given = {"agency": AGENCY, "dossiers": dossiers * 2}
        await connection.execute(text(_DOSSIERS), given)
        await connection.execute(text(_FILL), {"now": NOW})
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE"))
    telemetry = Telemetry("dossier", TelemetrySettings())
    watch = Watch(Outbox(database, "dossier"), database, telemetry, lambda: NOW)

    async def work() -> int:
        done = 0
        while told := await watch.step(NOW):
            done += told
        return done

    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    done = sum(await asyncio.gather(*(work() for _ in range(workers))))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    async with database.reading() as connection:
        told = (await connection.execute(text("SELECT count(*) FROM event_log"))).scalar_one()
    say(
        f"{done} due dates told by {workers} workers: {done / wall:.0f}/s, "
        f"CPU {cpu / done * 1000:.3f} ms each; {told} events"
    )
    begun = time.perf_counter()
    await watch.pause()
    say(f"looking for the next moment and counting: {(time.perf_counter() - begun) * 1000:.1f} ms")
    begun = time.perf_counter()
    for _ in range(50):
        await watch.step(NOW)
    say(f"a look that finds nothing: {(time.perf_counter() - begun) / 50 * 1000:.2f} ms")
    telemetry.close()


async def main(dossiers: int, workers: int) -> None:
    """Prepare a database, measure, and take everything away again."""
    compute()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("dossier", "dossier", "dossier")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await prepared(url)
        database = Database(Settings(database_url=SecretStr(url)), name="dossier")
        try:
            await measure(database, dossiers, workers)
        finally:
            await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(chosen.dossiers, chosen.workers))
