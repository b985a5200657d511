"""A worker's signs of life; what a dead one had in hand is freed by the others."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from common.errors import describe
from common.identifiers import new_id
from signature_connector.use_cases.book import Book

_BEATS_PER_LEASE = 6

log = structlog.get_logger()


@asynccontextmanager
async def present(book: Book, lease: float, freed: Callable[[], None]) -> AsyncIterator[UUID]:
    """A worker that shows signs of life; its id.

    Args:
        lease: seconds without one after which a worker counts as dead.
        freed: called when requests of a dead worker are there to be taken up.
    """
    worker = new_id()
    await book.seen(worker)
    alive = asyncio.create_task(_stay_alive(book, worker, lease, freed))
    try:
        yield worker
    finally:
        alive.cancel()
        await asyncio.wait([alive])


async def _stay_alive(book: Book, worker: UUID, lease: float, freed: Callable[[], None]) -> None:
    """Show signs of life, and free what the dead had in hand.

    Only a worker that itself showed them without a gap for a whole lease may say of others that
    they are dead: after the database was away everybody looks dead for a moment.
    """
    beat = lease / _BEATS_PER_LEASE
    last = steady_since = time.monotonic()
    while True:
        await asyncio.sleep(beat)
        try:
            await book.seen(worker)
            now = time.monotonic()
            if now - last > lease / 2:
                steady_since = now
            last = now
            if now - steady_since < lease:
                continue
            if many := await book.take_from_dead(lease):
                log.warning("requests of a lost worker", requests=many)
                freed()
        except Exception as error:
            log.warning("no sign of life written", error=describe(error))
