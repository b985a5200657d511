"""Lists and single reads of dossiers over HTTP, in databases of growing size.

    .venv/bin/python -m benchmarks.dossier_lists [--dossiers 100000 1000000] [--requests 150]

Dossiers are put in by COPY, over 700 agencies of unequal size; each request goes through the whole
service with a token, one after the other, and reads a page of 50 from a random place.
"""

import argparse
import asyncio
import base64
import gc
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from sqlalchemy import text

from backbone.postgres import EmbeddedPostgres
from common.auth import TokenKeys
from common.contracts.dossier import DossierState
from common.database import Database
from common.sealing import KeyRing
from common.service import Shared
from common.transport.local import LocalTransport
from dossier.domain.model import Dossier
from dossier.main import create_app
from dossier.settings import Settings
from dossier.store import lists
from dossier.store.lists import LINE, Place, Wanted
from tests.support.dossier_service import prepared

PROVINCES, AGENCIES = 35, 20
KEY = ec.generate_private_key(ec.SECP256R1())
SEALING = {"k1": SecretStr(base64.b64encode(b"k" * 32).decode())}
RING = KeyRing(SEALING, "k1")
PROCEDURES = [f"1.{n:06d}" for n in range(300)]
TODAY = datetime.now(UTC)
_SHARES = ["10"] * 60 + ["9"] * 20 + ["4"] * 10 + ["2"] * 5 + ["1"] * 2 + ["5"] * 2 + ["3"]
_DOCUMENT = {"name": "Giấy tờ của thành phần hồ sơ", "component": "TP00001", "digitised": True}


def _records(count: int, rng: random.Random) -> Iterator[tuple[Any, ...]]:
    documents = [{"id": str(n), **_DOCUMENT} for n in range(5)]
    names = [f"H{p + 10}.{a + 1}" for p in range(PROVINCES) for a in range(AGENCIES)]
    weights = [1 / (1 + n % 97) for n in range(len(names))]
    homes = rng.choices(names, weights, k=count)
    for number, agency in enumerate(homes):
        submitted = TODAY - timedelta(minutes=rng.randrange(10 * 365 * 24 * 60))
        status = rng.choice(_SHARES) if submitted < TODAY - timedelta(days=60) else "4"
        due = submitted + timedelta(days=rng.randrange(3, 60))
        code = f"{agency}-{submitted:%y%m%d}-{number:07d}"
        procedure = rng.choice(PROCEDURES)
        channel = rng.choices(("1", "2", "3"), (30, 65, 5))[0]
        made: dict[str, Any] = {
            "code": code,
            "agency": agency,
            "procedure": {
                "code": procedure,
                "name": "Đăng ký thành lập doanh nghiệp tư nhân và hộ kinh doanh",
                "field": {"code": "G05-KH01", "name": "Thành lập và hoạt động của doanh nghiệp"},
            },
            "channel": channel,
            "applicant_kind": "1",
            "sealed": RING.seal({"name": "Nguyễn Thị Ánh", "phone": "0912345678"}, owner=code),
            "summary": "Đăng ký thành lập công ty trách nhiệm hữu hạn một thành viên",
            "status": status,
            "submitted_at": submitted,
            "due_at": due,
            "documents": documents,
        }
        state = DossierState.model_construct(**made)
        body = Dossier.model_construct(state=state, steps=3)
        yield (
            code,
            agency,
            procedure,
            channel,
            int(status),
            3,
            body.__pydantic_serializer__.to_json(body, warnings=False),
            state.__pydantic_serializer__.to_json(state, include=set(LINE), warnings=False),
            submitted,
            due,
            submitted < TODAY - timedelta(days=400),
            "k1",
        )


_COLUMNS = (
    *("code", "agency", "procedure", "channel", "status", "version", "body", "line"),
    *("submitted_at", "due_at", "historic", "seal_key"),
)


async def _keys() -> dict[str, Any]:
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    return {"keys": [{**public, "kid": "t1", "use": "sig", "alg": "ES256"}]}


def bearer(scope: str, agencies: list[str], procedures: tuple[str, ...] = ("*",)) -> dict[str, str]:
    """The Authorization header of a client."""
    now = int(time.time())
    claims = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": now,
        "exp": now + 3600,
        "client_id": "benchmark",
        "scope": scope,
        "agencies": agencies,
        "procedures": procedures,
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, KEY, 'ES256', headers={'kid': 't1'})}"}


