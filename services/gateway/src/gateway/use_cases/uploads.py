"""Files that dossiers refer to: kept by content, and known by who brought them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

from common.blobs import Blobs, Stored
from common.database import Database
from gateway.errors import Busy, FileTypeMismatch, NotAPdf, UnknownFile, UploadTooSlow
from gateway.store import files as store
from gateway.use_cases.file_kinds import PDF, Kind, Sniffer

LARGEST_FILE = 10 * 1024 * 1024
"""Bytes."""

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

    async def keep(self, client_id: str, kind: Kind, parts: AsyncIterator[bytes]) -> Stored:
        """Keep a file.

        ``parts`` is limited by its source (the middleware raises TooLarge).

        Args:
            kind: what its sender says it is.

        Raises:
            NotAPdf, FileTypeMismatch: by its content it is something else.
            UploadTooSlow: it took more than two minutes.
            Busy: as many uploads run as may at the same time.
        """
        if self._running >= _AT_ONCE:
            raise Busy(headers={"Retry-After": "5"})
        self._running += 1
        try:
            async with asyncio.timeout(_SECONDS):
                stored = await self._blobs.put_stream(sniffed(kind, parts))
        except TimeoutError as error:
            raise UploadTooSlow(
                "Tệp không đến đủ trong 120 giây", "The file did not arrive within 120 seconds"
            ) from error
        finally:
            self._running -= 1
        async with self._database.transaction() as connection:
            await store.keep(connection, client_id, stored.digest, stored.size, kind.media)
        return stored

    async def check(
        self,
        client_id: str,
        files: Sequence[tuple[str, str]],
        to_sign: Collection[str] = (),
    ) -> None:
        """Make sure that the client has uploaded these files.

        Args:
            client_id: the client.
            files: digests, each with the JSON pointer to where it stood.
            to_sign: the pointers of those that are to be signed.

        Raises:
            UnknownFile: it has not.
            NotAPdf: one that is to be signed is something else.
        """
        if not files:
            return
        async with self._database.reading() as connection:
            known = await store.own(connection, client_id, [file for file, _ in files])
        unknown = [pointer for file, pointer in files if file not in known]
        if unknown:
            raise UnknownFile(
                "Tệp chưa được hệ thống này tải lên",
                "This client has not uploaded the file",
                errors=_at(unknown, "tệp chưa được tải lên", "not uploaded"),
            )
        others = [at for file, at in files if at in to_sign and known[file] != PDF.media]
        if others:
            raise NotAPdf(
                "Chỉ ký số được tệp PDF",
                "Only PDF files can be signed",
                errors=_at(others, "không phải tệp PDF", "not a PDF"),
            )


def _at(pointers: Sequence[str], detail: str, detail_en: str) -> list[dict[str, str]]:
    return [{"pointer": pointer, "detail": detail, "detail_en": detail_en} for pointer in pointers]


async def sniffed(kind: Kind, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The parts of a file that is what it is said to be; it breaks off as soon as it is not."""
    sniffer = Sniffer(kind)
    async for part in parts:
        if not sniffer.see(part):
            raise not_a(kind)
        yield part
    if not sniffer.verdict():
        raise not_a(kind)


def not_a(kind: Kind) -> NotAPdf | FileTypeMismatch:
    """The refusal of a file that is not of the kind that its sender named."""
    if kind is PDF:
        return NotAPdf("Nội dung không bắt đầu bằng %PDF-", "The content does not begin with %PDF-")
    return FileTypeMismatch(
        f"Nội dung không phải là {kind.media}", f"By its content this is no {kind.media}"
    )
