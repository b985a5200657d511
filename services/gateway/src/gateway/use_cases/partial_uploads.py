"""Large files that arrive in parts: begun, appended to, checked as a whole, or given up.

Parts are kept in the file store and what there is of them in the database, so that each part may
come to another replica. One request at a time appends; it holds the upload for half a minute and
renews that while bytes come in, so that a replica that dies does not keep the upload for long.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from starlette.requests import ClientDisconnect

from common.blobs import Blobs
from common.database import Database
from common.errors import describe
from common.identifiers import new_id
from common.problems import BodyTooSlow
from gateway.errors import (
    Busy,
    DigestMismatch,
    FileTypeMismatch,
    NoSuchUpload,
    NotAPdf,
    OffsetMismatch,
    PartTooLong,
    PartTooShort,
    TooManyUploads,
    UploadComplete,
    UploadHeld,
    UploadTooLarge,
    UploadTooSlow,
)
from gateway.store import files
from gateway.store import uploads as store
from gateway.store.uploads import Upload
from gateway.use_cases.file_kinds import HEAD, Kind
from gateway.use_cases.uploads import not_a, sniffed

LEAST_PART = 64 * 1024
"""Bytes of a part that is not the last: so an upload has a limited number of them."""

_HOLD_SECONDS, _RENEW_SECONDS = 30.0, 10.0
_IDLE_SECONDS = 20.0
_AT_ONCE = 32
_UPKEEP_SECONDS = 600.0
_ORPHANED_AFTER = timedelta(hours=2)
_BATCH = 100

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rules:
    """What uploads are limited to.

    Attributes:
        largest: bytes of a file.
        open: uploads of a client that are not complete.
        seconds: how long one lives after its last part, and after it was completed.
    """

    largest: int
    open: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is being sent.

    Attributes:
        start: its place in the file.
        content: limited by its source (the middleware raises TooLarge).
        digests: what it must hash to, by algorithm of ``hashlib``.
    """

    start: int
    content: AsyncIterator[bytes]
    digests: tuple[tuple[str, bytes], ...] = ()


