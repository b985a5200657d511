"""Files by content."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from common.blobs import BlobDamaged, BlobMissing, Blobs

CONTENT = b"%PDF-1.7 \x00\xff" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(f"file://{tmp_path}/blobs")


async def test_a_file_is_stored_under_its_digest_once(blobs: Blobs) -> None:
    assert not await blobs.has(DIGEST)
    assert await asyncio.gather(*(blobs.put(CONTENT) for _ in range(5))) == [DIGEST] * 5
    assert await blobs.put(CONTENT) == DIGEST
    assert await blobs.has(DIGEST)
    assert await blobs.get(DIGEST) == CONTENT
    assert await blobs.get(await blobs.put(b"")) == b""


async def test_what_is_not_there_is_missing(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        await blobs.get(DIGEST)


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", DIGEST.upper(), DIGEST + "\n", "0" * 63]
)
async def test_what_is_no_digest_is_missing(blobs: Blobs, digest: str) -> None:
    await blobs.put(CONTENT)
    assert not await blobs.has(digest)
    with pytest.raises(BlobMissing):
        await blobs.get(digest)


async def test_a_damaged_file_is_not_given_out(blobs: Blobs, tmp_path: Path) -> None:
    await blobs.put(CONTENT)
    (stored,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file())
    stored.write_bytes(CONTENT[:-1])
    with pytest.raises(BlobDamaged):
        await blobs.get(DIGEST)


def test_a_store_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="ftp"):
        Blobs("ftp://somewhere")
