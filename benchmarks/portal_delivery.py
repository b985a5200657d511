"""Dossiers and steps to the national portal: items per second, CPU per item, with a backlog.

    .venv/bin/python -m benchmarks.portal_delivery [--dossiers 2000] [--backlog 100000] [--profile]

The portal's simulator is a process of its own. Dossiers of twenty agencies, each a snapshot and two
steps, are delivered once with nothing else waiting and once with another agency's backlog beside
them, which takes its turns. CPU time is that of the delivering process alone; a claim is the time
that the database takes to say what is next.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import uvloop
from pydantic import SecretStr
from sqlalchemy import text

from backbone.leash import Leashed
from backbone.postgres import EmbeddedPostgres
from common.database import Database
from common.delivery import Deliverer, Item, queue
from common.envelope import decode
from common.http import http_client
from common.settings import DatabaseSettings, TelemetrySettings
from common.telemetry import Telemetry
from national_portal_sync.clients.accounts import AccountFiles
from national_portal_sync.clients.portals import Portals
from national_portal_sync.consumers import items_of
from national_portal_sync.domain.keys import PARTNER, STEP
from national_portal_sync.use_cases.synchronisation import Synchronisation
from tests.support.portal import (
    APPLICANT,
    KEYS,
    account_at,
    code_of,
    life,
    prepared,
)

AGENCIES = 20


def dossiers(numbers: Iterable[int], agency: str | None = None) -> list[Item]:
    """Snapshots, each with two steps unless they are only to be in the way."""
    model = code_of(1)
    models = [items_of(decode(body)) for body in life(model, 1, 2)]
    model_code = model.encode()
    made: list[Item] = []
    for n in numbers:
        code = code_of(n, agency or f"H{10 + n % AGENCIES}")
        sealed = KEYS.seal(APPLICANT, code)
        snapshot, first = models[0]
        state: dict[str, Any] = orjson.loads(snapshot.body)
        state |= {"code": code, "agency": code.split("-")[0], "sealed": sealed}
        keep = {"agency": state["agency"], "subject": code}
        made.append(_like(snapshot, orjson.dumps(state), code, **keep))
        if agency is None:
            for number, step in ((1, first), (2, models[1][1])):
                body = step.body.replace(model_code, code.encode())
                made.append(_like(step, body, f"{code}/{number}", **keep))
    return made


def _like(item: Item, body: bytes, key: str, *, agency: str, subject: str) -> Item:
    return Item(agency, subject, item.kind, key, body, item.version, waits=item.waits)


class Timed(Deliverer):
    """Notes how long each claim takes."""

    claims: list[float]

    async def _claim(self, calls: int) -> Any:
        started = time.perf_counter()
        try:
            return await super()._claim(calls)
        finally:
            self.claims.append((time.perf_counter() - started) * 1000)


async def measure(
    database: Database, url: str, new: int, backlog: int, profile: cProfile.Profile | None
) -> None:
    """Queue, deliver until the new ones are there, and print a line."""
    waiting = dossiers(range(100_000, 100_000 + backlog), "H99")
    for start in range(0, len(waiting), 5000):
        async with database.transaction() as connection:
            await queue(connection, PARTNER, waiting[start : start + 5000])
    items = dossiers(range(1, new + 1))
    async with database.transaction() as connection:
        await queue(connection, PARTNER, items)
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE delivery"))
    before = await _left(database)
    async with http_client(timeout=60, connections=32) as http:
        account = account_at(url)
        portals = Portals(http, AccountFiles(None, None, account, account), seconds=60)
        partner = Synchronisation(portals, KEYS, batch=100, parallel=8)
        deliverer = Timed(
            database,
            partner,
            Telemetry("benchmark", TelemetrySettings()),
            portals.breaker,
            prepare=partner.prepare,
            lines=portals.line,
            sizes={STEP: 10},
        )
        deliverer.claims = []
        if profile:
            profile.enable()
        wall, cpu = time.perf_counter(), time.process_time()
        running = asyncio.create_task(deliverer.run())
        while await _left(database, new=True):  # noqa: ASYNC110 - as seen from outside
            await asyncio.sleep(0.05)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if profile:
            profile.disable()
        done = before - await _left(database)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    claims = sorted(deliverer.claims)
    sys.stdout.write(
        f"{backlog:>8} {done:>8} {done / wall:>9.0f} {cpu / done * 1e6:>9.0f} "
        f"{cpu / new * 1e3:>10.2f} {statistics.median(claims):>9.1f} "
        f"{claims[int(len(claims) * 0.95)]:>9.1f}\n"
    )
    sys.stdout.flush()


async def _left(database: Database, *, new: bool = False) -> int:
    """Items that are not delivered: of all, or whether there are any of the new ones."""
    statement = "SELECT count(*) FROM delivery"
    if new:
        statement = (
            "SELECT count(*) FROM (SELECT FROM delivery WHERE agency < 'H90' LIMIT 1) AS one"
        )
    async with database.reading() as connection:
        found: int = (await connection.execute(text(statement))).scalar_one()
        return found


async def main(new: int, backlog: int, profile: cProfile.Profile | None) -> None:
    """Start what is needed, measure without and with a backlog, and take everything away."""
    sys.stdout.write(" backlog    items   items/s  CPU us/it  ms/dossier  claim ms  p95 ms\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "portal.log"
        command = [sys.executable, "-m", "simulators", "national-portal", "--port", "0"]
        portal = Leashed(command, log=log)
        try:
            while not (log.exists() and log.read_text().strip()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            url = orjson.loads(log.read_text().splitlines()[0])["url"]
            with EmbeddedPostgres(folder / "postgres") as server:
                for waiting in (0, backlog):
                    address = await server.create_database(f"portal{waiting}", "portal", "portal")
                    address = address.replace("postgresql://", "postgresql+asyncpg://", 1)
                    await prepared(address)
                    database = Database(
                        DatabaseSettings(database_url=SecretStr(address)), name="benchmark"
                    )
                    await measure(database, url, new, waiting, profile)
                    await database.close()
                    async with http_client(timeout=60) as http:
                        await http.delete(f"{url}/_books")
        finally:
            portal.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, default=2000)
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    profiler = cProfile.Profile() if given.profile else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.dossiers, given.backlog, profiler))
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
