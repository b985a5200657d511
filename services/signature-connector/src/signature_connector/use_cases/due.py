"""Work that comes due in rows, batch after batch."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from common.errors import describe

log = structlog.get_logger()


async def work_off(batch: Callable[[], Awaitable[int]], pause: float, interrupted: str) -> None:
    """Work without end.

    Args:
        batch: does some of what is due; how much there was.
        pause: seconds until it is looked again where there was nothing.
        interrupted: what is said where a batch fails.
    """
    while True:
        busy = 0
        try:
            busy = await batch()
        except Exception as error:
            log.warning(interrupted, error=describe(error))
        if not busy:
            await asyncio.sleep(pause)
