"""Files by content: stored under their SHA-256, so that a name says what it holds.

Both ways are streams. A file is written under a name of its own in ``incoming/`` and moved to its
digest once all of it is there, so that nothing partial ever stands under a digest. One that is read
is hashed on the way, and its last part held back until the digest is known to be right: whoever
counts bytes never takes a damaged file for a good one.
"""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, S3Store

from common.identifiers import new_id

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MISSING = (NotFoundError, FileNotFoundError)  # which of them is raised differs by release
_INCOMING, _PARTS = "incoming", "parts"
_SLICE = 256 * 1024  # hashed in about a tenth of a millisecond, between two turns of the loop
_LOCAL_BUFFER = 256 * 1024
_PART = 5 * 1024 * 1024  # the least S3 takes as a part of a larger object
_LARGE_AT_ONCE = 16
_ORPHANED_AFTER = timedelta(days=1)
_SWEEP_SECONDS = 3600.0
_SLOWEST = timedelta(minutes=10)  # a whole download; the store's own limit is half a minute


class BlobMissing(Exception):
    """No file of this digest."""


class BlobDamaged(Exception):
    """The stored bytes do not have the digest they are stored under."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is kept.

    Attributes:
        digest: SHA-256 in hex.
        size: bytes.
    """

    digest: str
    size: int


class Blobs:
    """The file store that services share.

    Args:
        url: ``file:///folder`` or ``s3://bucket/prefix``.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        match parts.scheme:
            case "file":
                folder = Path(parts.path)
                folder.mkdir(parents=True, exist_ok=True)
                self._use(LocalStore(parts.path, mkdir=True), folder)
            case "s3":
                store = S3Store(
                    parts.netloc,
                    prefix=parts.path.strip("/") or None,
                    client_options={"timeout": _SLOWEST},
                )
                self._use(store)
            case other:
                raise ValueError(f"unknown file store {other!r}: use file:// or s3://")

    @classmethod
    def on(cls, store: Any) -> Self:
        """Files on an object store of obstore that was opened elsewhere."""
        blobs = cls.__new__(cls)
        blobs._use(store)
        return blobs

    def _use(self, store: Any, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def put(self, content: bytes) -> str:
        """Store a file; its SHA-256 in hex. Storing it again changes nothing."""
        return (await self.put_stream(_once(content))).digest

    async def put_stream(self, parts: AsyncIterable[bytes]) -> Stored:
        """Store a file as it comes in.

        What ``parts`` raises passes through, and nothing is stored then. A file that is there
        already takes the place of itself, which heals one that was damaged.

        Args:
            parts: the content; held are a quarter of a mebibyte of it with a local folder, and
                five mebibytes with S3, ten of a limited number of larger ones: those wait.
        """
        name, stored = await self._written(parts)
        await self._settle(name, _place(stored.digest))
        return stored

    async def put_part(self, of: UUID, parts: AsyncIterable[bytes]) -> tuple[str, Stored]:
        """Store a part of a file, as ``put_stream``; the name by which it is read again.

        Parts of different files, and two of the same place, never share what is stored.

        Args:
            of: names the file that it is a part of.
        """
        name, stored = await self._written(parts)
        place = f"{_PARTS}/{of}/{new_id().hex}"
        await self._settle(name, place)
        return place, stored

    async def joined(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """The content of parts, one after the other.

        Raises:
            BlobMissing: one of them is not there.
        """
        for name in names:
            try:
                found = await obstore.get_async(self._store, name)
            except _MISSING as error:
                raise BlobMissing(name) from error
            async for part in found.stream(min_chunk_size=_SLICE):
                for piece in _sliced(bytes(part)):
                    yield piece

    async def drop_parts(self, of: UUID) -> None:
        """Remove every part of a file."""
        for name, _ in await self._parts(f"{_PARTS}/{of}"):
            await self._forget(name)

    async def drop_part(self, name: str) -> None:
        """Remove a part."""
        await self._forget(name)

    async def parts_before(self, moment: datetime) -> set[UUID]:
        """Files of which there are parts that were stored before a moment."""
        return {UUID(name.split("/")[1]) for name, at in await self._parts(_PARTS) if at < moment}

    async def _parts(self, prefix: str) -> list[tuple[str, datetime]]:
        return [
            (entry["path"], entry["last_modified"])
            async for page in obstore.list(self._store, prefix=prefix)
            for entry in page
        ]

    async def _written(self, parts: AsyncIterable[bytes]) -> tuple[str, Stored]:
        hashed, size = hashlib.sha256(), 0
        name = f"{_INCOMING}/{new_id().hex}"
        buffer = _PART if self._folder is None else _LOCAL_BUFFER
        async with (
            AsyncExitStack() as stack,
            obstore.open_writer_async(
                self._store, name, buffer_size=buffer, max_concurrency=1
            ) as writer,
        ):
            async for part in parts:
                for piece in _sliced(part):
                    hashed.update(piece)
                    if self._folder is None and size < _PART <= size + len(piece):
                        await stack.enter_async_context(self._large)
                    size += len(piece)
                    await writer.write(piece)
        return name, Stored(hashed.hexdigest(), size)

    async def open(self, digest: str) -> "OpenBlob":
        """A file to be read as a stream.

        Raises:
            BlobMissing: nothing is stored under the digest.
        """
        try:
            found = await obstore.get_async(self._store, _place(digest))
        except _MISSING as error:
            raise BlobMissing(digest) from error
        return OpenBlob(digest, found)

    async def get(self, digest: str) -> bytes:
        """The whole content.

        Raises:
            BlobMissing: nothing is stored under the digest.
            BlobDamaged: what is stored there has another digest.
        """
        blob = await self.open(digest)
        return b"".join([part async for part in blob.parts()])

    async def has(self, digest: str) -> bool:
        """Whether a file of this digest is stored."""
        try:
            await self.size(digest)
        except BlobMissing:
            return False
        return True

    async def size(self, digest: str) -> int:
        """How large a stored file is, in bytes.

        Raises:
            BlobMissing: nothing is stored under the digest.
        """
        try:
            meta = await obstore.head_async(self._store, _place(digest))
        except _MISSING as error:
            raise BlobMissing(digest) from error
        return int(meta["size"])

    async def sweep(self, older_than: timedelta = _ORPHANED_AFTER) -> int:
        """Remove what processes that were killed left in ``incoming/``; how many files.

        Parts of S3 uploads that were never completed are the bucket's lifecycle rule's to remove.
        """
        if self._folder is not None:
            # Not by the store: it does not list files that it has not finished.
            return await asyncio.to_thread(_sweep, self._folder / _INCOMING, older_than)
        limit = datetime.now(UTC) - older_than
        old = [
            entry["path"]
            async for page in obstore.list(self._store, prefix=_INCOMING)
            for entry in page
            if entry["last_modified"] < limit
        ]
        for name in old:
            await self._forget(name)
        return len(old)

    async def run(self) -> None:
        """Sweep every hour."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self.sweep()

    async def _settle(self, name: str, place: str) -> None:
        try:
            if self._folder is not None:
                await asyncio.to_thread(_sync, self._folder / name)
            await obstore.rename_async(self._store, name, place, overwrite=True)
            if self._folder is not None:
                await asyncio.to_thread(_sync, (self._folder / place).parent)
        except BaseException:
            await self._forget(name)
            raise

    async def _forget(self, name: str) -> None:
        try:
            await obstore.delete_async(self._store, name)
        except _MISSING:
            pass


