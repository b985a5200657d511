"""Who asked for personal data: what NĐ 47/2020 Điều 45 wants in the log of sharing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database

_BATCH = 5000
_COLUMNS = """id, read_at, form, dossier, agency, client_id, client_agencies, request_id, purpose,
    asked, fields, found, status"""
_NOTE = text(
    """
    INSERT INTO personal_read (form, dossier, agency, client_id, client_agencies,
                               client_procedures, request_id, purpose, asked, fields, found, status)
    VALUES (:form, :dossier, :agency, :client_id, CAST(:client_agencies AS text[]),
            CAST(:client_procedures AS text[]), :request_id, :purpose, :asked,
            CAST(:fields AS text[]), :found, :status)
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One request for personal data, answered or refused.

    Attributes:
        form: how it was asked for.
        dossier: which one was asked for; None for a search.
        agency: whose dossier that is, where it is known to the client.
        client_id: who asked; ``client_agencies``, ``client_procedures``: with which rights.
        purpose: what for, in the client's words.
        asked: by what kind of number was searched; never the number.
        fields: which personal fields were in the answer; never their values.
        found: how many dossiers a search found.
        status: of the answer.
    """

    form: str
    dossier: str | None = None
    agency: str | None = None
    client_id: str
    client_agencies: Sequence[str]
    client_procedures: Sequence[str]
    request_id: str
    purpose: str | None
    asked: str | None = None
    fields: Sequence[str] = ()
    found: int | None = None
    status: int


async def note(connection: AsyncConnection, asking: Asking) -> None:
    """Put down that personal data was asked for, and what the answer was."""
    await connection.execute(
        _NOTE,
        {
            "form": asking.form,
            "dossier": asking.dossier,
            "agency": asking.agency,
            "client_id": asking.client_id,
            "client_agencies": list(asking.client_agencies),
            "client_procedures": list(asking.client_procedures),
            "request_id": asking.request_id,
            "purpose": asking.purpose,
            "asked": asking.asked,
            "fields": list(asking.fields),
            "found": asking.found,
            "status": asking.status,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries an auditor looks for; None for any.

    Attributes:
        subtrees: roots of the agencies the auditor acts for; ``*`` for all.
        procedures: codes of those the auditor deals with; ``*`` for all.
        since, until: the time of the request, the second one excluded.
        after: the number of the last one seen.
    """

    subtrees: Sequence[str]
    procedures: Sequence[str]
    dossier: str | None
    client: str | None
    since: datetime | None
    until: datetime | None
    after: int
    limit: int


# What was refused or searched is of no agency: an auditor sees it who audits all that the client
# acts for and deals with.
_MAY_SEE = """('*' = ANY(CAST(:roots AS text[])) OR CASE WHEN agency IS NOT NULL
    THEN EXISTS (SELECT FROM unnest(CAST(:roots AS text[])) AS root
                 WHERE agency = root OR starts_with(agency, root || '.'))
    ELSE NOT EXISTS (SELECT FROM unnest(client_agencies) AS acts_for
                     WHERE NOT EXISTS (SELECT FROM unnest(CAST(:roots AS text[])) AS root
                         WHERE acts_for = root OR starts_with(acts_for, root || '.'))) END)
    AND ('*' = ANY(CAST(:procedures AS text[])) OR CASE WHEN agency IS NOT NULL
    THEN EXISTS (SELECT FROM dossier WHERE dossier.code = personal_read.dossier
                 AND dossier.procedure = ANY(CAST(:procedures AS text[])))
    ELSE client_procedures <@ CAST(:procedures AS text[]) END)"""


async def page(connection: AsyncConnection, wanted: Wanted) -> list[Row[Any]]:
    """Entries in the order they were written."""
    chosen = {
        "dossier = :dossier": ("dossier", wanted.dossier),
        "client_id = :client": ("client", wanted.client),
        "read_at >= :since": ("since", wanted.since),
        "read_at < :until": ("until", wanted.until),
    }
    given = {name: value for name, value in chosen.values() if value is not None}
    conditions = [one for one, (name, _) in chosen.items() if name in given]
    statement = text(
        f"SELECT {_COLUMNS} FROM personal_read "  # noqa: S608 - only the fixed texts above
        f"WHERE {' AND '.join([_MAY_SEE, 'id > :after', *conditions])} ORDER BY id LIMIT :limit"
    )
    found = await connection.execute(
        statement,
        {
            **given,
            "roots": list(wanted.subtrees),
            "procedures": list(wanted.procedures),
            "after": wanted.after,
            "limit": wanted.limit,
        },
    )
    return list(found)


_FORGET = text(
    """
    DELETE FROM personal_read WHERE id IN (
        SELECT id FROM personal_read WHERE read_at < now() - make_interval(days => :days)
        ORDER BY read_at LIMIT :most)
    """
)


async def forget_old(database: Database, days: int) -> None:
    """Drop entries older than this many days, a bounded number at a time."""
    while True:
        async with database.transaction() as connection:
            gone = await connection.execute(_FORGET, {"days": days, "most": _BATCH})
        if gone.rowcount < _BATCH:
            return
