"""Reconciliation at work: page by page through the dossiers of an agency and day.

A run is a row; where it is, is in the row too. One replica works on it, for as long as it renews
its lease; what another one left is taken up behind the last page that was written down. The portal
is asked slowly, and only a little while live items wait to go there.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Row

from common.contracts.codes import agency_of_dossier
from common.database import Database
from common.delivery import Breaker
from common.errors import describe
from common.identifiers import new_id
from national_portal_sync.clients.portal import NoAnswer, PortalTrouble
from national_portal_sync.domain.reconciliation import (
    Comparison,
    Difference,
    Fields,
    Healing,
    Kind,
    Seen,
    compare,
    report_hash,
)
from national_portal_sync.store import reconciliation as store
from national_portal_sync.use_cases.healing import healed_of
from national_portal_sync.use_cases.report import report

log = structlog.get_logger()

_AT_ONCE = 4
"""Questions that are under way together."""
_TRIES = 3
_MOST_FAILURES = 10
"""Failures in a row after which a page that is never answered is given up as not checkable."""
_LOOK_SECONDS, _GIVE_WAY_SECONDS = 5.0, 0.25
_SMALL_PAGE = 5


class LeaseLost(Exception):
    """Another replica has taken the run over."""


class Shows(Protocol):
    """What the portal can show (``clients.checking``)."""

    lists: bool

    async def look_up(self, agency: str, code: str) -> Seen:
        """What it shows of a dossier."""

    async def of_day(self, agency: str, day: date) -> list[str] | None:
        """Codes of the dossiers of a day."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run may do.

    Attributes:
        per_second: questions to the portal.
        heal_most: dossiers that one run sends again.
        patience_seconds: how long a page waits while live items want to go, before it goes on
            with a few dossiers all the same.
        lease_seconds: after how long without a sign another replica takes a run over.
        hour: of the night (Vietnam) at which runs are asked for; None for never.
        days_back: which days these are of: how long ago.
    """

    per_second: float = 10.0
    heal_most: int = 2000
    patience_seconds: float = 30.0
    lease_seconds: float = 150.0
    hour: int | None = None
    days_back: tuple[int, ...] = (1,)

    @property
    def page(self) -> int:
        """Dossiers of a page: about five seconds' worth."""
        return max(1, min(200, int(self.per_second * 5)))