class PartialUploads:
    """Takes large files in.

    Args:
        blobs: where parts and files are kept.
        database: knows how far each upload is.
    """

    def __init__(self, blobs: Blobs, database: Database, rules: Rules) -> None:
        self._blobs = blobs
        self._database = database
        self.rules = rules
        self._running = 0

    async def begin(
        self, client_id: str, kind: Kind, size: int, sha256: str
    ) -> tuple[Upload, bool]:
        """The upload of a file, and whether it is a new one: who asks again goes on with it.

        Raises:
            UploadTooLarge: above the limit.
            TooManyUploads: the client has as many open as it may.
        """
        if size > self.rules.largest:
            raise UploadTooLarge(
                f"Tệp tối đa {self.rules.largest} byte",
                f"A file has at most {self.rules.largest} bytes",
            )
        async with self._database.transaction() as connection:
            found = await store.same(connection, client_id, sha256, size, kind.media)
            if found is not None:
                return found, False
            if await store.open_ones(connection, client_id) >= self.rules.open:
                raise TooManyUploads(
                    f"Mỗi hệ thống có tối đa {self.rules.open} lượt tải lên đang mở; hãy hoàn tất "
                    "hoặc hủy bớt",
                    f"A client has at most {self.rules.open} open uploads; complete or cancel some",
                    headers={"Retry-After": "60"},
                )
            made = await store.begin(
                connection, new_id(), client_id, sha256, size, kind.media, self.rules.seconds
            )
            return made, True

    async def find(self, client_id: str, identifier: UUID) -> Upload:
        """A client's upload.

        Raises:
            NoSuchUpload: there is none, no longer, or it is another client's.
        """
        async with self._database.reading() as connection:
            found = await store.own(connection, identifier, client_id)
        if found is None:
            raise NoSuchUpload
        return found

    async def append(self, client_id: str, identifier: UUID, kind: Kind, part: Part) -> Upload:
        """Take a part in; with the last one the file is checked and kept.

        A part that breaks off counts as far as it came, unless it has a digest: then it counts as a
        whole or not at all. Appending nothing at the end checks a file again whose last part came
        but whose check was interrupted.

        Raises:
            NoSuchUpload, UploadComplete: there is nothing to append to.
            OffsetMismatch: the part begins elsewhere than at the end of what is here.
            UploadHeld: another part is being taken in now.
            PartTooShort, PartTooLong: for what is still to come.
            DigestMismatch: the part, or the file, is not what it was said to be.
            NotAPdf, FileTypeMismatch: by its content the file is of another type.
            UploadTooSlow: nothing came for a while.
            Busy: as many parts are taken in as may at the same time.
        """
        if self._running >= _AT_ONCE:
            raise Busy(headers={"Retry-After": "5"})
        self._running += 1
        try:
            async with self._held(client_id, identifier, part.start) as (upload, holder):
                arrived = upload.arrived
                if arrived < upload.size:
                    arrived += await self._take(upload, holder, kind, part)
                if arrived == upload.size:
                    await self._finish(upload, holder, kind)
            return await self.find(client_id, identifier)
        finally:
            self._running -= 1

    async def cancel(self, client_id: str, identifier: UUID) -> None:
        """Give an upload up; a file that is complete stays.

        Raises:
            NoSuchUpload: there is none.
            UploadHeld: a part is being taken in now.
        """
        found = await self.find(client_id, identifier)
        await self._remove(found, None)

    async def run(self) -> None:
        """Remove what was given up, without end."""
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            await self.remove_expired()
            await self.remove_orphans(datetime.now(UTC) - _ORPHANED_AFTER)

    async def remove_expired(self) -> int:
        """Remove uploads whose time is over; how many."""
        removed = 0
        while True:
            async with self._database.transaction() as connection:
                gone = await store.expired(connection, _BATCH)
            for identifier in gone:
                await self._blobs.drop_parts(identifier)
            removed += len(gone)
            if len(gone) < _BATCH:
                return removed

    async def remove_orphans(self, before: datetime) -> int:
        """Remove parts of uploads that are not known any more; of how many uploads."""
        ids = sorted(await self._blobs.parts_before(before))
        async with self._database.reading() as connection:
            known = await store.known(connection, ids)
        orphaned = [identifier for identifier in ids if identifier not in known]
        for identifier in orphaned:
            await self._blobs.drop_parts(identifier)
        return len(orphaned)

    @asynccontextmanager
    async def _held(
        self, client_id: str, identifier: UUID, start: int
    ) -> AsyncIterator[tuple[Upload, UUID]]:
        """Be the only one who appends, for as long as the block lasts."""
        holder = new_id()
        async with self._database.transaction() as connection:
            upload = await store.hold(
                connection,
                identifier,
                client_id,
                holder,
                start=start,
                hold=_HOLD_SECONDS,
                seconds=self.rules.seconds,
            )
        if upload is None:
            raise _why_not(await self.find(client_id, identifier), start)
        renewing = asyncio.create_task(self._renewed(identifier, holder))
        try:
            yield upload, holder
        finally:
            renewing.cancel()
            await asyncio.shield(self._released(identifier, holder))

    async def _renewed(self, identifier: UUID, holder: UUID) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                async with self._database.transaction() as connection:
                    if not await store.renew(connection, identifier, holder, _HOLD_SECONDS):
                        return
            except Exception as error:  # it is tried again before the hold ends
                log.warning("upload not held for longer", error=describe(error))

    async def _released(self, identifier: UUID, holder: UUID) -> None:
        with suppress(Exception):  # then the hold ends by itself
            async with self._database.transaction() as connection:
                await store.release(connection, identifier, holder)

    async def _take(self, upload: Upload, holder: UUID, kind: Kind, part: Part) -> int:
        """Keep a part; how many bytes it has."""
        left = upload.size - upload.arrived
        broken: list[Exception] = []
        checked = _checked(part, kind if upload.arrived == 0 else None, left, broken)
        name, stored = await self._blobs.put_part(upload.id, checked)
        last = stored.size == left
        too_short = stored.size < LEAST_PART and not last
        if stored.size and not too_short:
            async with self._database.transaction() as connection:
                counts = await store.append(
                    connection, upload.id, holder, part.start, stored.size, name
                )
            if not counts:
                await self._blobs.drop_part(name)
                # Somebody else took over: this request was taken for dead.
                raise UploadHeld(headers={"Retry-After": "5"})
        else:
            await self._blobs.drop_part(name)
        if broken:
            raise broken[0]
        if too_short:
            raise PartTooShort(
                f"Mỗi phần, trừ phần cuối, có ít nhất {LEAST_PART} byte",
                f"Each part but the last has at least {LEAST_PART} bytes",
            )
        return stored.size

    async def _finish(self, upload: Upload, holder: UUID, kind: Kind) -> None:
        """Check the file as a whole and keep it; one that is not what it was said to be is gone."""
        async with self._database.reading() as connection:
            names = await store.parts(connection, upload.id)
        content = _hashing_to(upload.sha256, self._blobs.joined(names))
        try:
            await self._blobs.put_stream(sniffed(kind, content))
        except (DigestMismatch, NotAPdf, FileTypeMismatch):
            await self._remove(upload, holder)
            raise
        async with self._database.transaction() as connection:
            await files.keep(
                connection, upload.client_id, upload.sha256, upload.size, upload.media_type
            )
            await store.complete(connection, upload.id)
        await self._blobs.drop_parts(upload.id)

    async def _remove(self, upload: Upload, holder: UUID | None) -> None:
        async with self._database.transaction() as connection:
            if not await store.delete(connection, upload.id, upload.client_id, holder):
                raise UploadHeld(headers={"Retry-After": "5"})
        await self._blobs.drop_parts(upload.id)


