"""Handing files out: to whoever holds a good link, and to the client that brought them."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from common.blobs import BlobDamaged, BlobMissing, Blobs
from common.database import Database
from common.file_links import FileLinks, LinkExpired, LinkInvalid
from gateway.errors import Busy, FileDamaged, LinkOver, LinkRefused, NoSuchFile
from gateway.store import files as store
from gateway.use_cases.file_kinds import BY_MEDIA, PDF

_AT_ONCE = 64
OTHER_MEDIA = "application/octet-stream"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Download:
    """A file that may be handed out.

    Attributes:
        name: under which it is to be saved.
        size: bytes.
        to: the client that asks; None where a link does.
    """

    digest: str
    name: str
    media_type: str
    size: int
    to: str | None = None


class Downloads:
    """Hands files out.

    Args:
        blobs: where they are kept.
        database: knows which client brought which file.
        links: checks links; None where none are made.
    """

    def __init__(self, blobs: Blobs, database: Database, links: FileLinks | None) -> None:
        self._blobs = blobs
        self._database = database
        self._links = links
        self._running = 0

    async def by_link(self, digest: str, query: Mapping[str, str]) -> Download:
        """The file of a link.

        Raises:
            LinkRefused, LinkOver: the link is not good, or no longer.
            NoSuchFile: the link is good, and there is no such file.
        """
        try:
            if self._links is None:
                raise LinkInvalid
            name = self._links.check(digest, query)
        except LinkInvalid:
            raise LinkRefused(
                "Liên kết đã bị sửa đổi hoặc không do hệ thống này cấp",
                "The link was changed, or was not made here",
            ) from None
        except LinkExpired:
            raise LinkOver(
                "Hãy yêu cầu liên kết mới từ hệ thống đã cấp liên kết này",
                "Ask whoever gave you the link for a new one",
            ) from None
        async with self._database.reading() as connection:
            media_type = await store.media_type(connection, digest)
        if media_type is None and name.lower().endswith(f".{PDF.extension}"):
            media_type = PDF.media  # signed here, so nobody uploaded it
        return await self._download(digest, media_type or OTHER_MEDIA, name, to=None)

    async def by_client(self, digest: str, client_id: str) -> Download:
        """A file that the client has brought itself.

        Raises:
            NoSuchFile: it has brought none of this digest.
        """
        async with self._database.reading() as connection:
            own = await store.own(connection, client_id, [digest])
        if digest not in own:
            raise NoSuchFile
        return await self._download(digest, own[digest], digest, to=client_id)

    async def _download(
        self, digest: str, media_type: str, name: str, *, to: str | None
    ) -> Download:
        try:
            size = await self._blobs.size(digest)
        except BlobMissing:
            raise NoSuchFile from None
        kind = BY_MEDIA.get(media_type)
        if kind and not name.lower().endswith(f".{kind.extension}"):
            name = f"{name}.{kind.extension}"
        log.info("file asked for", sha256=digest, by=to or "link")
        return Download(digest, name, media_type, size, to)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Room for one more download.

        Raises:
            Busy: as many run as may at the same time.
        """
        if self._running >= _AT_ONCE:
            raise Busy(headers={"Retry-After": "5"})
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def parts(self, digest: str) -> AsyncIterator[bytes]:
        """The content. A damaged file never comes to its end.

        Raises:
            NoSuchFile: there is none any more.
            FileDamaged: in place of its last part.
        """
        try:
            blob = await self._blobs.open(digest)
            async for part in blob.parts():
                yield part
        except BlobMissing:
            raise NoSuchFile from None
        except BlobDamaged:
            log.error("stored file is damaged", sha256=digest)
            raise FileDamaged from None