class Reconciliation:
    """Works on runs. Any number may run, in any number of processes.

    Args:
        portal: what is asked.
        names: how its fields are to be understood.
        form: a kept snapshot in the form in which it is sent, by agency.
        breaker: tells when the portal is to be left alone.
        wake: tells the deliverer that something was queued.
        now: the present in Vietnam.
    """

    def __init__(
        self,
        database: Database,
        portal: Shows,
        names: Fields,
        form: Callable[[str, bytes], dict[str, Any]],
        breaker: Breaker,
        wake: Callable[[], None],
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._portal = portal
        self._names = names
        self._form = form
        self._breaker = breaker
        self._wake = wake
        self._limits = limits
        self._now = now
        self._worker = new_id()
        self._asked = asyncio.Event()
        self._next_question = 0.0
        self._renewed = 0.0

    def wake(self) -> None:
        """A run was asked for by this process."""
        self._asked.set()

    async def run(self) -> None:
        """Work without end."""
        self._worker = new_id()  # what an earlier life of this worker held is not this one's
        while True:
            self._asked.clear()
            try:
                await self.schedule()
                busy = await self.once()
            except Exception as error:
                log.warning("reconciliation interrupted", error=describe(error))
                busy = False
            if not busy:
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._asked.wait()
                except TimeoutError:
                    pass

    async def schedule(self) -> int:
        """Ask for tonight's runs, if it is time and they were not asked for; how many are new."""
        now = self._now()
        if self._limits.hour is None or now.hour < self._limits.hour:
            return 0
        days = [now.date() - timedelta(days=back) for back in self._limits.days_back]
        async with self._database.transaction() as connection:
            return await store.schedule(connection, now.date(), days)

    async def once(self) -> bool:
        """Work on a run that is due until it is done or has to wait; whether there was one."""
        if self._breaker.wait() > 0:
            return False
        async with self._database.transaction() as connection:
            run = await store.claim(connection, self._worker, self._limits.lease_seconds)
        if run is None:
            return False
        self._renewed = time.monotonic()
        try:
            await self._through(run)
        except LeaseLost:
            log.warning("reconciliation taken over", run=str(run.id))
        except PortalTrouble as trouble:
            await self._put_off(run, trouble)
        return True

    async def _put_off(self, run: Row[Any], trouble: PortalTrouble) -> None:
        """Leave the portal alone for a while; patience that it asked for is no failure."""
        failed = trouble.pause is None
        wait = trouble.pause or min(5.0 * 2 ** min(run.failures, 6), 300.0)
        async with self._database.transaction() as connection:
            await store.put_off(
                connection, run.id, self._worker, wait, trouble.reason, failed=failed
            )

    async def _through(self, run: Row[Any]) -> None:
        place, failures = run.place, run.failures
        while True:
            most = self._limits.page if await self._let_live_go() else _SMALL_PAGE
            await self._sign_of_life(run.id, at_once=True)
            async with self._database.reading() as connection:
                rows = await store.page(connection, run.agency, run.day, place, most)
            if not rows:
                break
            seen = await self._asked_about(run, rows, last_try=failures >= _MOST_FAILURES)
            await self._write(run, rows, seen)
            place, failures = rows[-1].code, 0
        await self._end(run)

    async def _let_live_go(self) -> bool:
        """Wait while live items want to go to the portal; False where that takes too long."""
        until = time.monotonic() + self._limits.patience_seconds
        while True:
            async with self._database.reading() as connection:
                if not await store.live_waits(connection):
                    return True
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_GIVE_WAY_SECONDS)

    async def _sign_of_life(self, run: UUID, *, at_once: bool = False) -> None:
        lease = self._limits.lease_seconds
        if not at_once and time.monotonic() - self._renewed < lease / 4:
            return
        async with self._database.transaction() as connection:
            if not await store.renew(connection, run, self._worker, lease):
                raise LeaseLost
        self._renewed = time.monotonic()

    async def _turn(self) -> None:
        """Wait until the next question may be asked."""
        now = time.monotonic()
        start = max(now, self._next_question)
        self._next_question = start + 1 / self._limits.per_second
        await asyncio.sleep(start - now)

    async def _asked_about(
        self, run: Row[Any], rows: Sequence[Row[Any]], *, last_try: bool
    ) -> dict[str, Seen | None]:
        """What the portal shows of each dossier; None for one that alone is not answered about.

        Raises:
            PortalTrouble: it answers nothing, or asks for patience.
        """
        slots = asyncio.Semaphore(_AT_ONCE)
        seen: dict[str, Seen | None] = {}
        trouble: PortalTrouble | None = None

        async def one(code: str) -> None:
            nonlocal trouble
            for _ in range(_TRIES):
                async with slots:
                    if trouble is not None and (trouble.pause is not None or not seen):
                        return
                    await self._turn()
                    await self._sign_of_life(run.id)
                    try:
                        seen[code] = await self._portal.look_up(run.agency, code)
                        return
                    except PortalTrouble as now:
                        trouble = now

        async with asyncio.TaskGroup() as tasks:
            for row in rows:
                # What is on its way is in neither state for sure.
                if row.waiting in (None, "held"):
                    tasks.create_task(one(row.code))
        asked = [row.code for row in rows if row.waiting in (None, "held")]
        unanswered = [code for code in asked if code not in seen]
        if trouble is not None and unanswered:
            alone = len(unanswered) < len(asked) and isinstance(trouble, NoAnswer)
            if trouble.pause is not None or not (alone or last_try):
                raise trouble
        return {row.code: seen.get(row.code) for row in rows}

    async def _write(
        self, run: Row[Any], rows: Sequence[Row[Any]], seen: dict[str, Seen | None]
    ) -> None:
        """Write down what a page gave, and send again what can be, in one transaction."""
        counts: Counter[str] = Counter()
        compared: set[str] = set()
        hidden: set[str] = set()
        async with self._database.transaction() as connection:
            moved = await store.moved(connection, rows)
            found: list[tuple[Difference, Row[Any]]] = []
            for row in rows:
                counts["checked"] += 1
                if row.code in moved or row.waiting not in (None, "held"):
                    counts["on_the_way"] += 1
                    continue
                counts["with_steps"] += row.steps > 0
                one = self._compared(run, row, seen[row.code])
                compared |= one.compared
                hidden |= one.not_shown
                counts["agreed"] += not one.differences
                found += [(difference, row) for difference in one.differences]
            decided = await healed_of(connection, run, found, self._limits.heal_most)
            healed = {one.code for one, healing in decided if healing is Healing.QUEUED}
            moving = await store.advance(
                connection,
                run.id,
                self._worker,
                self._limits.lease_seconds,
                place=rows[-1].code,
                healed=len(healed),
                compared=sorted(compared),
                not_shown=sorted(hidden),
                **{
                    name: counts[name] for name in ("checked", "agreed", "on_the_way", "with_steps")
                },
            )
            if not moving:
                raise LeaseLost
            await store.note_differences(connection, run.id, decided)
        if healed:
            self._wake()

    def _compared(self, run: Row[Any], row: Row[Any], seen: Seen | None) -> Comparison:
        if seen is None:
            told = Difference(row.code, Kind.NOT_CHECKABLE, reason="the portal gave no answer")
            return Comparison((told,))
        sent = None
        if row.body is not None:
            try:
                sent = self._form(run.agency, row.body)
            except Exception as error:
                log.error("snapshot cannot be compared", error=describe(error))
        one = compare(row.code, sent, row.sent_status, seen, self._names)
        if row.maybe_doubled and seen.there:
            doubled = Difference(
                row.code,
                Kind.NOT_CHECKABLE,
                tuple(f"step {number}" for number in sorted(set(row.maybe_doubled))),
                reason="the portal may have these steps twice and shows no steps",
            )
            if all(other.kind is not Kind.NOT_CHECKABLE for other in one.differences):
                return replace(one, differences=(*one.differences, doubled))
        return one

    async def _end(self, run: Row[Any]) -> None:
        """Compare the portal's own list, where it has one, and close the report."""
        listed: list[str] | None = None
        if self._portal.lists:
            await self._turn()
            listed = await self._portal.of_day(run.agency, run.day)
        ours = [code for code in listed or () if _of_agency(code, run.agency)]
        async with self._database.transaction() as connection:
            strangers = await store.strangers(connection, ours)
            await store.note_differences(
                connection,
                run.id,
                [(Difference(code, Kind.MISSING_HERE), Healing.NONE) for code in strangers],
            )
            row = await store.finish(
                connection, run.id, self._worker, None if listed is None else len(ours)
            )
            if row is None:
                raise LeaseLost
            found = await store.differences(connection, run.id)
            await store.seal(connection, run.id, report_hash(report(row, found)))


def _of_agency(code: str, agency: str) -> bool:
    try:
        return agency_of_dossier(code) == agency
    except ValueError:
        return False
