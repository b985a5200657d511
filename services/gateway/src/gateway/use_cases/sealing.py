"""Sealing: records are numbered and linked, and every few seconds a signed block closes them.

One at a time seals a partition, whichever replica it is: it holds the row of the chain's end. The
records' moving, the block and the new end are one transaction, so that a sealer may be killed
anywhere: there is no gap, and no number is given twice.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from common.database import Database
from common.errors import describe
from gateway.domain.proof import Header, linked, root
from gateway.store import message_blocks, message_log
from gateway.store.message_blocks import Signed
from gateway.use_cases.log_key import LogKey

LARGEST_BLOCK = 5000
"""Records."""

_SLICE = 200
"""Records that are hashed between two turns of the event loop, some three milliseconds."""
_LONGEST_PAUSE = 30.0

log = structlog.get_logger()


@dataclass
class Sealer:
    """Seals the message log of all partitions.

    Args:
        database: the gateway's own.
        key: signs the blocks.
        partitions: how many chains there are to be; those of before are sealed all the same.
        seconds: how often a block is made.

    Attributes:
        sealed: records that this process has sealed.
    """

    database: Database
    key: LogKey
    partitions: int
    seconds: float
    sealed: int = 0

    async def prepare(self) -> None:
        """Make the key known, and the months and chains that are missing."""
        await message_log.ensure_months(self.database)
        async with self.database.transaction() as connection:
            await message_blocks.know_key(connection, self.key.id, self.key.public)
            await message_log.begin_chains(connection, self.partitions)

    async def run(self) -> None:
        """Seal without end."""
        pause = self.seconds
        while True:
            await asyncio.sleep(pause)
            try:
                await self.seal_all()
            except Exception as error:
                log.warning("sealing interrupted", error=describe(error))
                pause = min(pause * 2, max(_LONGEST_PAUSE, self.seconds))
            else:
                pause = self.seconds

    async def seal_all(self) -> int:
        """Seal what waits in partitions that nobody else is sealing; how many records."""
        async with self.database.reading() as connection:
            partitions = await message_log.partitions(connection)
        sealed = 0
        for partition in partitions:
            while done := await self.seal(partition):
                sealed += done
                if done < LARGEST_BLOCK:
                    break
        return sealed

    async def seal(self, partition: int) -> int:
        """Close one block over what waits, if anything does; how many records are in it."""
        async with self.database.transaction() as connection:
            chain = await message_log.hold(connection, partition)
            if chain is None:
                return 0
            link, hashes, after = chain.link, list[bytes](), UUID(int=0)
            while len(hashes) < LARGEST_BLOCK:
                records = await message_log.pending(connection, partition, after, _SLICE)
                if not records:
                    break
                added = [record.hash() for record in records]
                links = []
                for record_hash in added:
                    link = linked(link, record_hash)
                    links.append(link)
                ids = [record.id for record in records]
                before = chain.records + len(hashes)
                moved = await message_log.move(connection, partition, before, ids, added, links)
                if moved != len(records):
                    raise RuntimeError("records were moved by somebody who holds no chain")
                hashes += added
                after = ids[-1]
                if len(records) < _SLICE:
                    break
            if not hashes:
                return 0
            header = Header(
                partition=partition,
                number=chain.blocks + 1,
                first=chain.records + 1,
                last=chain.records + len(hashes),
                root=root(hashes),
                link=link,
                previous=chain.header,
                sealed_at=datetime.now(UTC),
                key_id=self.key.id,
            )
            await message_blocks.close(connection, Signed(header, self.key.sign(header.signed())))
        self.sealed += len(hashes)
        return len(hashes)
