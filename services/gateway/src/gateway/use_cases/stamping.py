"""Stamping: sealed blocks get their timestamps, the oldest first, whenever an authority answers.

Nothing waits for it. A block is claimed for as long as asking can take, asked for outside of any
transaction, and written down; one whose asker was killed is asked for again. That may leave an
authority with a timestamp that nobody kept, which is harmless.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from common.database import Database
from common.errors import describe
from gateway.store import message_blocks
from gateway.use_cases.timestamps import Authorities, NotStamped

_LONGEST_PAUSE = 60.0
_CLOCKS_APART = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass
class Stamper:
    """Has blocks timestamped.

    Args:
        database: the gateway's own.
        authorities: who gives timestamps.
        seconds: pause where nothing waits.
        lease: seconds for which a block that is asked for is left to its asker; longer than all
            authorities can take together.
    """

    database: Database
    authorities: Authorities
    seconds: float
    lease: float

    async def run(self) -> None:
        """Stamp without end."""
        pause = self.seconds
        while True:
            try:
                stamped = await self.stamp_next()
            except NotStamped:
                pause = min(max(pause * 2, self.authorities.wait()), _LONGEST_PAUSE)
            except Exception as error:
                log.warning("stamping interrupted", error=describe(error))
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = self.seconds
                if stamped:
                    continue
            await asyncio.sleep(pause)

    async def stamp_next(self) -> bool:
        """Stamp the oldest block that has no timestamp; whether there was one.

        Raises:
            NotStamped: no authority gave one; the block waits.
        """
        async with self.database.transaction() as connection:
            block = await message_blocks.claim(connection, self.lease)
        if block is None:
            return False
        try:
            stamp = await self.authorities.stamp(block.header.signed() + block.signature)
        except BaseException:
            async with self.database.transaction() as connection:
                await message_blocks.release(connection, block.header)
            raise
        if stamp.at < block.header.sealed_at - _CLOCKS_APART:
            log.warning("timestamp before the sealing: clocks differ", tsa=stamp.tsa)
        async with self.database.transaction() as connection:
            await message_blocks.stamp(connection, block.header, stamp.token, stamp.tsa, stamp.at)
        return True
