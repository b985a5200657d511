"""Reconciliation of one agency's day: dossiers checked per second, CPU each.

    .venv/bin/python -m benchmarks.reconciliation [--dossiers 3000] [--profile]

The portal's simulator is a process of its own. The day is reconciled twice without a limit of
questions per second: once with both sides equal, once with a tenth of the dossiers missing at the
portal, which are sent again. CPU time is that of the reconciling process alone.
"""

import argparse
import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from datetime import date, datetime
from pathlib import Path

import orjson
import uvloop
from pydantic import SecretStr
from sqlalchemy import text

from backbone.leash import Leashed
from backbone.postgres import EmbeddedPostgres
from common.contracts.dossier import DossierReceived
from common.database import Database
from common.delivery import Deliverer
from common.http import http_client
from common.inbox import Consumer
from common.outbox import Outbox
from common.settings import DatabaseSettings, TelemetrySettings
from common.telemetry import Telemetry
from national_portal_sync.clients.accounts import AccountFiles
from national_portal_sync.clients.checking import FIELDS, Checking
from national_portal_sync.clients.items import VIETNAM
from national_portal_sync.clients.portals import Portals
from national_portal_sync.consumers import subscriptions
from national_portal_sync.store import reconciliation as store
from national_portal_sync.use_cases.reconciliation import Limits, Reconciliation
from national_portal_sync.use_cases.synchronisation import Synchronisation
from tests.support.portal import KEYS, account_at, code_of, envelope, fact, prepared

AGENCY, DAY = "H10.15", date(2026, 11, 2)
NO_LIMIT = 1e9

# As many more that the portal never got, though they are written down as taken by it.
_LOST = """
    WITH gone AS (SELECT code, replace(code, '-261102-', '-261102-9') AS lost
                  FROM portal_dossier ORDER BY code LIMIT :some),
    kept AS (INSERT INTO sent_snapshot (code, version, body)
             SELECT gone.lost, s.version, s.body FROM sent_snapshot s JOIN gone USING (code))
    INSERT INTO portal_dossier (code, agency, known, sent_version, sent_status, sent_at, day)
    SELECT gone.lost, agency, true, sent_version, sent_status, sent_at, day
    FROM portal_dossier JOIN gone USING (code)
"""


async def measure(
    database: Database, url: str, dossiers: int, profile: cProfile.Profile | None
) -> None:
    """Deliver a day's dossiers, reconcile them twice, and print a line for each time."""
    async with http_client(timeout=60, connections=32) as http:
        account = account_at(url)
        portals = Portals(http, AccountFiles(None, None, account, account), seconds=60)
        partner = Synchronisation(portals, KEYS, batch=100, parallel=8)
        telemetry = Telemetry("benchmark", TelemetrySettings())
        deliverer = Deliverer(
            database,
            partner,
            telemetry,
            portals.breaker,
            prepare=partner.prepare,
            lines=portals.line,
        )
        queue = subscriptions(lambda: None)[0]
        consumer = Consumer("benchmark", queue, Outbox(database, "benchmark"), telemetry)
        for start in range(1, dossiers + 1, 200):
            codes = [code_of(n) for n in range(start, min(start + 200, dossiers + 1))]
            facts = [fact(code, 1, DossierReceived, "2", official=None) for code in codes]
            await consumer.take([envelope(one, one.dossier.code, 1) for one in facts])
        while await deliverer.once():
            pass
        reconciliation = Reconciliation(
            database,
            Checking(portals.portal, lists=False),
            FIELDS,
            partner.wire,
            portals.breaker,
            lambda: None,
            Limits(per_second=NO_LIMIT, heal_most=dossiers),
            lambda: datetime.now(VIETNAM),
        )
        for lost in (0, dossiers // 10):
            async with database.transaction() as connection:
                await connection.execute(text(_LOST), {"some": lost})
                run = await store.ask(connection, AGENCY, DAY, "benchmark")
            if profile:
                profile.enable()
            wall, cpu = time.perf_counter(), time.process_time()
            await reconciliation.once()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if profile:
                profile.disable()
            async with database.reading() as connection:
                done = await store.run_of(connection, run.id)
            if done is None or done.state != "done":
                raise RuntimeError("the run was not finished")
            sys.stdout.write(
                f"{done.checked:>9} {done.checked - done.agreed:>11} {done.healed:>7} "
                f"{done.checked / wall:>11.0f} {cpu / done.checked * 1e6:>9.0f}\n"
            )
            sys.stdout.flush()


async def main(dossiers: int, profile: cProfile.Profile | None) -> None:
    """Start what is needed, measure, and take everything away."""
    sys.stdout.write(" dossiers differences  healed  dossiers/s  CPU us/it\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "portal.log"
        command = [sys.executable, "-m", "simulators", "national-portal", "--port", "0"]
        portal = Leashed(command, log=log)
        try:
            while not (log.exists() and log.read_text().strip()):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.05)
            url = orjson.loads(log.read_text().splitlines()[0])["url"]
            with EmbeddedPostgres(folder / "postgres") as server:
                address = await server.create_database("portal", "portal", "portal")
                address = address.replace("postgresql://", "postgresql+asyncpg://", 1)
                await prepared(address)
                database = Database(
                    DatabaseSettings(database_url=SecretStr(address)), name="benchmark"
                )
                await measure(database, url, dossiers, profile)
                await database.close()
        finally:
            portal.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, default=3000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    profiler = cProfile.Profile() if given.profile else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.dossiers, profiler))
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
