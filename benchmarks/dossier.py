"""Commands per second through the dossier service's consumer, and the CPU time each costs.

    .venv/bin/python -m benchmarks.dossier [--dossiers 2000] [--batch 200] [--profile]

Whole lives of dossiers, interleaved, go through ``Consumer.take`` against an embedded PostgreSQL:
envelopes in, states, steps and events written. CPU time is that of this process alone.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from sqlalchemy import text

from backbone.postgres import EmbeddedPostgres
from common.contracts.commands import Command
from tests.support.dossier_service import DossierService, dossier_service, prepared
from tests.support.dossiers import code, command, envelope, result, submission

DOCUMENTS = [
    {"id": str(n), "name": f"Giấy tờ số {n} của thành phần hồ sơ", "component": f"TP{n:05d}"}
    for n in range(5)
]
PROCEDURE = {
    "code": "1.000016",
    "name": "Đăng ký thành lập doanh nghiệp",
    "field": {"code": "G05-KH01", "name": "Thành lập và hoạt động của doanh nghiệp"},
    "time": {"quantity": 3, "unit": "working-day"},
}
OFFICIAL = {"name": "Lê Văn Bình", "title": "Chuyên viên", "department": "Bộ phận Một cửa"}


def life(number: int) -> list[Command]:
    """Six or eight steps; every fourth result is to be signed."""
    sealed = "v1.k1." + "A" * 300
    steps = [
        command("submit", documents=DOCUMENTS, sealed=sealed, procedure=PROCEDURE),
        command("receive", 1, official=OFFICIAL, receipt_number="BN-2026-1"),
        command("progress", 2, official=OFFICIAL, note="Thẩm định hồ sơ"),
    ]
    if number % 3 == 0:
        steps += [
            command("request-supplement", 3, official=OFFICIAL),
            command("give-supplement", 4, documents=DOCUMENTS[:1]),
        ]
    return [
        *steps,
        command("progress", 5, official=OFFICIAL, note="Trình ký"),
        command("complete", 6, results=[result(signed=number % 4 == 0)]),
        command("return", 7),
    ]


def envelopes(dossiers: int) -> list[bytes]:
    """All lives side by side, a hundred dossiers at a time: as a busy province reports them."""
    made = []
    for first in range(0, dossiers, 100):
        lives = [life(n) for n in range(first, min(first + 100, dossiers))]
        for place in range(max(map(len, lives))):
            for offset, steps in enumerate(lives):
                if place < len(steps):
                    name = code(first + offset)
                    event = submission(name, steps[place])
                    made.append(envelope(event, place + 1, aggregate=name))
    return made


async def measure(
    service: DossierService, bodies: list[bytes], size: int, profile: cProfile.Profile | None
) -> None:
    """Take all of them and print the figures."""
    warm, bodies = bodies[: size * 4], bodies[size * 4 :]
    for start in range(0, len(warm), size):
        await service.submissions.take(warm[start : start + size])
    gc.collect()
    gc.freeze()  # as a service does when it has started
    if profile:
        profile.enable()
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(bodies), size):
        await service.submissions.take(bodies[start : start + size])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if profile:
        profile.disable()
    steps, parked = [
        (await service.rows(f"SELECT count(*) FROM {name}"))[0][0]  # noqa: S608 - fixed names
        for name in ("dossier_step", "parked")
    ]
    done = len(bodies)
    sys.stdout.write(
        f"{done} commands in batches of {size}: {done / wall:.0f}/s, "
        f"CPU {cpu / done * 1000:.3f} ms per command; {steps} steps in all, {parked} parked\n"
    )


async def main(dossiers: int, size: int, profile: cProfile.Profile | None) -> None:
    """Prepare a database, measure, and take everything away again."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("dossier", "dossier", "dossier")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await prepared(url)
        async with dossier_service(url) as service:
            async with service.database.transaction() as connection:
                await connection.execute(text("ANALYZE"))
            await measure(service, envelopes(dossiers), size, profile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dossiers", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    profiler = cProfile.Profile() if given.profile else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.dossiers, given.batch, profiler))
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