class OpenBlob:
    """A stored file that is about to be read, once.

    Attributes:
        digest: SHA-256 in hex.
        size: bytes.
    """

    def __init__(self, digest: str, found: Any) -> None:
        self.digest = digest
        self.size = int(found.meta["size"])
        self._found = found

    async def parts(self) -> AsyncIterator[bytes]:
        """The content, in order.

        Raises:
            BlobDamaged: it has another digest; raised instead of the last part.
        """
        hashed = hashlib.sha256()
        held: bytes | None = None
        async for part in self._found.stream(min_chunk_size=_SLICE):
            for piece in _sliced(bytes(part)):
                hashed.update(piece)
                if held is not None:
                    yield held
                held = piece
        if hashed.hexdigest() != self.digest:
            raise BlobDamaged(self.digest)
        if held is not None:
            yield held


def _place(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise BlobMissing(digest)
    return f"{digest[:2]}/{digest}"


def _sliced(part: bytes) -> Iterator[bytes]:
    if len(part) <= _SLICE:
        return iter((part,) if part else ())
    return (part[start : start + _SLICE] for start in range(0, len(part), _SLICE))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _sync(path: Path) -> None:
    """Have the disk keep a file or a folder's entries before anybody is told that it is there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path, older_than: timedelta) -> int:
    limit = time.time() - older_than.total_seconds()
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
        except FileNotFoundError:  # moved to its digest meanwhile
            continue
    return removed