def _why_not(upload: Upload, start: int) -> Exception:
    """Why an upload that is there could not be held."""
    told = {"Upload-Offset": str(upload.arrived), "Upload-Complete": f"?{int(upload.complete)}"}
    if upload.complete:
        return UploadComplete(headers=told)
    if upload.held:
        return UploadHeld(headers={**told, "Retry-After": "2"})
    if upload.arrived != start:
        return OffsetMismatch(
            f"Đã nhận {upload.arrived} byte; phần tiếp theo bắt đầu từ đó",
            f"{upload.arrived} bytes are here; the next part begins there",
            headers=told,
        )
    return UploadHeld(headers={**told, "Retry-After": "1"})


async def _checked(
    part: Part, kind: Kind | None, left: int, broken: list[Exception]
) -> AsyncIterator[bytes]:
    """A part's content. What breaks off without a digest ends early, and ``broken`` says why."""
    hashes = [(hashlib.new(name), digest) for name, digest in part.digests]
    head, size = bytearray(), 0
    source = aiter(part.content)
    while True:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                piece = await anext(source, None)
        except (TimeoutError, ClientDisconnect, BodyTooSlow) as error:
            cut = error if isinstance(error, BodyTooSlow) else _broken_off()
            if hashes:
                raise cut from error
            broken.append(cut)
            return
        if piece is None:
            break
        size += len(piece)
        if size > left:
            raise PartTooLong(
                f"Tệp chỉ còn thiếu {left} byte", f"Only {left} bytes of the file are missing"
            )
        if kind is not None and len(head) < HEAD:
            head += piece[: HEAD - len(head)]
            if not kind.may_begin(bytes(head[:16])):
                raise not_a(kind)
        for hashed, _ in hashes:
            hashed.update(piece)
        yield piece
    if any(hashed.digest() != digest for hashed, digest in hashes):
        raise DigestMismatch(
            "Phần này không khớp với Content-Digest", "The part does not hash to its Content-Digest"
        )


def _broken_off() -> UploadTooSlow:
    """Told to one who was too slow; nobody hears it where the connection broke."""
    return UploadTooSlow(
        f"Kết nối bị ngắt hoặc không có dữ liệu trong {_IDLE_SECONDS:.0f} giây",
        f"The connection broke, or nothing came for {_IDLE_SECONDS:.0f} seconds",
    )


async def _hashing_to(sha256: str, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    hashed = hashlib.sha256()
    async for part in parts:
        hashed.update(part)
        yield part
    if hashed.hexdigest() != sha256:
        raise DigestMismatch(
            "Tệp không khớp với SHA-256 đã khai; hãy tải lên lại từ đầu",
            "The file does not hash to the SHA-256 that was declared; begin again",
        )
