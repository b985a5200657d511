"""Personal data is erased when its period has ended, and every service is told.

In one transaction: the dossiers without their personal data, their histories, their entries in the
index, what is parked about them here, and the events by which the others erase their copies. A
dossier is erased once; an interrupted batch leaves nothing half done.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from common.contracts.dossier import DossierAnonymised
from common.erasure import erase_parked
from common.outbox import Outbox
from dossier.domain.erasing import erased, erased_step
from dossier.domain.model import Dossier
from dossier.domain.retention import Policy, Selection
from dossier.store import keeping, persons

BATCH = 100
SETTLED_DAYS = 30
"""For so long nothing may have been written to a dossier: what was told of it has arrived since."""
_BETWEEN_BATCHES_SECONDS = 0.2
_BETWEEN_PASSES_SECONDS = 3600.0

log = structlog.get_logger()


class Anonymising:
    """Erases what is due. Any number may run: they never wait for each other."""

    def __init__(self, outbox: Outbox, policy: Policy) -> None:
        self._outbox = outbox
        self._policy = policy

    async def run(self) -> None:
        """Work without end."""
        while True:
            await self.whole_pass(pause=_BETWEEN_BATCHES_SECONDS)
            await asyncio.sleep(_BETWEEN_PASSES_SECONDS)

    async def whole_pass(self, *, pause: float = 0.0, batch: int = BATCH) -> int:
        """Erase everything that is due now; how many dossiers that was.

        Args:
            pause: seconds between batches.
            batch: dossiers in one transaction.
        """
        done = 0
        for selection in self._policy.selections():
            while erased_now := await self._batch(selection, batch):
                done += erased_now
                await asyncio.sleep(pause)
        if done:
            log.info("dossiers anonymised", policy=self._policy.title, dossiers=done)
        return done

    async def _batch(self, selection: Selection, most: int) -> int:
        at = datetime.now(UTC)
        async with self._outbox.transaction() as unit:
            connection = unit.connection
            due = await keeping.due(connection, selection, settled_days=SETTLED_DAYS, most=most)
            if not due:
                return 0
            codes = [dossier.code for dossier in due]
            left = [erased(dossier, at, self._policy.title) for dossier in due]
            await keeping.write_erased(connection, left, at)
            steps = await keeping.steps_of(connection, codes)
            await keeping.write_steps(connection, [(of, erased_step(one)) for of, one in steps])
            await persons.forget(connection, codes)
            await erase_parked(connection, codes)
            for event in _events(left, at, self._policy.title):
                code = event.dossier_code
                unit.tell(event, aggregate=code, agency=event.agency, subject=code)
        return len(due)


def _events(dossiers: Sequence[Dossier], at: datetime, policy: str) -> list[DossierAnonymised]:
    return [
        DossierAnonymised(
            dossier_code=dossier.code, agency=dossier.state.agency, at=at, policy=policy
        )
        for dossier in dossiers
    ]
