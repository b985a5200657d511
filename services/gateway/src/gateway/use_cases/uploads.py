"""Files that results refer to: kept by content, and known by who brought them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from common.blobs import Blobs
from common.database import Database
from gateway.errors import Busy, NotAPdf, UnknownFile, UploadTooSlow
from gateway.store import registry

LARGEST_FILE = 10 * 1024 * 1024
"""Bytes."""

_MAGIC = b"%PDF-"
_SECONDS = 120.0
_AT_ONCE = 32


class Uploads:
    """Takes files in.

    Args:
        blobs: where they are kept.
        database: remembers which client brought which file.
    """

    def __init__(self, blobs: Blobs, database: Database) -> None:
        self._blobs = blobs
        self._database = database
        self._running = 0

    async def keep(self, client_id: str, parts: AsyncIterator[bytes]) -> tuple[str, int]:
        """Keep a PDF; its SHA-256 and its size in bytes.

        ``parts`` is limited by its source (the middleware raises TooLarge).

        Raises:
            NotAPdf: it does not begin as one.
            UploadTooSlow: it took more than two minutes.
            Busy: as many uploads run as may at the same time.
        """
        if self._running >= _AT_ONCE:
            raise Busy(headers={"Retry-After": "5"})
        self._running += 1
        try:
            async with asyncio.timeout(_SECONDS):
                content = await _pdf(parts)
            digest = await self._blobs.put(content)
        except TimeoutError as error:
            raise UploadTooSlow(
                "Tệp không đến đủ trong 120 giây", "The file did not arrive within 120 seconds"
            ) from error
        finally:
            self._running -= 1
        async with self._database.transaction() as connection:
            await registry.keep_file(connection, client_id, digest, len(content))
        return digest, len(content)

    async def check(self, client_id: str, files: Sequence[tuple[str, str]]) -> None:
        """Make sure that the client has uploaded these files.

        Args:
            client_id: the client.
            files: digests, each with the JSON pointer to where it stood.

        Raises:
            UnknownFile: it has not.
        """
        if not files:
            return
        async with self._database.reading() as connection:
            known = await registry.own_files(connection, client_id, [file for file, _ in files])
        unknown = [pointer for file, pointer in files if file not in known]
        if unknown:
            raise UnknownFile(
                "Tệp kết quả chưa được hệ thống này tải lên",
                "This client has not uploaded a result's file",
                errors=[
                    {
                        "pointer": pointer,
                        "detail": "tệp chưa được tải lên",
                        "detail_en": "not uploaded",
                    }
                    for pointer in unknown
                ],
            )


async def _pdf(parts: AsyncIterator[bytes]) -> bytes:
    content = bytearray()
    async for part in parts:
        content += part
        if not _MAGIC.startswith(content[: len(_MAGIC)]):
            break
    if not content.startswith(_MAGIC):
        raise NotAPdf("Nội dung không bắt đầu bằng %PDF-", "The content does not begin with %PDF-")
    return bytes(content)
