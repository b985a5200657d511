"""Waiting for the outcome of a submission, for ``Prefer: wait``.

The database is asked for all who wait together: soon after this process has heard of an outcome,
and every so often in case another replica has. So nobody is told what is not committed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

import structlog

from common.database import Database
from common.errors import describe
from gateway.domain.submissions import Submission
from gateway.store import submissions

_LOOK_SECONDS = 0.3
_SOON_SECONDS = 0.005
_MOST_WAITING = 1000

log = structlog.get_logger()


class Waiting:
    """Those who wait for outcomes in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: defaultdict[UUID, set[asyncio.Future[Submission]]] = defaultdict(set)
        self._hinted = asyncio.Event()

    async def outcome(self, submission: Submission, seconds: float) -> Submission:
        """The submission once it is decided; as it was if that takes longer than ``seconds``.

        Returns at once where too many wait already.
        """
        if submission.state != "pending" or len(self._waiters) >= _MOST_WAITING:
            return submission
        decided: asyncio.Future[Submission] = asyncio.get_running_loop().create_future()
        self._waiters[submission.id].add(decided)
        # Its outcome may have been committed before we began to wait.
        self._hinted.set()
        try:
            async with asyncio.timeout(seconds):
                return await decided
        except TimeoutError:
            return submission
        finally:
            waiters = self._waiters[submission.id]
            waiters.discard(decided)
            if not waiters:
                del self._waiters[submission.id]

    def hint(self, decided: Iterable[UUID]) -> None:
        """Outcomes of these submissions are about to be committed."""
        if self._waiters and any(identifier in self._waiters for identifier in decided):
            self._hinted.set()

    async def run(self) -> None:
        """Look for outcomes without end, while anybody waits."""
        pause = _LOOK_SECONDS
        while True:
            try:
                async with asyncio.timeout(pause if self._waiters else None):
                    await self._hinted.wait()
                self._hinted.clear()
                pause = _SOON_SECONDS
                await asyncio.sleep(pause)  # until what was hinted at is committed
            except TimeoutError:
                pause = min(pause * 2, _LOOK_SECONDS)
            try:
                await self._look()
            except Exception as error:
                log.warning("outcomes not to be had now", error=describe(error))
                pause = _LOOK_SECONDS

    async def _look(self) -> None:
        if not self._waiters:
            return
        async with self._database.reading() as connection:
            found = await submissions.decided(connection, list(self._waiters))
        for submission in found:
            for decided in self._waiters.get(submission.id, ()):
                if not decided.done():
                    decided.set_result(submission)
