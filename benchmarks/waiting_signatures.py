"""Ten thousand persons are waited for: memory, status calls a second, CPU, database.

    .venv/bin/python -m benchmarks.waiting_signatures [--requests 10000] [--seconds 60]

Requests wait at a provider with a status call, a small process of its own that never decides. The
connector's workers run in this process, for a while with nobody waiting, then with all of them:
the difference is what waiting costs. Aim: 100 MB of memory and 200 status calls a second at most,
in any second and over all replicas.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import uvloop
from pydantic import SecretStr
from sqlalchemy import text

from backbone.postgres import EmbeddedPostgres
from common.database import Database
from common.identifiers import new_id
from common.settings import DatabaseSettings
from signature_connector.domain.requests import Request, State
from signature_connector.store import requests as store
from tests.support.later_signers import later_signers
from tests.support.signature_connector import AGENCY, DOSSIER, KEYS, USER, _prepared
from tests.support.signing_worker import assembled

MIB = 1024 * 1024


async def fill(database: Database, many: int) -> None:
    """Requests that were submitted within the last five minutes; none of them ends meanwhile."""
    now = datetime.now(UTC)
    certificate = KEYS.seal(
        {"certificate": "00" * 1200, "serial_number": "1", "transaction_id": "T",
         "mechanism": "ecdsa"},
        DOSSIER,
    )  # fmt: skip
    one = Request(
        request_id=new_id(),
        client="benchmark",
        dossier_code=DOSSIER,
        agency=AGENCY,
        document_id="KQ1",
        document_name="Giấy phép",
        file="0" * 64,
        ca_name="VNPT-CA",
        sealed_user=KEYS.seal(USER, DOSSIER),
        created_at=now,
        waits=False,
        state=State.AWAITING_USER,
        provider="later",
        confirms="any",
        submission="T1",
        submissions=1,
        deadline=now + timedelta(hours=1),
        sealed_certificate=certificate,
        evidence_count=4,
    )
    names = store.COLUMNS.split(", ")
    own = {
        "request_id": "gen_random_uuid()",
        "order_id": "gen_random_uuid()",
        "asked_at": "now() - n * interval '300 s' / :many",
    }
    given: dict[str, Any] = {name: getattr(one, name) for name in names if name not in own}
    given["state"] = one.state.value
    values = ", ".join(own.get(name, f":{name}") for name in names)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                f"INSERT INTO signing_request ({store.COLUMNS}, ask_at) "  # noqa: S608
                f"SELECT {values}, now() + n * interval '10 s' / :many "
                "FROM generate_series(1, :many) AS n"
            ),
            {**given, "many": many},
        )
    async with database.transaction() as connection:
        await connection.execute(text("ANALYZE signing_request"))


async def measure(folder: Path, many: int, seconds: float, replicas: int) -> None:
    """Wait for so many persons for a while, and print what it cost."""
    process = psutil.Process()
    with later_signers(folder) as provider, EmbeddedPostgres(folder / "postgres") as server:
        provider.behave(decide="never")
        address = await server.create_database("signature", "signature", "signature")
        address = address.replace("postgresql://", "postgresql+asyncpg://", 1)
        await _prepared(address)
        database = Database(DatabaseSettings(database_url=SecretStr(address)), name="benchmark")
        told = {
            "provider": provider.url,
            "roots": str(provider.root),
            "blobs": f"file://{folder}",
            "lease": 15.0,
        }
        made = [assembled(told, database) for _ in range(replicas)]
        tasks = [asyncio.create_task(run()) for one in made for run in one.workers.runs]
        await asyncio.sleep(5)
        idle = process.memory_info().rss
        await fill(database, many)
        cpu, started, most = sum(process.cpu_times()[:2]), time.monotonic(), 0
        while time.monotonic() - started < seconds:
            await asyncio.sleep(0.5)
            most = max(most, process.memory_info().rss)
        cpu = sum(process.cpu_times()[:2]) - cpu
        calls = sorted(provider.books()["calls"])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in made:
            await one.close()
        async with database.reading() as connection:
            asked = await connection.execute(
                text("SELECT count(*) FROM signing_request WHERE status_at IS NOT NULL")
            )
            seen = asked.scalar_one()
        await database.close()
    by_second = Counter(int(at) for at in calls)
    busiest = _busiest(calls)
    print(f"{many} requests wait, {replicas} replicas, {seconds:.0f} s")
    print(f"memory       {idle / MIB:8.0f} MiB with nobody waiting, at most {most / MIB:.0f}")
    print(f"  of waiting {(most - idle) / MIB:8.1f} MiB")
    print(f"status calls {len(calls) / seconds:8.0f} a second, {busiest} in the busiest second")
    print(f"             {len(by_second)} seconds with calls; {seen} requests asked about")
    print(f"CPU          {cpu / seconds * 100:8.1f} % of one processor")
    if busiest > 200 or (most - idle) / MIB > 100:
        sys.exit("above the aim")


def _busiest(calls: list[float]) -> int:
    """The most calls in any second, wherever it begins."""
    most = first = 0
    for last, at in enumerate(calls):
        while calls[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


async def main(many: int, seconds: float, replicas: int) -> None:
    """Start what is needed, measure, and take everything away."""
    with tempfile.TemporaryDirectory() as name:
        await measure(Path(name), many, seconds, replicas)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--replicas", type=int, default=2)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.requests, given.seconds, given.replicas))
