"""Tells of due dates that approach or have passed, once for each of them."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client import Gauge

from common.contracts.dossier import DeadlineApproaching, DeadlineNotice, DossierOverdue
from common.database import Database
from common.outbox import Outbox, Unit
from common.telemetry import Telemetry
from dossier.domain.deadlines import Deadlines
from dossier.domain.model import Taken
from dossier.store import deadlines as store
from dossier.store.deadlines import Due

BATCH = 500
SOON = timedelta(days=1)
_LEAST, _MOST = 1.0, 30.0

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """Now."""
    return datetime.now(UTC)


async def schedule(deadlines: Deadlines, unit: Unit, taken: Sequence[Taken]) -> None:
    """Keep the schedule with the dossiers that a batch changed, in its transaction."""
    last = {one.dossier.code: one.dossier for one in taken}
    entries = [entry for one in last.values() if (entry := deadlines.entry(one)) is not None]
    await store.keep(unit.connection, entries)


class Watch:
    """Works through the schedule. Any number may run, in any number of processes.

    What has been told is marked in the transaction that tells it, and what is next is read from
    the table each time: a crash, a restart or a clock that is set neither loses nor repeats.

    Args:
        outbox: what is told leaves by it.
        database: where the schedule is.
        telemetry: takes the number of dossiers at risk.
        clock: says what time it is.
    """

    def __init__(
        self,
        outbox: Outbox,
        database: Database,
        telemetry: Telemetry,
        clock: Clock = wall_clock,
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._clock = clock
        self._counted: datetime | None = None
        self._at_risk = Gauge(
            "dossiers_at_risk",
            "Open dossiers that are overdue, or due within a day",
            ("deadline",),
            registry=telemetry.registry,
        )

    async def run(self) -> None:
        """Tell what is due without end; sleeps until the next moment, half a minute at most."""
        while True:
            now = self._clock()
            while await self.step(now) == BATCH:
                pass
            await asyncio.sleep(await self.pause())

    async def step(self, now: datetime) -> int:
        """Tell one batch of what is due at a moment; how many due dates were in it."""
        async with self._outbox.transaction() as unit:
            due = await store.take(unit.connection, now, BATCH)
            if not due:
                return 0
            for one in due:
                notice = _notice(one, now)
                unit.tell(notice, aggregate=one.code, agency=one.agency, subject=one.code)
            await store.mark(unit.connection, [(one.code, _told(one, now)) for one in due])
        return len(due)

    async def pause(self) -> float:
        """How many seconds may pass until the next batch; counts the dossiers at risk if that was
        not done lately."""
        now = self._clock()
        async with self._database.reading() as connection:
            if self._counted is None or abs((now - self._counted).total_seconds()) >= _MOST:
                overdue, soon = await store.at_risk(connection, now, SOON)
                self._at_risk.labels("overdue").set(overdue)
                self._at_risk.labels("within-a-day").set(soon)
                self._counted = now
            following = await store.next_moment(connection)
        if following is None:
            return _MOST
        return min(max((following - now).total_seconds(), _LEAST), _MOST)


def _told(due: Due, now: datetime) -> int:
    """That a due date approaches is not told any more when it has passed."""
    return store.OVERDUE if due.due_at <= now else store.APPROACHING


def _notice(due: Due, now: datetime) -> DeadlineNotice:
    overdue = _told(due, now) == store.OVERDUE
    kind = DossierOverdue if overdue else DeadlineApproaching
    return kind(
        dossier_code=due.code,
        agency=due.agency,
        procedure_code=due.procedure,
        status=due.status,
        due_at=due.due_at,
        at=due.due_at if overdue else due.warn_at,
    )
