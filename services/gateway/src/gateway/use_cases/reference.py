"""Which procedures and agencies exist, as the catalogue has told it.

Held in memory, since every submission asks. What is not there is looked for in the database,
where another replica may have written it; what changed is read again every few seconds.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import structlog

from common.contracts.commands import ProcedureSummary
from common.database import Database
from common.errors import NotReady, describe
from gateway.errors import UnknownAgency, UnknownProcedure
from gateway.store import catalogue
from gateway.store.catalogue import Version

_REFRESH_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_OVERLAP = timedelta(seconds=30)
_EVER = datetime(2000, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


class Reference:
    """The gateway's view of the catalogue."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._procedures: dict[str, tuple[Version, ...]] = {}
        self._agencies: set[str] = set()
        self._read_at = _EVER
        """By the database's clock."""
        self._complete = False
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    async def procedure(self, code: str, on: date) -> ProcedureSummary:
        """The procedure of a code as it was on a day; before the first version known, the first.

        Raises:
            UnknownProcedure: the catalogue has none.
            NotReady: the catalogue has not come in completely yet.
        """
        versions = self._procedures.get(code)
        if versions is None:
            async with self._database.reading() as connection:
                versions = _in_order(await catalogue.procedure(connection, code))
            if not versions:
                # Missing because not everything has come in yet is no fault of the client's.
                await self.ready()
                raise UnknownProcedure(
                    "Danh mục không có thủ tục với mã này",
                    "The catalogue has no procedure of this code",
                    errors=[_fault("/procedure")],
                )
            self._procedures[code] = versions
        for version in versions:
            if version.valid_on(on):
                return version.summary
        return versions[-1].summary

    async def agency(self, code: str, pointer: str) -> None:
        """Make sure that an agency (new form) exists.

        Raises:
            UnknownAgency: the catalogue has none of this code; ``pointer`` says where it stood.
            NotReady: the catalogue has not come in completely yet.
        """
        if code in self._agencies:
            return
        async with self._database.reading() as connection:
            known = await catalogue.has_agency(connection, code)
        if not known:
            await self.ready()
            raise UnknownAgency(
                "Danh mục không có cơ quan với mã này",
                "The catalogue has no agency of this code",
                errors=[_fault(pointer)],
            )
        self._agencies.add(code)

    async def ready(self) -> None:
        """Raise NotReady until the whole catalogue has come in once."""
        if self._complete:
            return
        async with self._looking:
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                async with self._database.reading() as connection:
                    self._complete = await catalogue.is_complete(connection)
                self._looked_at = time.monotonic()
        if not self._complete:
            raise NotReady(
                "Chưa nhận đủ danh mục thủ tục và cơ quan",
                "The catalogue of procedures and agencies has not come in completely yet",
                headers={"Retry-After": "1"},
            )

    async def refresh(self) -> None:
        """Read what changed since the last time.

        With some overlap: a change that was committed late carries an earlier moment.
        """
        async with self._database.reading() as connection:
            since, now = self._read_at - _OVERLAP, await catalogue.moment(connection)
            procedures = await catalogue.procedures_since(connection, since)
            agencies = await catalogue.agencies_since(connection, since)
        told: defaultdict[str, list[Version]] = defaultdict(list)
        for version in procedures:
            told[version.summary.code].append(version)
        self._procedures |= {code: _in_order(versions) for code, versions in told.items()}
        self._agencies.update(agencies)
        self._read_at = now

    async def run(self) -> None:
        """Refresh without end."""
        while True:
            try:
                await self.refresh()
            except Exception as error:
                log.warning("catalogue not refreshed", error=describe(error))
            await asyncio.sleep(_REFRESH_SECONDS)


def _in_order(versions: Iterable[Version]) -> tuple[Version, ...]:
    """The newest first: of two that are valid on a day it is the one that counts."""
    return tuple(sorted(versions, key=lambda version: version.number, reverse=True))


def _fault(pointer: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": "mã không có trong danh mục", "detail_en": "unknown code"}
