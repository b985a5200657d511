"""Retention of the message log: old months are exported, read back, and only then fall.

A month goes as a whole once all of it is older than its days and every block with records in it
is timestamped and archived. The headers stay, so that the chain can be followed from the first
block to the last for good; the records are in the archives, each an export that is checked offline
like any other.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from common.blobs import Blobs
from common.database import Database
from common.errors import describe
from gateway.store import message_archive, message_log
from gateway.store.message_archive import OldBlock, Span

LARGEST_ARCHIVE = 250_000
"""Records of one export, unless a single block has more."""

_SECONDS = 3600.0

log = structlog.get_logger()


class Exports(Protocol):
    """Writes exports of whole blocks."""

    def blocks(self, partition: int, first_block: int, last_block: int) -> AsyncIterator[bytes]:
        """The export of a run of blocks."""


@dataclass
class Archive:
    """Archives the message log.

    Args:
        database: the gateway's own.
        exports: writes what is kept.
        blobs: keeps it, by content.
        days: how long records stay in the database.
    """

    database: Database
    exports: Exports
    blobs: Blobs
    days: int

    async def run(self) -> None:
        """Every hour: make the months to come, archive those that are old."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await message_log.ensure_months(self.database)
                await self.archive_old()
            except Exception as error:
                log.warning("the message log was not archived", error=describe(error))

    async def archive_old(self, now: datetime | None = None) -> list[str]:
        """Archive and drop the months that are old enough; those that fell.

        Raises:
            BlobMissing, BlobDamaged: an archive is not what was stored; nothing falls.
        """
        before = (now or datetime.now(UTC)) - timedelta(days=self.days)
        async with self.database.reading() as connection:
            months = await message_archive.months_before(connection, before)
        fell = []
        for month in months:
            if not await self._archived(month):
                break  # the later ones wait for it
            fell.append(month)
        return fell

    async def _archived(self, month: str) -> bool:
        async with self.database.reading() as connection:
            held = await message_archive.spans(connection, month)
            blocks = {span: await message_archive.blocks(connection, span) for span in held}
        if not all(block.anchored for found in blocks.values() for block in found):
            log.warning("old records wait for a timestamp, kept", month=month)
            return False
        for span, found in blocks.items():
            for run in _runs(found):
                await self._export(span, run)
        await self._check(held)
        async with self.database.transaction() as connection:
            await message_archive.drop(connection, month, held)
        log.info("month of the message log archived and dropped", month=month)
        return True

    async def _export(self, span: Span, run: Sequence[int]) -> None:
        stored = await self.blobs.put_stream(self.exports.blocks(span.partition, run[0], run[-1]))
        async with self.database.transaction() as connection:
            await message_archive.archived(connection, span.partition, run, stored.digest)
        log.info(
            "message log archived",
            partition=span.partition,
            first_block=run[0],
            last_block=run[-1],
            sha256=stored.digest,
        )

    async def _check(self, held: Sequence[Span]) -> None:
        """Read every archive back: its content is what it is stored under."""
        digests: set[str] = set()
        async with self.database.reading() as connection:
            for span in held:
                for block in await message_archive.blocks(connection, span):
                    digests.add(block.archive or "")
        for digest in sorted(digests):
            blob = await self.blobs.open(digest)
            async for _ in blob.parts():
                pass


def _runs(blocks: Sequence[OldBlock]) -> list[list[int]]:
    """Numbers of blocks that are in no archive, in runs for one each."""
    runs: list[list[int]] = []
    records = 0
    for block in blocks:
        if block.archive is not None:
            records = LARGEST_ARCHIVE  # what comes behind begins a new one
            continue
        if not runs or records + block.records > LARGEST_ARCHIVE:
            runs.append([])
            records = 0
        runs[-1].append(block.number)
        records += block.records
    return runs
