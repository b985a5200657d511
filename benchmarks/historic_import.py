"""Old dossiers a second through the import, and the CPU time each costs.

    .venv/bin/python -m benchmarks.historic_import [--dossiers 10000] [--profile]

A file of dossiers with eight steps each is taken in against an embedded PostgreSQL: read, checked,
sealed, indexed, written with steps and events; then the same file again, where every line is known.
"""

import argparse
import asyncio
import base64
import cProfile
import gc
import json
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from pydantic import SecretStr

from backbone.postgres import EmbeddedPostgres
from common.blind import BlindIndex
from common.database import Database
from common.identifiers import new_id
from common.outbox import Outbox
from common.sealing import KeyRing
from dossier.settings import Settings
from dossier.use_cases import importing
from dossier.use_cases.importing import Importing, Order
from dossier.use_cases.indexing import Indexing
from tests.support.dossier_service import prepared

KEY = SecretStr(base64.b64encode(b"k" * 32).decode())
OFFICIAL = {"name": "Lê Văn Bình", "title": "Chuyên viên", "department": "Bộ phận Một cửa"}


def line(number: int) -> bytes:
    """A dossier of the past, with its history."""
    made = {
        "code": f"H10.{number % 50 + 1}-150302-{number:07d}",
        "procedure": {
            "code": "1.000016",
            "name": "Đăng ký thành lập doanh nghiệp tư nhân",
            "field": {"code": "G05-KH01", "name": "Thành lập và hoạt động của doanh nghiệp"},
        },
        "channel": "1",
        "applicant": {
            "kind": "1",
            "name": "Nguyễn Thị Ánh",
            "identity": {"type": "citizen-id", "number": f"{number:012d}"},
            "phone": "0912345678",
            "address": "Số 1, phố A, phường B",
        },
        "summary": f"Đăng ký thành lập doanh nghiệp số {number}",
        "status": "10",
        "submitted_at": "2015-03-02T08:00:00",
        "received_at": "2015-03-02T09:00:00",
        "due_at": "2015-03-20",
        "finished_at": "2015-03-12",
        "returned_at": "2015-03-13",
        "documents": [{"id": str(n), "name": f"Giấy tờ số {n}"} for n in range(5)],
        "results": [{"id": "kq1", "name": "Giấy chứng nhận"}],
        "steps": [
            {"kind": "submit", "status": "1", "at": "2015-03-02T08:00:00"},
            {"kind": "receive", "status": "2", "at": "2015-03-02T09:00:00", "official": OFFICIAL},
            *(
                {"kind": "progress", "status": "4", "at": f"2015-03-0{n}", "official": OFFICIAL}
                for n in range(3, 7)
            ),
            {"kind": "complete", "status": "9", "at": "2015-03-12", "official": OFFICIAL},
            {"kind": "return", "status": "10", "at": "2015-03-13"},
        ],
    }
    return json.dumps(made, ensure_ascii=False).encode() + b"\n"


async def measure(importing_: Importing, content: bytes, count: int, said: str) -> None:
    """Take the file in, and print the figures."""

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 256 * 1024):
            yield content[start : start + 256 * 1024]

    order = Order(new_id(), "benchmark", lambda _agency, _procedure: True, "ndjson")
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    ended = await importing_.run(order, parts())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sys.stdout.write(
        f"{said}: {ended.entered} entered, {ended.known} known; {count / wall:.0f} lines/s, "
        f"CPU {cpu / count * 1000:.3f} ms per dossier\n"
    )


async def main(count: int, profile: cProfile.Profile | None) -> None:
    """Prepare a database, measure, and take everything away again."""
    importing._BACKLOG_TURNS = 0  # nobody publishes here
    content = b"".join(line(number) for number in range(count))
    sys.stdout.write(f"{count} dossiers, {len(content) / 2**20:.0f} MiB\n")
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("dossier", "dossier", "dossier")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await prepared(url)
        database = Database(Settings(database_url=SecretStr(url)), name="dossier")
        keys = KeyRing({"k1": KEY}, "k1")
        indexing = Indexing(keys, BlindIndex({"i1": KEY}, "i1"))
        work = Importing(Outbox(database, "dossier"), database, keys, indexing)
        if profile:
            profile.enable()
        await measure(work, content, count, "new")
        if profile:
            profile.disable()
        await measure(work, content, count, "again")
        await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    profiler = cProfile.Profile() if given.profile else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.dossiers, profiler))
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
