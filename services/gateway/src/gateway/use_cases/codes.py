"""Dossier codes for source systems that have none of their own.

A number is counted in the gateway's database, by agency and day, and committed before anybody
hears of it. So no two dossiers get one code, whichever replica answers and whatever restarts in
between; a number whose request came to nothing is not used again.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from common.batching import GroupCommit
from common.database import Database
from gateway.domain.codes import day_of_issue, issued_code
from gateway.domain.submissions import Submission
from gateway.errors import CodesNotToBeHad, DossierCodeTaken
from gateway.store import codes as counters
from gateway.store import submissions
from gateway.use_cases.intake import Intake, Wish
from gateway.use_cases.patience import committed

_LEAPS = 20
_TRIES = 5

Series: TypeAlias = tuple[str, date]


class Codes:
    """Issues dossier codes in the legal form (TT 01/2018/TT-VPCP Điều 19).

    Args:
        database: holds the counters, and the codes that source systems used themselves.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._group: GroupCommit[tuple[Series, int], list[str]] = GroupCommit(self._write)

    async def next(self, agency: str, day: date, count: int = 1) -> list[str]:
        """Codes that nobody else gets, in order, with gaps where a source system was first.

        Args:
            agency: new form; it stands in the code in the old form.
            day: in Vietnam; see ``gateway.domain.day_of_issue``.
            count: how many, from 1 to some hundreds.

        Raises:
            CodesNotToBeHad: source systems have used all that came next.
            Busy, NotReady: see ``gateway.use_cases.patience``.
        """
        found = await committed(self._group, ((agency, day), count))
        if len(found) < count:
            raise CodesNotToBeHad
        return found

    async def _write(self, wanted: Sequence[tuple[Series, int]]) -> list[list[str]]:
        sums: defaultdict[Series, int] = defaultdict(int)
        for series, count in wanted:
            sums[series] += count
        async with self._database.transaction() as connection:
            free = await _free(connection, sums)
        given = {series: iter(codes) for series, codes in free.items()}
        return [list(islice(given[series], count)) for series, count in wanted]


async def _free(
    connection: AsyncConnection, wanted: Mapping[Series, int]
) -> dict[Series, list[str]]:
    """Codes of numbers counted on, without those that are used already.

    Where some were, twice as many are tried each time, so that thousands that a source system used
    on the same day are soon behind.
    """
    free: dict[Series, list[str]] = {series: [] for series in wanted}
    missing = dict(wanted)
    for leap in range(_LEAPS):
        tried = {series: max(count, 2**leap) for series, count in missing.items()}
        numbers = await counters.count_on(connection, tried)
        made = {
            series: [issued_code(*series, number) for number in found]
            for series, found in numbers.items()
        }
        used = await counters.used(connection, [code for codes in made.values() for code in codes])
        for series, codes in made.items():
            free[series] += [code for code in codes if code not in used]
        missing = {
            series: count - len(free[series])
            for series, count in wanted.items()
            if len(free[series]) < count
        }
        if not missing:
            break
    return free


@dataclass(frozen=True, slots=True)
class NewDossiers:
    """Takes in dossiers that come without a code.

    Attributes:
        database: the gateway's own.
    """

    intake: Intake
    codes: Codes
    database: Database

    async def take(
        self,
        *,
        client_id: str,
        key: str,
        agency: str,
        content: bytes,
        wish: Callable[[str], Wish],
    ) -> Submission:
        """The submission under a new code; or the one that this request repeats.

        Args:
            client_id: who asks.
            key: the ``Idempotency-Key``, which alone tells a repetition.
            agency: the dossier's (new form).
            content: canonical content, the same as in the wish.
            wish: what is to be taken in under a code, with ``issued`` set.

        Raises:
            IdempotencyKeyReused: the key belongs to another content.
            CodesNotToBeHad: source systems used every code before this one could.
            Busy, NotReady: see ``gateway.use_cases.patience``.
        """
        async with self.database.reading() as connection:
            found = await submissions.by_key(connection, client_id, key)
        if found is not None:
            return self.intake.repeated(found, agency, content)
        for _ in range(_TRIES):
            (code,) = await self.codes.next(agency, day_of_issue(datetime.now(UTC)))
            try:
                return await self.intake.take(wish(code))
            except DossierCodeTaken:
                continue  # a source system used it after it was issued
        raise CodesNotToBeHad
