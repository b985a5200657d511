"""Dossiers are brought under the current keys: sealed anew, entered in the index anew.

A batch is read without a lock, opened and sealed in memory, and written back only where nobody has
changed the dossier meanwhile; those come again with the next pass. Nothing is told: what the
dossier says has not changed. What does not open stays as it is, is counted and is tried again.
"""

import asyncio

import structlog
from prometheus_client import CollectorRegistry, Gauge

from common.contracts.base import Data
from common.database import Database
from common.errors import describe
from common.sealing import KeyRing, SealError, key_of
from dossier.domain.model import Dossier
from dossier.store import keeping, persons
from dossier.store.keeping import Kept, Place, Rewritten
from dossier.store.persons import Entry
from dossier.use_cases.indexing import Indexing

BATCH = 200
_BETWEEN_BATCHES_SECONDS = 0.05
_BETWEEN_PASSES_SECONDS = 60.0
_UNREADABLE = "?"

log = structlog.get_logger()


class Progress(Data):
    """How far the dossiers are under the current keys."""

    sealing_key: str | None
    """The key they are sealed anew with; null where this service has none to seal with."""
    index_key: str | None
    dossiers_by_sealing_key: dict[str, int]
    """Under '' those that were not looked at yet."""
    entries_by_index_key: dict[str, int]
    unreadable: int
    """Dossiers that did not open in the last whole pass."""


class Rekeying:
    """Goes over the dossiers that are not under the current keys. Any number may run.

    Args:
        keys: opens with every key and seals with the current one, if it has one.
        indexing: makes the entries of the index.
    """

    def __init__(
        self, database: Database, keys: KeyRing, indexing: Indexing, registry: CollectorRegistry
    ) -> None:
        self._database = database
        self._keys = keys
        self._indexing = indexing
        self._unreadable = 0
        self._left = Gauge(
            "dossiers_under_other_keys",
            "Dossiers that are not sealed with the current key",
            registry=registry,
        )

    async def run(self) -> None:
        """Work without end."""
        while True:
            await self.whole_pass(pause=_BETWEEN_BATCHES_SECONDS)
            await asyncio.sleep(_BETWEEN_PASSES_SECONDS)

    async def whole_pass(self, *, pause: float = 0.0, batch: int = BATCH) -> int:
        """Look at each dossier that is not under the current keys once; how many were written.

        Args:
            pause: seconds between batches.
            batch: dossiers in one transaction.
        """
        written = unreadable = 0
        for number in range(len(keeping.ranges(self._keys.current, self._indexing.current))):
            place = Place(number)
            while True:
                async with self._database.reading() as connection:
                    found = await keeping.under_others(
                        connection, self._keys.current, self._indexing.current, place, batch
                    )
                if not found:
                    break
                done, failed = await self._rewrite(found)
                written += done
                unreadable += failed
                last = found[-1]
                place = Place(number, last.seal_key, last.index_key, last.code)
                await asyncio.sleep(pause)
        self._unreadable = unreadable
        await self._measure()
        return written

    async def progress(self) -> Progress:
        """How far it is."""
        async with self._database.reading() as connection:
            sealed = await keeping.by_key(connection)
            entered = await persons.counts(connection)
        return Progress(
            sealing_key=self._keys.current,
            index_key=self._indexing.current,
            dossiers_by_sealing_key=sealed,
            entries_by_index_key=entered,
            unreadable=self._unreadable,
        )

    async def _measure(self) -> None:
        if self._keys.current is None:
            return
        async with self._database.reading() as connection:
            sealed = await keeping.by_key(connection)
        self._left.set(sum(n for key, n in sealed.items() if key != self._keys.current))

    async def _rewrite(self, found: list[Kept]) -> tuple[int, int]:
        """Write a batch anew; how many were written and how many did not open."""
        rewritten: list[Rewritten] = []
        entries: list[Entry] = []
        failed = 0
        async with self._database.transaction() as connection:
            timeless = [kept.code for kept in found if kept.status_at is None]
            times = await keeping.last_steps(connection, timeless) if timeless else {}
            for kept in found:
                dossier, opened = self._sealed_anew(Dossier.model_validate_json(kept.body))
                own = self._indexing.entries(dossier) if self._indexing.current else None
                failed += not opened
                entries += own or ()
                rewritten.append(
                    Rewritten(
                        kept,
                        dossier.told(),
                        key_of(dossier.state.sealed) or _UNREADABLE,
                        kept.index_key if own is None else self._indexing.current or "",
                        times.get(kept.code),
                    )
                )
            changed = [
                one
                for one in rewritten
                if one.body != one.was.body
                or (one.seal_key, one.index_key) != (one.was.seal_key, one.was.index_key)
            ]
            done = await keeping.rewrite(connection, changed) if changed else set()
            if done and self._indexing.current is not None:
                entered = [
                    one.was.code
                    for one in changed
                    if one.was.code in done and one.index_key == self._indexing.current
                ]
                await persons.forget_others(connection, entered, self._indexing.current)
                await persons.add(connection, [one for one in entries if one.code in done])
        return len(done), failed

    def _sealed_anew(self, dossier: Dossier) -> tuple[Dossier, bool]:
        """The dossier under the current key, and whether it opened."""
        sealed = dossier.state.sealed
        if self._keys.current is None or key_of(sealed) == self._keys.current:
            return dossier, True
        try:
            anew = self._keys.seal(self._keys.open(sealed, dossier.code), dossier.code)
        except SealError as error:
            log.error("sealed data does not open", dossier=dossier.code, error=describe(error))
            return dossier, False
        state = dossier.state.model_copy(update={"sealed": anew})
        return dossier.model_copy(update={"state": state}), True
