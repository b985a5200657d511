"""Who was given personal data of whom: what NĐ 47/2020 Điều 45 wants in the log of sharing.

The requester is the portal, the form its call ``DongBoHoSoMC``; a row tells under which account,
which dossier, which fields (never their values), when, and with what outcome.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database

_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One dossier in one call.

    Attributes:
        account: under which it was sent.
        version: of the snapshot.
        fields: the personal fields that were in it, as the portal names them.
        outcome: what became of the call (``common.delivery.Result``); data of a call that failed
            may have arrived all the same.
    """

    dossier: str
    agency: str
    procedure: str | None
    account: str | None
    version: int
    fields: Sequence[str]
    outcome: str


_NOTE = text(
    """
    INSERT INTO disclosure (dossier, agency, procedure, account, version, fields, outcome)
    SELECT dossier, agency, procedure, account, version, string_to_array(fields, ' '), outcome
    FROM unnest(CAST(:dossiers AS text[]), CAST(:agencies AS text[]), CAST(:procedures AS text[]),
        CAST(:accounts AS text[]), CAST(:versions AS bigint[]), CAST(:fields AS text[]),
        CAST(:outcomes AS text[]))
        AS told (dossier, agency, procedure, account, version, fields, outcome)
    """
)
_PAGE = text(
    """
    SELECT id, at, dossier, agency, account, version, fields, outcome FROM disclosure
    WHERE id > :after AND (CAST(:dossier AS text) IS NULL OR dossier = :dossier)
      AND ('*' = ANY(CAST(:agencies AS text[])) OR EXISTS (
           SELECT FROM unnest(CAST(:agencies AS text[])) AS root
           WHERE agency = root OR starts_with(agency, root || '.')))
      AND ('*' = ANY(CAST(:procedures AS text[])) OR procedure = ANY(CAST(:procedures AS text[])))
    ORDER BY id LIMIT :limit
    """
)
_FORGET = text(
    """
    DELETE FROM disclosure WHERE id IN (
        SELECT id FROM disclosure WHERE at < now() - make_interval(days => :days)
        ORDER BY at LIMIT :most)
    """
)


async def note(connection: AsyncConnection, disclosures: Sequence[Disclosure]) -> None:
    """Put down what was given away."""
    if not disclosures:
        return
    await connection.execute(
        _NOTE,
        {
            "dossiers": [one.dossier for one in disclosures],
            "agencies": [one.agency for one in disclosures],
            "procedures": [one.procedure for one in disclosures],
            "accounts": [one.account for one in disclosures],
            "versions": [one.version for one in disclosures],
            "fields": [" ".join(one.fields) for one in disclosures],
            "outcomes": [one.outcome for one in disclosures],
        },
    )


async def page(
    connection: AsyncConnection,
    agencies: Sequence[str],
    procedures: Iterable[str],
    dossier: str | None,
    after: int,
    limit: int,
) -> list[Row[Any]]:
    """What was given away of dossiers of these agencies' subtrees, of these procedures, in the
    order of time."""
    rights = {"agencies": list(agencies), "procedures": list(procedures)}
    found = await connection.execute(
        _PAGE, {**rights, "dossier": dossier, "after": after, "limit": limit}
    )
    return list(found)


async def forget_old(database: Database, days: int) -> None:
    """Drop what is older than this many days, a bounded number at a time."""
    while True:
        async with database.transaction() as connection:
            gone = await connection.execute(_FORGET, {"days": days, "most": _BATCH})
        if gone.rowcount < _BATCH:
            return
