"""The scheduled sync with the national portal: agencies, fields, then procedure after procedure.

The portal tells no changes, so every procedure of its list is asked for; what is the same as the
last time (by digest) writes nothing. A run goes in steps, each in one transaction with how far it
got, so that a run that was killed goes on from there, in whichever replica.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

import structlog

from catalog.clients.conversion import (
    SILENT,
    Unreadable,
    agency_of,
    code_of,
    fields_of,
    procedure_of,
)
from catalog.clients.portal import Portal, PortalTrouble
from catalog.domain.catalogue import Agency, Procedure
from catalog.domain.versions import vietnam_day
from catalog.store import catalogue as store
from catalog.store import runs, versions
from catalog.store.runs import LEASE_SECONDS, Fault, Lost, Progress, Run
from catalog.store.search import agency_names
from catalog.use_cases.writing import Said, Written, write
from common.database import Database
from common.errors import describe
from common.identifiers import new_id
from common.outbox import Outbox, Unit

BATCH = 50
_LOOK_SECONDS = 5.0
_AGAIN_SECONDS = 60.0
_QUICK_TRIES = (0.5, 2.0)
_MOST_CLOSED = 0.05
"""Share of the procedures known from the portal that may leave its list in one run: more than that
is rather a list that came in part."""
_AGENCY_SILENT = frozenset(Agency.model_fields) - {"code", "name"}

Result = TypeVar("Result")

log = structlog.get_logger()


class Sync:
    """Brings the catalogue to what the portal says.

    Args:
        every: seconds between the beginnings of runs.
        parallel: calls at the same time.
    """

    def __init__(
        self, outbox: Outbox, database: Database, portal: Portal, *, every: float, parallel: int
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._portal = portal
        self._every = every
        self._places = asyncio.Semaphore(parallel)
        self._holder = new_id()
        self._wake = asyncio.Event()

    async def ask(self, asked_by: str) -> Run:
        """Begin a run now, or have the unfinished one go on at once."""
        async with self._database.transaction() as connection:
            run = await runs.ask_for_portal(connection, asked_by)
        self._wake.set()
        return run

    async def run(self) -> None:
        """Take what is due, without end."""
        while True:
            try:
                # What comes with the service is there first: it knows the agencies' names.
                if await self._loaded():
                    while await self.once():
                        pass
            except Exception as error:
                log.warning("sync with the portal broke off", error=describe(error))
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    async def once(self) -> bool:
        """Do one run, or the rest of one, if one is due and nobody else does it."""
        async with self._database.transaction() as connection:
            run = await runs.take_portal(connection, self._holder, self._every)
        if run is None:
            return False
        holding = asyncio.create_task(self._hold(run.id))
        try:
            await self._go(run)
        except Lost:
            log.warning("another replica took the sync over", run=str(run.id))
        except PortalTrouble as trouble:
            log.warning("portal in trouble; the sync goes on later", reason=trouble.reason)
            await self._pause(run.id, trouble.reason)
        except Exception as error:
            await self._pause(run.id, describe(error))
            raise
        finally:
            holding.cancel()
        return True

    async def _loaded(self) -> bool:
        async with self._database.reading() as connection:
            return await store.loaded_revision(connection) > 0

    async def _go(self, run: Run) -> None:
        stage, cursor = run.stage, run.cursor
        if stage == "lists":
            await self._lists(run.id)
            stage = "procedures"
        listed = await self._listed()
        if stage == "procedures":
            await self._procedures(run.id, [code for code in listed if code > cursor])
        await self._close_missing(run.id, listed)
        async with self._database.transaction() as connection:
            await runs.end(connection, run.id, self._holder)
        log.info("sync with the portal ended", run=str(run.id), procedures=len(listed))

    async def _lists(self, run: UUID) -> None:
        """Agencies and fields."""
        agencies = await self._asked(self._portal.agencies)
        fields = await self._asked(self._portal.fields)
        said: dict[str, Said] = {}
        faults: list[Fault] = []
        for number, row in enumerate(agencies, 1):
            try:
                agency = agency_of(row)
                said[agency.code] = Said(agency, silent=_AGENCY_SILENT)
            except Unreadable as error:
                faults.append(Fault(f"agency {number:06}", None, str(error)))
        today = vietnam_day()
        listed = fields_of(fields, today.isoformat())

        async def content(unit: Unit) -> Written:
            written = await write(unit, "national", list(said.values()), today)
            if listed.items:
                known = await versions.bodies(unit.connection, "code-list", ["field"])
                # The version is the day: the same items on another day are no change.
                silent = frozenset({"version"}) if known else frozenset[str]()
                written += await write(unit, "national", [Said(listed, silent=silent)], today)
            return written

        await self._step(run, "procedures", "", len(agencies) + len(fields), faults, content)

    async def _listed(self) -> list[str]:
        """The codes that the portal lists, in order."""
        rows = await self._asked(self._portal.procedures)
        codes = {code for row in rows if (code := code_of(row))}
        return sorted(codes)

    async def _procedures(self, run: UUID, codes: Sequence[str]) -> None:
        async with self._database.reading() as connection:
            names = await agency_names(connection)
        for start in range(0, len(codes), BATCH):
            part = codes[start : start + BATCH]
            found = await asyncio.gather(*(self._one(code, names) for code in part))
            said = [one for one in found if isinstance(one, Said)]
            faults = [one for one in found if isinstance(one, Fault)]

            async def content(unit: Unit, said: Sequence[Said] = said) -> Written:
                return await write(unit, "national", said, vietnam_day())

            await self._step(run, "procedures", part[-1], len(part), faults, content)
        await self._step(run, "closing", "", 0, (), _nothing)

    async def _one(self, code: str, names: Mapping[str, str]) -> Said | Fault:
        """What the portal says of one procedure, or why that cannot be used."""
        try:
            records = await self._asked(lambda: self._portal.procedure(code))
            own = [record for record in records if code_of(record) == code]
            if not own:
                return Fault(code, code, "listed, but without a record")
            return Said(procedure_of(own[0], names), silent=SILENT)
        except PortalTrouble as trouble:
            if not trouble.refused:
                raise
            return Fault(code, code, trouble.reason)
        except Unreadable as error:
            return Fault(code, code, str(error))

    async def _close_missing(self, run: UUID, listed: Sequence[str]) -> None:
        """Close what the portal has told before and lists no more."""
        there = set(listed)
        today = vietnam_day()

        async with self._database.reading() as connection:
            newest = await versions.newest(connection, "procedure")
            told = [code for code, one in newest.items() if one.origin == "national"]
            left = await versions.valid(
                connection, "procedure", [code for code in told if code not in there], today
            )
        open_ones = [
            entry
            for version in left
            if (entry := Procedure.model_validate_json(version.body)).active
        ]
        if not open_ones:
            return
        if len(open_ones) > max(1, len(told) * _MOST_CLOSED):
            reason = f"{len(open_ones)} procedures left the list at once: none was closed"
            await self._step(run, "closing", "", 0, [Fault("list", None, reason)], _nothing)
            return
        closed = [Said(entry.model_copy(update={"active": False})) for entry in open_ones]

        async def content(unit: Unit) -> Written:
            return await write(unit, "national", closed, today)

        await self._step(run, "closing", "", 0, (), content)

    async def _step(
        self,
        run: UUID,
        stage: str,
        cursor: str,
        read: int,
        faults: Sequence[Fault],
        content: Callable[[Unit], Awaitable[Written]],
    ) -> None:
        """Write a step with how far the run got, in one transaction."""
        async with self._outbox.transaction() as unit:
            await versions.lock(unit.connection)
            written = await content(unit)
            done = Progress(read, written.changed, written.unchanged + written.outranked, faults)
            await runs.advance(unit.connection, run, self._holder, stage, cursor, done)

    async def _asked(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """A call, tried again a little later where it got no answer."""
        for pause in (*_QUICK_TRIES, None):
            try:
                async with self._places:
                    return await call()
            except PortalTrouble as trouble:
                if trouble.refused or pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("not reached")

    async def _hold(self, run: UUID) -> None:
        """Stay the run's holder while calls take long."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                async with self._database.transaction() as connection:
                    await runs.hold(connection, run, self._holder)
            except Exception as error:  # the next step finds out whether the run is lost
                log.warning("lease not renewed", error=describe(error))

    async def _pause(self, run: UUID, reason: str) -> None:
        async with self._database.transaction() as connection:
            await runs.pause(connection, run, self._holder, reason[:300], _AGAIN_SECONDS)


async def _nothing(_: Unit) -> Written:
    return Written()
