"""What the index of persons costs a submission, how fast it answers, how fast seals are renewed.

    .venv/bin/python -m benchmarks.personal [--dossiers 6000] [--batch 200]

Submissions with sealed applicants go through the dossier service's consumer against an embedded
PostgreSQL, without and with the index; then persons are searched for, and all dossiers are brought
under another sealing key. CPU time is that of this process alone.
"""

import argparse
import asyncio
import base64
import gc
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from backbone.postgres import EmbeddedPostgres
from common.blind import BlindIndex
from common.inbox import Consumer, Subscription
from common.outbox import Outbox
from common.sealing import KeyRing
from common.telemetry import Telemetry
from dossier.domain import calendar, persons, table
from dossier.domain.deadlines import Deadlines
from dossier.settings import Settings
from dossier.store import persons as store
from dossier.use_cases.indexing import Indexing
from dossier.use_cases.rekeying import Rekeying
from dossier.use_cases.submissions import obey_submissions
from tests.support.dossier_service import dossier_service, prepared
from tests.support.dossiers import code, command, envelope, submission

_KEYS = {name: SecretStr(base64.b64encode(name.encode() * 16).decode()) for name in ("k1", "k2")}
_INDEX = BlindIndex({"i1": SecretStr(base64.b64encode(b"i" * 32).decode())}, "i1")
_SEARCHES = 500


def person(number: int) -> dict[str, Any]:
    """One of many: every fourth dossier is of somebody who has another one."""
    who = number // 4 if number % 4 == 1 else number
    return {
        "name": f"Nguyễn Văn {who}",
        "identity": {"type": "citizen-id", "number": f"{who:012d}"},
        "phone": f"09{who:08d}",
        "email": f"person{who}@example.vn",
        "address": "Số 1, phố Hàng, phường Trung",
    }


def envelopes(first: int, dossiers: int) -> list[bytes]:
    """Submissions, each with its sealed applicant."""
    ring = KeyRing(_KEYS, "k1")
    made = []
    for number in range(first, first + dossiers):
        name = code(number)
        sealed = ring.seal(person(number), name)
        made.append(envelope(submission(name, command("submit", sealed=sealed)), 1, aggregate=name))
    return made


async def taken(consumer: Consumer, bodies: list[bytes], size: int) -> float:
    """CPU seconds for each of these submissions."""
    for start in range(0, size * 2, size):
        await consumer.take(bodies[start : start + size])
    bodies = bodies[size * 2 :]
    gc.collect()
    cpu = time.process_time()
    for start in range(0, len(bodies), size):
        await consumer.take(bodies[start : start + size])
    return (time.process_time() - cpu) / len(bodies)


async def measure(url: str, dossiers: int, size: int) -> None:
    """Measure and print a small table."""
    settings = Settings(database_url=SecretStr(url))
    ring = KeyRing(_KEYS, "k1")
    deadlines = Deadlines(calendar.load())
    async with dossier_service(url) as service:
        database = service.database

        def consumer(indexing: Indexing | None) -> Consumer:
            obey = partial(obey_submissions, table.load(), deadlines, indexing=indexing)
            subscription = Subscription("submissions", ("submission.received.v1",), obey)
            telemetry = Telemetry("dossier", settings)
            return Consumer("dossier", subscription, Outbox(database, "dossier"), telemetry)

        indexing = Indexing(ring, _INDEX)
        costs: dict[str, list[float]] = {"without": [], "with": []}
        for turn in range(4):
            how = ("without", "with")[turn % 2]
            bodies = envelopes(turn * dossiers, dossiers)
            made = consumer(indexing if how == "with" else None)
            costs[how].append(await taken(made, bodies, size))
        without, with_ = (min(costs[how]) * 1000 for how in ("without", "with"))
        sys.stdout.write(
            f"{4 * dossiers} submissions in batches of {size}: CPU {without:.3f} ms each without "
            f"the index, {with_:.3f} ms with it (+{with_ - without:.3f} ms)\n"
        )
        rest = Rekeying(database, ring, indexing, CollectorRegistry())
        started, cpu = time.perf_counter(), time.process_time()
        entered = await rest.whole_pass()
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        sys.stdout.write(
            f"{entered} entered in the background: {entered / wall:.0f}/s, "
            f"CPU {cpu / entered * 1000:.3f} ms each\n"
        )
        times, hits = [], 0
        async with database.reading() as connection:
            for number in range(_SEARCHES):
                who = person(number * 7 % (4 * dossiers))
                sought = persons.identity(who["identity"]["number"])
                began = time.perf_counter()
                found = await store.find(
                    connection,
                    "citizen-id",
                    _INDEX.digests("citizen-id", sought),
                    subtrees=["*"],
                    procedures=["*"],
                    after=None,
                    limit=50,
                )
                times.append((time.perf_counter() - began) * 1000)
                hits += len(found)
        p95 = statistics.quantiles(times, n=20)[-1]
        p50 = statistics.median(times)
        sys.stdout.write(f"search: p50 {p50:.2f} ms, p95 {p95:.2f} ms; {hits} found\n")
        anew = Rekeying(database, KeyRing(_KEYS, "k2"), indexing, CollectorRegistry())
        started, cpu = time.perf_counter(), time.process_time()
        sealed = await anew.whole_pass()
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        sys.stdout.write(
            f"{sealed} sealed anew: {sealed / wall:.0f}/s, CPU {cpu / sealed * 1000:.3f} ms each\n"
        )


async def main(dossiers: int, size: int) -> None:
    """Prepare a database, measure, and take everything away again."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("dossier", "dossier", "dossier")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await prepared(url)
        await measure(url, dossiers // 4, size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=200)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.dossiers, given.batch))
