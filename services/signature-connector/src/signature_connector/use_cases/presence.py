"""Signs of life of a process's workers; what dead ones had in hand is freed by the others."""

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


class Presence:
    """The workers of one process, which show signs of life together for as long as one is there.

    Args:
        lease: seconds without a sign after which a worker counts as dead.
    """

    def __init__(self, book: Book, lease: float) -> None:
        self._book = book
        self._lease = lease
        self._freed: dict[UUID, Callable[[], None]] = {}
        self._alive: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def worker(self, freed: Callable[[], None]) -> AsyncIterator[UUID]:
        """A worker that shows signs of life until the block ends; its id.

        Args:
            freed: called when requests of a dead worker are there to be taken up.
        """
        worker = new_id()
        await self._book.seen([worker], self._lease)
        self._freed[worker] = freed
        if self._alive is None:
            self._alive = asyncio.create_task(self._stay_alive())
        try:
            yield worker
        finally:
            del self._freed[worker]
            if not self._freed:
                ending, self._alive = self._alive, None
                ending.cancel()
                await asyncio.wait([ending])

    async def _stay_alive(self) -> None:
        """Show signs of life, and free what the dead had in hand.

        Only a process that itself showed them without a gap for a whole lease may say of others
        that they are dead: after the database was away everybody looks dead for a moment.
        """
        last = steady_since = time.monotonic()
        while True:
            await asyncio.sleep(self._lease / _BEATS_PER_LEASE)
            try:
                left = await self._book.seen(sorted(self._freed), self._lease)
                now = time.monotonic()
                if now - last > self._lease / 2:
                    steady_since = now
                last = now
                if not left or now - steady_since < self._lease:
                    continue
                if many := await self._book.take_from_dead(self._lease):
                    log.warning("requests of a lost worker", requests=many)
                    for freed in list(self._freed.values()):
                        freed()
            except Exception as error:
                log.warning("no sign of life written", error=describe(error))
