"""What a dossier can be found by, entered in the blind index as it is taken in."""

from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.blind import BlindIndex
from common.errors import describe
from common.sealing import KeyRing, SealError
from dossier.domain import masking, persons
from dossier.domain.model import Dossier, Taken
from dossier.store import persons as store
from dossier.store.persons import Entry

log = structlog.get_logger()


class Indexing:
    """Makes entries of the blind index.

    Args:
        keys: opens what is sealed.
        index: makes the entries.
    """

    def __init__(self, keys: KeyRing, index: BlindIndex) -> None:
        self._keys = keys
        self._index = index

    @property
    def current(self) -> str | None:
        """The key that new entries are made with; None where there is no index."""
        return self._index.current

    def entries(self, dossier: Dossier) -> list[Entry] | None:
        """The entries of a dossier; None where it does not open."""
        try:
            applicant = masking.read(self._keys.open(dossier.state.sealed, dossier.code))
        except (SealError, ValueError) as error:
            log.error("sealed data does not open", dossier=dossier.code, error=describe(error))
            return None
        key_id = self._index.current or ""
        return [
            Entry(kind, key_id, self._index.digest(kind, value), dossier.code)
            for kind, value in persons.entries(applicant)
        ]

    async def enter(self, connection: AsyncConnection, taken: Sequence[Taken]) -> dict[str, str]:
        """Enter the dossiers that a batch begins.

        What does not open is not entered, and is no reason to refuse a submission.

        Returns:
            For each that was entered the key it was entered with.
        """
        if self._index.current is None:
            return {}
        entries: list[Entry] = []
        indexed: dict[str, str] = {}
        for one in taken:
            if one.step.number == 1:
                found = self.entries(one.dossier)
                if found is not None:
                    indexed[one.dossier.code] = self._index.current
                    entries += found
        await store.add(connection, entries)
        return indexed
