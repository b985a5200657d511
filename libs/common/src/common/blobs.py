"""Files by content: stored under their SHA-256, so that a name says what it holds."""

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import LocalStore, S3Store

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MISSING = (NotFoundError, FileNotFoundError)  # which of them is raised differs by release


class BlobMissing(Exception):
    """No file of this digest."""


class BlobDamaged(Exception):
    """The stored bytes do not have the digest they are stored under."""


class Blobs:
    """The file store that services share.

    Args:
        url: ``file:///folder`` or ``s3://bucket/prefix``.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._store: Any
        match parts.scheme:
            case "file":
                Path(parts.path).mkdir(parents=True, exist_ok=True)
                self._store = LocalStore(parts.path, mkdir=True)
            case "s3":
                self._store = S3Store(parts.netloc, prefix=parts.path.strip("/") or None)
            case other:
                raise ValueError(f"unknown file store {other!r}: use file:// or s3://")

    async def put(self, content: bytes) -> str:
        """Store a file; its SHA-256 in hex. Storing it again changes nothing."""
        digest = hashlib.sha256(content).hexdigest()
        try:
            await obstore.put_async(self._store, _place(digest), content, mode="create")
        except AlreadyExistsError:
            pass
        return digest

    async def get(self, digest: str) -> bytes:
        """The content.

        Raises:
            BlobMissing: nothing is stored under the digest.
            BlobDamaged: what is stored there has another digest.
        """
        if not _DIGEST.fullmatch(digest):
            raise BlobMissing(digest)
        try:
            found = await obstore.get_async(self._store, _place(digest))
        except _MISSING as error:
            raise BlobMissing(digest) from error
        content = bytes(await found.bytes_async())
        if hashlib.sha256(content).hexdigest() != digest:
            raise BlobDamaged(digest)
        return content

    async def has(self, digest: str) -> bool:
        """Whether a file of this digest is stored."""
        if not _DIGEST.fullmatch(digest):
            return False
        try:
            await obstore.head_async(self._store, _place(digest))
        except _MISSING:
            return False
        return True


def _place(digest: str) -> str:
    return f"{digest[:2]}/{digest}"