async def fill(dsn: str, count: int) -> float:
    """Put dossiers in; how many seconds it took."""
    started = time.perf_counter()
    connection = await asyncpg.connect(dsn)
    await connection.copy_records_to_table(
        "dossier", records=_records(count, random.Random(7)), columns=_COLUMNS
    )
    await connection.execute("VACUUM ANALYZE dossier")
    await connection.close()
    return time.perf_counter() - started


@asynccontextmanager
async def running(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service without a socket."""
    settings = Settings(
        database_url=SecretStr(url),
        sealing_keys=SEALING,
        sealing_key="k1",
        usage_seconds=3600,
        trace_share=0,
    )
    app = create_app(settings, Shared(transport=LocalTransport(), token_keys=TokenKeys(_keys)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dossier") as http,
    ):
        yield http


def day(rng: random.Random) -> datetime:
    """A day of the last nine years."""
    return TODAY - timedelta(days=rng.randrange(30, 9 * 365))


def kinds(rng: random.Random) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is asked for, by name: query parameters."""

    def province() -> str:
        return f"H{rng.randrange(PROVINCES) + 10}"

    def agency() -> str:
        return f"{province()}.{rng.randrange(AGENCIES) + 1}"

    def span(name: str, days: int, of: Callable[[], str]) -> dict[str, Any]:
        since = day(rng)
        until = since + timedelta(days=days)
        return {"agency": of(), f"{name}_from": since.isoformat(), f"{name}_to": until.isoformat()}

    return {
        "province": lambda: {"agency": province()},
        "agency": lambda: {"agency": agency()},
        "everywhere": dict,
        "page of 200": lambda: {"agency": province(), "limit": 200},
        "status": lambda: {"agency": province(), "status": rng.choice(["2", "4", "5"])},
        "procedure": lambda: {"agency": province(), "procedure": rng.choice(PROCEDURES)},
        "status and procedure": lambda: {
            "agency": province(),
            "status": "4",
            "procedure": rng.choice(PROCEDURES),
        },
        "channel": lambda: {"agency": province(), "channel": "3"},
        "not historic": lambda: {"agency": province(), "historic": "false"},
        "submitted, month": lambda: span("submitted", 30, province),
        "submitted, day, everywhere": lambda: {
            name: value for name, value in span("submitted", 1, agency).items() if name != "agency"
        },
        "due, week": lambda: {
            "agency": province(),
            "due_from": TODAY.isoformat(),
            "due_to": (TODAY + timedelta(days=7)).isoformat(),
        },
        "overdue": lambda: {"agency": province(), "overdue": "true"},
    }


async def measure(http: httpx.AsyncClient, requests: int, sample: list[str]) -> None:
    """Ask, and print a row for each kind of question."""
    rng = random.Random(11)
    several = bearer("dossiers:read", agencies=[f"H{n + 10}" for n in range(0, PROVINCES, 2)])
    everything = bearer("dossiers:read", agencies=["*"])

    async def list_page(query: dict[str, Any], headers: dict[str, str]) -> None:
        if query.keys() <= {"agency", "limit", "status", "procedure", "channel", "historic"}:
            below = f"{query.get('agency', '')}"
            inside = [one for one in sample if one.startswith(below)]
            query = {**query, "after": rng.choice(inside or sample)}
        answer = await http.get("/v1/dossiers", params=query, headers=headers)
        answer.raise_for_status()

    async def one() -> None:
        code = rng.choice(sample).partition(":")[2]
        (await http.get(f"/v1/dossiers/{code}", headers=everything)).raise_for_status()

    async def row(name: str, ask: Callable[[], Awaitable[None]]) -> None:
        for _ in range(20):
            await ask()
        times, cpu = [], time.process_time()
        for _ in range(requests):
            started = time.perf_counter()
            await ask()
            times.append((time.perf_counter() - started) * 1000)
        cpu = (time.process_time() - cpu) / requests * 1000
        at = statistics.quantiles(times, n=100)
        sys.stdout.write(
            f"  {name:28} p50 {at[49]:6.1f}  p95 {at[94]:6.1f}  max {max(times):6.1f} ms"
            f"  service CPU {cpu:4.1f} ms\n"
        )

    async def asked(query: Callable[[], dict[str, Any]]) -> None:
        await list_page(query(), everything)

    await row("one dossier", one)
    for name, query in kinds(rng).items():
        await row(name, partial(asked, query))
    await row("18 subtrees at once", lambda: list_page({}, several))
    await row("18 subtrees, status", lambda: list_page({"status": "2"}, several))
    some = bearer("dossiers:read", agencies=["*"], procedures=tuple(PROCEDURES[:30]))
    await row("of 30 procedures", lambda: list_page({"agency": f"H{rng.randrange(35) + 10}"}, some))


def wishes(agency: str, code: str) -> dict[str, Wanted]:
    """Pages whose cost in the database is told, by name; ``agency`` and ``code`` are of a place."""
    root, month = (agency.partition(".")[0],), TODAY - timedelta(days=900)
    several = tuple(f"H{n + 10}" for n in range(0, PROVINCES, 2))
    return {
        "province": Wanted(root, 50),
        "province, deep": Wanted(root, 50, after=Place(agency, code)),
        "everywhere, deep": Wanted(("*",), 50, after=Place(agency, code)),
        "status": Wanted(root, 50, status="2"),
        "procedure": Wanted(root, 50, procedure=PROCEDURES[3]),
        "channel": Wanted(root, 50, channel="3"),
        "not historic": Wanted(root, 50, historic=False),
        "submitted, month": Wanted(root, 50, submitted=(month, month + timedelta(days=30))),
        "submitted, day, everywhere": Wanted(
            ("*",), 50, submitted=(month, month + timedelta(days=1))
        ),
        "due, week": Wanted(root, 50, due=(TODAY, TODAY + timedelta(days=7))),
        "overdue": Wanted(root, 50, overdue_at=TODAY),
        "18 subtrees at once": Wanted(several, 50),
        "of 3 procedures": Wanted(root, 50, procedures=PROCEDURES[:3]),
        "of 30 procedures": Wanted(root, 50, procedures=PROCEDURES[:30]),
        "of all 300, deep": Wanted(("*",), 50, procedures=PROCEDURES, after=Place(agency, code)),
        "of 3 procedures, status": Wanted(root, 50, status="2", procedures=PROCEDURES[:3]),
        "of 3, submitted in a month": Wanted(
            root, 50, submitted=(month, month + timedelta(days=30)), procedures=PROCEDURES[:3]
        ),
        "of 3 procedures, overdue": Wanted(root, 50, overdue_at=TODAY, procedures=PROCEDURES[:3]),
        "page of 200": Wanted(root, 200),
    }


async def explain(url: str, place: str) -> None:
    """Print what pages cost in the database alone: figures that a busy machine changes little."""
    database = Database(Settings(database_url=SecretStr(url)), name="benchmark")
    async with database.reading() as connection:
        for name, wanted in wishes(*place.split(":")).items():
            statement, values = lists._asked(wanted)
            question = text(f"EXPLAIN (ANALYZE, BUFFERS) {statement}")
            await connection.execute(question, values)
            told = "\n".join((await connection.execute(question, values)).scalars())
            pages = sum(map(int, re.findall(r"(?:hit|read)=(\d+)", told.partition("->")[0])))
            milliseconds = re.findall(r"Execution Time: ([0-9.]+)", told)[0]
            sys.stdout.write(f"  {name:28} {float(milliseconds):6.2f} ms, {pages:5} pages\n")
    await database.close()


async def main(counts: list[int], requests: int) -> None:
    """Prepare a database of each size, measure, and take everything away again."""
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}
    for count in counts:
        with (
            tempfile.TemporaryDirectory() as folder,
            EmbeddedPostgres(Path(folder), settings=settings) as server,
        ):
            dsn = await server.create_database("dossier", "dossier", "dossier")
            url = dsn.replace("postgresql://", "postgresql+asyncpg://", 1)
            await prepared(url)
            seconds = await fill(dsn, count)
            sys.stdout.write(f"{count} dossiers, put in within {seconds:.0f} s\n")
            connection = await asyncpg.connect(dsn)
            rows = await connection.fetch(
                "SELECT agency, code FROM dossier TABLESAMPLE SYSTEM (1) LIMIT 5000"
            )
            await connection.close()
            sample = [f"{row['agency']}:{row['code']}" for row in rows]
            sys.stdout.write(" in the database\n")
            await explain(url, sample[len(sample) // 2])
            sys.stdout.write(" over HTTP\n")
            async with running(url) as http:
                gc.collect()
                await measure(http, requests, sample)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, nargs="+", default=[100_000])
    parser.add_argument("--requests", type=int, default=150)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.dossiers, given.requests))
