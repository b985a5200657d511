"""How long keys are kept: after their days a request that comes again is a new one.

What is forgotten is the client's word for a submission, never the submission: a dossier code stays
taken as long as its submission is not refused, whatever became of the key. So a dossier that comes
again under its code is still the same one, with other content still a conflict.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from common.database import Database
from common.errors import describe
from common.identifiers import lowest_id_at
from gateway.store import bulk, submissions

_PAUSE_SECONDS = 3600.0
_BATCH = 2000

log = structlog.get_logger()


class Keeping:
    """Forgets keys, and bulk requests with them.

    Args:
        days: how long a key is kept.
    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._days = days

    async def forget(self, now: datetime | None = None) -> int:
        """Forget every key that is older than its days; how many.

        In batches, each a transaction of its own; several replicas may do it at the same time.
        """
        before = lowest_id_at((now or datetime.now(UTC)) - timedelta(days=self._days))
        gone = 0
        while True:
            async with self._database.transaction() as connection:
                seen, forgotten = await submissions.forget_keys(connection, before, _BATCH)
            gone += forgotten
            if seen < _BATCH:
                break
        while True:
            async with self._database.transaction() as connection:
                if await bulk.forget(connection, before, _BATCH // 100) < _BATCH // 100:
                    return gone

    async def run(self) -> None:
        """Forget without end."""
        while True:
            try:
                if gone := await self.forget():
                    log.info("keys forgotten", count=gone)
            except Exception as error:
                log.warning("keys not forgotten", error=describe(error))
            await asyncio.sleep(_PAUSE_SECONDS)
