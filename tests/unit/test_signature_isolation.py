"""What examines foreign documents may hang, crash or eat memory: the service goes on."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psutil
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from signature_connector.domain.findings import Report
from signature_connector.verification.isolation import Examiner
from tests.support.signing import pdf, root, sign, signer

MEMORY = 1 << 30


@asynccontextmanager
async def examiner(*, processes: int = 1, seconds: float = 20.0) -> AsyncIterator[Examiner]:
    trust = [root().certificate.public_bytes(Encoding.DER)]
    made = Examiner(trust, processes=processes, seconds=seconds, memory=MEMORY)
    try:
        yield made
    finally:
        await made.close()


def reason(report: Report) -> tuple[str, str | None] | None:
    return (report.refusal.code, report.refusal.detail) if report.refusal else None


async def test_documents_certificates_and_verdicts_come_back_from_the_other_process() -> None:
    document = pdf()
    now = datetime.now(UTC)
    async with examiner() as made:
        assert reason(await made.document(document)) is None
        assert reason(await made.certificate(signer().der, signer().serial, now)) is None
        signed = await asyncio.to_thread(sign, document, signer())
        good = await made.verdict(document, signed, signer().der, datetime.now(UTC))
        assert reason(good) is None
        bad = await made.verdict(document, document, signer().der, datetime.now(UTC))
        assert reason(bad) == ("unsigned", None)


@pytest.mark.parametrize(
    ("work", "material", "detail"),
    [
        (time.sleep, 30, "TimeoutError"),
        (os._exit, 3, "BrokenProcessPool"),
        (bytearray, 2 * MEMORY, "MemoryError"),
    ],
    ids=["hangs", "crashes", "eats-memory"],
)
async def test_an_examination_beyond_the_limits_is_a_refusal_and_the_next_one_works(
    work, material, detail: str
) -> None:
    async with examiner(seconds=0.5) as made:
        assert reason(await made.document(pdf())) is None
        began = time.monotonic()
        report = await made._examine(work, material)
        assert reason(report) == ("not-examinable", detail)
        assert time.monotonic() - began < 5
        assert reason(await made.document(pdf())) is None


async def test_a_crash_takes_nobody_elses_work_with_it() -> None:
    async with examiner(processes=2) as made:
        crash, good = await asyncio.gather(
            made._examine(os._exit, 3), made._examine(_slow_document, 0.5)
        )
        assert reason(crash) == ("not-examinable", "BrokenProcessPool")
        assert reason(good) is None


def _slow_document(seconds: float) -> Report:
    time.sleep(seconds)
    return Report(())


async def test_a_killed_process_costs_a_second_try_and_not_the_document() -> None:
    async with examiner() as made:
        await made.document(pdf())
        (cell,) = made.cells.idle
        assert cell.process
        os.kill(cell.process, signal.SIGKILL)
        await asyncio.sleep(0.2)
        assert reason(await made.document(pdf())) is None
        assert made.cells.idle[0] is not cell


async def test_the_event_loop_is_not_held_up() -> None:
    document = pdf(kib=100)
    signed = await asyncio.to_thread(sign, document, signer())
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - began)
            await asyncio.sleep(0.002)

    async with examiner(processes=2) as made:
        await made.document(document)
        watching = asyncio.create_task(watch())
        await asyncio.gather(
            *(made.verdict(document, signed, signer().der, datetime.now(UTC)) for _ in range(20))
        )
        watching.cancel()
    assert longest < 0.05


async def test_processes_are_started_when_needed_and_end_when_told() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    async with examiner(processes=2) as made:
        assert {c.pid for c in psutil.Process().children(recursive=True)} == before
        await made.document(pdf())
        (cell,) = made.cells.idle
        process = cell.process
        assert process
        assert psutil.pid_exists(process)
    assert not psutil.pid_exists(process) or (
        psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    )


async def test_what_verifies_writes_no_log() -> None:
    """The library's messages name the holders of certificates."""
    async with examiner() as made:
        report = await made._examine(_logging_state)
    assert report.facts == {"disabled": True}


def _logging_state() -> Report:
    return Report((), {"disabled": not logging.getLogger("pyhanko").isEnabledFor(logging.ERROR)})
