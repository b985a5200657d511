"""The worker that checks the hosts of channels.

One process at a time has the turn; it checks what is due, a few hosts at a time, and writes each
result with the time of the next check. So another one goes on where it ended.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

from catalog.domain.channels import Finding
from catalog.store import evidence as store
from common.database import Database
from common.errors import describe
from common.identifiers import new_id

_TURN_SECONDS = 600.0
_LONGEST_CHECK_SECONDS = 500.0
"""Above what a host can take that lets every call run into its timeout: that is a finding, too."""
_LOOK_SECONDS = 5.0
_FORGET_SECONDS = 3600.0
_JITTER = 0.2
_AGAIN_SECONDS = 900.0
_BATCH = 20

log = structlog.get_logger()

Probe = Callable[[str], Awaitable[Sequence[Finding]]]


class Checks:
    """One process's share.

    Args:
        probe: checks one host.
        hours: between two checks of a channel; up to a fifth more or less, so that they spread.
        parallel: hosts that are checked at the same time.
        keep_days: how long findings and daily counts are kept.
    """

    def __init__(
        self, database: Database, probe: Probe, *, hours: float, parallel: int, keep_days: int
    ) -> None:
        self._database = database
        self._probe = probe
        self._seconds = hours * 3600
        self._slots = asyncio.Semaphore(parallel)
        self._keep_days = keep_days
        self._worker = new_id()
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """Something became due in this process."""
        self._asked.set()

    async def run(self) -> None:
        """Check without end."""
        forgotten = float("-inf")
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._asked.clear()
                if await self.once():
                    continue
                if loop.time() - forgotten > _FORGET_SECONDS:
                    forgotten = loop.time()
                    await self._forget()
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._asked.wait()
                except TimeoutError:
                    pass
        finally:
            await self._leave()

    async def once(self) -> int:
        """Check a batch of what is due, if it is this process's turn; how many channels."""
        async with self._database.transaction() as connection:
            if not await store.take_turn(connection, self._worker, _TURN_SECONDS):
                return 0
            due = await store.due(connection, _BATCH)
        async with asyncio.TaskGroup() as tasks:
            for one in due:
                tasks.create_task(self._check(one))
        return len(due)

    async def _check(self, due: store.Due) -> None:
        async with self._slots:
            async with self._database.reading() as connection:
                begun = await store.now(connection)
            seconds = self._seconds * random.uniform(1 - _JITTER, 1 + _JITTER)
            try:
                async with asyncio.timeout(_LONGEST_CHECK_SECONDS):
                    findings = await self._probe(due.host)
            except Exception as error:
                log.error("check failed", agency=due.agency, error=describe(error))
                findings, seconds = [], min(seconds, _AGAIN_SECONDS)
            async with self._database.transaction() as connection:
                await store.take_turn(connection, self._worker, _TURN_SECONDS)
                await store.note_findings(connection, due, findings, begun, seconds)

    async def _forget(self) -> None:
        async with self._database.transaction() as connection:
            await store.forget(connection, self._keep_days)

    async def _leave(self) -> None:
        try:
            async with self._database.transaction() as connection:
                await store.leave_turn(connection, self._worker)
        except Exception as error:
            log.warning("turn not given up", error=describe(error))
