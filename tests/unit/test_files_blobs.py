"""Files as streams, in a local folder and in an object store."""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from obstore.store import MemoryStore

import common.blobs
from common.blobs import BlobDamaged, BlobMissing, Blobs, OpenBlob

MIB = 1024 * 1024
LARGE = random.Random(11).randbytes(MIB) * 11  # more than two parts of an object store
DIGEST = hashlib.sha256(LARGE).hexdigest()


@pytest.fixture(params=["folder", "store"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """The local folder, and a store that takes the way of S3."""
    return (
        Blobs(f"file://{tmp_path}/blobs") if request.param == "folder" else Blobs.on(MemoryStore())
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def local(folder: Path) -> Blobs:
    return Blobs(f"file://{folder}")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def cut(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def gathered(blob: OpenBlob, parts: list[bytes]) -> None:
    async for part in blob.parts():
        parts.append(part)  # noqa: PERF401 - what came before it broke off counts


@pytest.mark.parametrize("size", [64 * 1024, 1_000_003, len(LARGE)])
async def test_a_stream_comes_back_as_it_went_in(blobs: Blobs, size: int) -> None:
    stored = await blobs.put_stream(cut(LARGE, size))
    assert (stored.digest, stored.size) == (DIGEST, len(LARGE))
    blob = await blobs.open(DIGEST)
    assert blob.size == await blobs.size(DIGEST) == len(LARGE)
    assert b"".join([part async for part in blob.parts()]) == LARGE


@pytest.mark.parametrize("content", [b"", b"x", b"y" * 256 * 1024])
async def test_small_files_are_files_too(blobs: Blobs, content: bytes) -> None:
    stored = await blobs.put_stream(cut(content, 10_000))
    assert stored.digest == hashlib.sha256(content).hexdigest()
    assert await blobs.get(stored.digest) == content


async def test_no_part_is_larger_than_a_quarter_of_a_mebibyte(blobs: Blobs) -> None:
    await blobs.put(LARGE)
    sizes = [len(part) async for part in (await blobs.open(DIGEST)).parts()]
    assert max(sizes) <= MIB // 4


async def test_nothing_stands_under_a_digest_before_it_is_whole(local: Blobs, folder: Path) -> None:
    async def watched() -> AsyncIterator[bytes]:
        async for part in cut(LARGE, MIB):
            yield part
            assert all(path.parent.name == "incoming" for path in files(folder))
        assert files(folder)

    await local.put_stream(watched())
    assert files(folder) == [folder / DIGEST[:2] / DIGEST]


async def test_a_stream_that_breaks_leaves_nothing(local: Blobs, folder: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await local.put_stream(broken())
    assert files(folder) == []


async def test_a_stream_that_is_given_up_leaves_nothing(local: Blobs, folder: Path) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield LARGE
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await local.put_stream(stuck())
    await asyncio.sleep(0.05)
    assert files(folder) == []


async def test_others_get_their_turn_while_a_large_file_is_hashed(blobs: Blobs) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await blobs.put(LARGE)
    written, turns = turns, 0
    await blobs.get(DIGEST)
    task.cancel()
    assert written >= len(LARGE) // (MIB // 4)
    assert turns > 0


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.mark.parametrize("damage", [_flip, _shorten, _lengthen])
async def test_a_damaged_file_never_comes_to_its_end(local: Blobs, folder: Path, damage) -> None:
    await local.put(LARGE)
    damage(folder / DIGEST[:2] / DIGEST)
    blob = await local.open(DIGEST)
    got: list[bytes] = []
    with pytest.raises(BlobDamaged):
        await gathered(blob, got)
    assert 0 < sum(map(len, got)) < blob.size


async def test_a_short_damaged_file_gives_nothing_at_all(local: Blobs, folder: Path) -> None:
    digest = await local.put(b"a short one")
    _flip(folder / digest[:2] / digest)
    blob, got = await local.open(digest), list[bytes]()
    with pytest.raises(BlobDamaged):
        await gathered(blob, got)
    assert got == []


async def test_bringing_a_damaged_file_again_heals_it(local: Blobs, folder: Path) -> None:
    await local.put(LARGE)
    _shorten(folder / DIGEST[:2] / DIGEST)
    await local.put(LARGE)
    assert await local.get(DIGEST) == LARGE


async def test_the_same_file_from_many_at_once(blobs: Blobs) -> None:
    stored = await asyncio.gather(*(blobs.put_stream(cut(LARGE, MIB)) for _ in range(5)))
    assert {one.digest for one in stored} == {DIGEST}
    assert await blobs.get(DIGEST) == LARGE


@pytest.mark.parametrize("digest", ["", "0" * 64, "../../etc/passwd", DIGEST.upper(), "incoming"])
async def test_what_is_not_there_is_missing(blobs: Blobs, digest: str) -> None:
    with pytest.raises(BlobMissing):
        await blobs.open(digest)
    with pytest.raises(BlobMissing):
        await blobs.size(digest)


async def test_large_files_wait_for_each_other_in_an_object_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common.blobs, "_LARGE_AT_ONCE", 2)
    blobs = Blobs.on(MemoryStore())
    beyond = most = 0

    async def watched(seed: bytes) -> AsyncIterator[bytes]:
        nonlocal beyond, most
        yield seed * 6 * MIB
        beyond += 1
        most = max(most, beyond)
        await asyncio.sleep(0.01)
        yield seed
        beyond -= 1

    await asyncio.gather(*(blobs.put_stream(watched(bytes([n]))) for n in range(6)))
    assert most == 2


async def test_what_a_killed_process_left_is_swept_after_a_day(local: Blobs, folder: Path) -> None:
    await local.put(b"kept")
    incoming = folder / "incoming"
    incoming.mkdir(exist_ok=True)
    old, young = incoming / "0001#1", incoming / "0002#1"  # as the store names unfinished files
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    kept = next(path for path in files(folder) if path.parent != incoming)
    os.utime(kept, (yesterday, yesterday))
    assert await local.sweep() == 1
    assert sorted(files(folder)) == sorted([young, kept])


async def test_an_object_store_is_swept_too() -> None:
    store = MemoryStore()
    blobs = Blobs.on(store)
    digest = await blobs.put(b"kept")
    await store.put_async("incoming/left", b"x")
    assert await blobs.sweep() == 0
    assert await blobs.sweep(older_than=timedelta(seconds=-1)) == 1
    assert [one["path"] for one in store.list().collect()] == [f"{digest[:2]}/{digest}"]


OF, OTHER = UUID(int=1), UUID(int=2)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_parts_are_kept_apart_from_files_and_joined_in_order(blobs: Blobs) -> None:
    first, stored = await blobs.put_part(OF, _pieces(LARGE[:MIB], LARGE[MIB : 6 * MIB]))
    assert (stored.size, stored.digest) == (6 * MIB, hashlib.sha256(LARGE[: 6 * MIB]).hexdigest())
    second, _ = await blobs.put_part(OF, _pieces(LARGE[6 * MIB :]))
    assert b"".join([part async for part in blobs.joined([first, second])]) == LARGE
    assert not await blobs.has(stored.digest)
    # The same content as a file, or as a part of another one, is nobody else's to remove.
    twin, _ = await blobs.put_part(OTHER, _pieces(LARGE[6 * MIB :]))
    await blobs.put(LARGE[: 6 * MIB])
    await blobs.drop_parts(OF)
    with pytest.raises(BlobMissing):
        _ = [part async for part in blobs.joined([first])]
    assert b"".join([part async for part in blobs.joined([twin])]) == LARGE[6 * MIB :]
    assert await blobs.get(stored.digest) == LARGE[: 6 * MIB]


async def test_parts_are_found_by_their_age(blobs: Blobs) -> None:
    name, _ = await blobs.put_part(OF, _pieces(b"a"))
    await blobs.put_part(OTHER, _pieces(b"b"))
    now = datetime.now(UTC)
    assert await blobs.parts_before(now - timedelta(hours=1)) == set()
    assert await blobs.parts_before(now + timedelta(hours=1)) == {OF, OTHER}
    await blobs.drop_part(name)
    assert await blobs.parts_before(now + timedelta(hours=1)) == {OTHER}


async def test_a_part_that_fails_on_the_way_leaves_nothing(blobs: Blobs) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield LARGE[:MIB]
        raise ValueError("broke off")

    with pytest.raises(ValueError, match="broke off"):
        await blobs.put_part(OF, failing())
    assert await blobs.parts_before(datetime.now(UTC) + timedelta(hours=1)) == set()
