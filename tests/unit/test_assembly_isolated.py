"""Assembly goes on in other processes: bounded, without holding up the service."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import signature_connector.assembly as assembly_room
from signature_connector.assembly.isolated import IsolatedAssembler
from signature_connector.domain.assembly import Unfit
from signature_connector.domain.sentences import SENTENCES
from signature_connector.isolation import Cells, Unfinished
from tests.support import assembly, misbehaving
from tests.support.assembly import raw_signature, validation_data, wish
from tests.support.signing import pdf, signer
from tests.unit.test_assembly_pades import accepted

MEMORY = 1 << 30
MIB = 1 << 20


@asynccontextmanager
async def assembler(*, limit: int = 60 * MIB) -> AsyncIterator[IsolatedAssembler]:
    made = IsolatedAssembler(processes=1, seconds=20.0, memory=MEMORY, limit=limit)
    try:
        yield made
    finally:
        await made.close()


async def test_a_document_goes_all_the_way_to_b_lta() -> None:
    how = wish()
    async with assembler() as made:
        waiting = await made.prepare(pdf(), how)
        document = await made.finish(waiting, raw_signature(signer().key, waiting.digest, how))
        assert await asyncio.to_thread(accepted, document)
        token = assembly.tsa().token(await made.imprint(document, "pades"))
        document = await made.timestamped(document, "pades", token)
        document = await made.long_term(document, "pades", validation_data())
        room = await made.archive_imprint(document, "pades")
        document = await made.archived(room, assembly.tsa().token(room.digest))
        assert await asyncio.to_thread(accepted, document)


async def test_what_cannot_be_assembled_is_said_and_the_next_one_works() -> None:
    how = wish()
    async with assembler(limit=MIB) as made:
        for content, code in (
            (b"GIF89a", "not-a-pdf"),
            (b"%PDF-1.7\n" + b"(" * 9000, "unreadable"),
            (bytes(MIB + 1), "too-large"),
        ):
            with pytest.raises(Unfit) as refused:
                await made.prepare(content, how)
            assert refused.value.code == code
        waiting = await made.prepare(pdf(), how)
        with pytest.raises(Unfit, match="bad-signature"):
            await made.finish(waiting, bytes(256))


async def test_a_large_document_does_not_hold_up_the_event_loop() -> None:
    how = wish()
    document = await asyncio.to_thread(pdf, kib=50 * 1024)
    async with assembler() as made:
        await made.prepare(pdf(), how)
        lags = asyncio.create_task(_longest_block())
        await asyncio.sleep(0.05)
        waiting = await made.prepare(document, how)
        signature = await asyncio.to_thread(raw_signature, signer().key, waiting.digest, how)
        signed = await made.finish(waiting, signature)
        lags.cancel()
        longest = await lags
        assert await asyncio.to_thread(accepted, signed)
    assert longest < 0.05


async def _longest_block() -> float:
    longest = 0.0
    try:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began - 0.001)
    except asyncio.CancelledError:
        return longest


async def test_work_that_hangs_or_crashes_is_ended_and_tried_once_more() -> None:
    cells = Cells(processes=1, seconds=2, memory=MEMORY)
    try:
        for work, material, reason in (
            (misbehaving.hang, 30, "TimeoutError"),
            (misbehaving.crash, 3, "BrokenProcessPool"),
            (misbehaving.eat, 2 * MEMORY, "MemoryError"),
        ):
            with pytest.raises(Unfinished, match=reason):
                await cells.rework(b"document", work, material)
        assert await cells.rework(b"document", misbehaving.shout) == (8, b"DOCUMENT!")
    finally:
        await cells.close()


async def test_a_second_try_begins_with_the_document_as_it_was(tmp_path: Path) -> None:
    cells = Cells(processes=1, seconds=5, memory=MEMORY)
    try:
        work = misbehaving.spoil_then_crash_once
        found = await cells.rework(b"document", work, tmp_path / "once")
        assert found == (8, b"document")
    finally:
        await cells.close()


async def test_the_service_itself_does_not_load_the_signing_library() -> None:
    code = "import sys, signature_connector.assembly.isolated as i; print('pyhanko' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.strip() == b"False"


def test_every_reason_has_a_sentence_in_both_languages() -> None:
    rooms = Path(assembly_room.__file__).parent
    told = {
        code
        for file in rooms.glob("*.py")
        for code in re.findall(r'Unfit\(\s*"([a-z-]+)"', file.read_text())
    }
    assert len(told) > 15
    assert told <= SENTENCES.keys()
