"""Tables of the catalogue as it is today, rendered once when it is written; what is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.store.versions import Kind
from common.contracts.codes import PROCEDURE_PATTERN
from common.database import Database

SEPARATOR = "\x1f"
"""Between the values of one column on the way: arrays of arrays do not travel."""


@dataclass(frozen=True, slots=True)
class ProcedureRow:
    """A procedure as it is written: JSON texts for answers, columns for the search.

    The lists are joined by SEPARATOR.
    """

    code: str
    version: int
    digest: bytes
    active: bool
    irregular: str | None
    field_code: str | None
    field_name: str
    levels: str | None
    audiences: str | None
    topics: str | None
    agencies: str | None
    service_level: str | None
    folded: str
    """Folded words of everything that is searched, a space before each."""
    folded_name: str
    """Folded words of the name, a space around each."""
    folded_code: str
    brief: str
    body: str


@dataclass(frozen=True, slots=True)
class AgencyRow:
    """An agency as it is written."""

    code: str
    version: int
    digest: bytes
    active: bool
    body: str


@dataclass(frozen=True, slots=True)
class CodeListRow:
    """A code list as it is written."""

    id: str
    version: int
    brief: str
    body: str


@dataclass(frozen=True, slots=True)
class Told:
    """How many entries have been told to the other services."""

    procedures: int
    agencies: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """What is served of an entry, and since when it is so."""

    code: str
    changed_at: datetime
    body: str


class NotLoaded(Exception):
    """No package data has been loaded yet."""


_REVISION = text("SELECT revision FROM loaded_data")
_NOTE_REVISION = text(
    """
    INSERT INTO loaded_data (revision, version) VALUES (:revision, :version)
    ON CONFLICT (one) DO UPDATE
        SET revision = excluded.revision, version = excluded.version, loaded_at = now()
    """
)
_TOLD = text(
    """
    SELECT (SELECT count(DISTINCT code) FROM entry_version
            WHERE kind = 'procedure' AND code ~ :regular) AS procedures,
           (SELECT count(DISTINCT code) FROM entry_version WHERE kind = 'agency') AS agencies
    """
)


async def loaded_revision(connection: AsyncConnection) -> int:
    """Revision of the data that is loaded; 0 before the first."""
    return (await connection.execute(_REVISION)).scalar_one_or_none() or 0


async def note_revision(connection: AsyncConnection, revision: int, version: str) -> None:
    """Note what is loaded now."""
    await connection.execute(_NOTE_REVISION, {"revision": revision, "version": version})


async def count_told(connection: AsyncConnection) -> Told:
    """How many entries there are that the others hear of: not those with irregular codes."""
    row = (await connection.execute(_TOLD, {"regular": PROCEDURE_PATTERN})).one()
    return Told(row.procedures, row.agencies)


async def check_loaded(database: Database) -> None:
    """Raise NotLoaded unless there is data to serve."""
    async with database.reading() as connection:
        if not await loaded_revision(connection):
            raise NotLoaded


_OUTDATED = {
    "procedure": text(
        """
        SELECT DISTINCT v.code FROM entry_version v LEFT JOIN procedure p ON p.code = v.code
        WHERE v.kind = 'procedure' AND (v.valid_from IS NULL OR v.valid_from <= :day)
          AND (v.valid_to IS NULL OR v.valid_to >= :day)
          AND (p.version IS DISTINCT FROM v.version OR p.folded_name = '')
        """
    ),
    "agency": text(
        """
        SELECT DISTINCT v.code FROM entry_version v LEFT JOIN agency a ON a.code = v.code
        WHERE v.kind = 'agency' AND (v.valid_from IS NULL OR v.valid_from <= :day)
          AND (v.valid_to IS NULL OR v.valid_to >= :day)
          AND (a.version IS DISTINCT FROM v.version OR a.body NOT LIKE '%"version_to"%')
        """
    ),
    "code-list": text(
        """
        SELECT DISTINCT v.code FROM entry_version v LEFT JOIN code_list l ON l.id = v.code
        WHERE v.kind = 'code-list' AND (v.valid_from IS NULL OR v.valid_from <= :day)
          AND (v.valid_to IS NULL OR v.valid_to >= :day)
          AND l.version IS DISTINCT FROM v.version
        """
    ),
}


async def outdated(connection: AsyncConnection, kind: Kind, day: date) -> list[str]:
    """Codes whose version of a day is not the one that is served (or not in today's form)."""
    return list((await connection.execute(_OUTDATED[kind], {"day": day})).scalars())


_WRITE_PROCEDURES = text(
    """
    INSERT INTO procedure (code, version, digest, active, irregular, field_code, field_name,
        levels, audiences, topics, agencies, service_level, folded, words, folded_name,
        folded_code, brief, body, changed_at)
    SELECT code, version, digest, active, irregular, field_code, field_name,
           string_to_array(levels, chr(31)), string_to_array(audiences, chr(31)),
           string_to_array(topics, chr(31)), string_to_array(agencies, chr(31)),
           service_level, folded, array_to_tsvector(string_to_array(ltrim(folded), ' ')),
           folded_name, folded_code, brief, body, clock_timestamp()
    FROM unnest(CAST(:code AS text[]), CAST(:version AS integer[]), CAST(:digest AS bytea[]),
        CAST(:active AS boolean[]), CAST(:irregular AS text[]), CAST(:field_code AS text[]),
        CAST(:field_name AS text[]), CAST(:levels AS text[]), CAST(:audiences AS text[]),
        CAST(:topics AS text[]), CAST(:agencies AS text[]), CAST(:service_level AS text[]),
        CAST(:folded AS text[]), CAST(:folded_name AS text[]), CAST(:folded_code AS text[]),
        CAST(:brief AS text[]), CAST(:body AS text[]))
        AS given (code, version, digest, active, irregular, field_code, field_name, levels,
                  audiences, topics, agencies, service_level, folded, folded_name, folded_code,
                  brief, body)
    ON CONFLICT (code) DO UPDATE SET version = excluded.version, digest = excluded.digest,
        active = excluded.active, irregular = excluded.irregular,
        field_code = excluded.field_code, field_name = excluded.field_name,
        levels = excluded.levels, audiences = excluded.audiences, topics = excluded.topics,
        agencies = excluded.agencies, service_level = excluded.service_level,
        folded = excluded.folded, words = excluded.words, folded_name = excluded.folded_name,
        folded_code = excluded.folded_code, brief = excluded.brief, body = excluded.body,
        changed_at = excluded.changed_at
    """
)
_WRITE_AGENCIES = text(
    """
    INSERT INTO agency (code, version, digest, active, body)
    SELECT * FROM unnest(CAST(:code AS text[]), CAST(:version AS integer[]),
        CAST(:digest AS bytea[]), CAST(:active AS boolean[]), CAST(:body AS text[]))
    ON CONFLICT (code) DO UPDATE SET version = excluded.version, digest = excluded.digest,
        active = excluded.active, body = excluded.body, changed_at = clock_timestamp()
    """
)
_WRITE_CODE_LISTS = text(
    """
    INSERT INTO code_list (id, version, brief, body)
    SELECT * FROM unnest(CAST(:id AS text[]), CAST(:version AS integer[]),
        CAST(:brief AS text[]), CAST(:body AS text[]))
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, brief = excluded.brief,
        body = excluded.body, changed_at = clock_timestamp()
    """
)


async def write_procedures(connection: AsyncConnection, rows: Sequence[ProcedureRow]) -> None:
    """Insert or replace procedures."""
    await connection.execute(_WRITE_PROCEDURES, _columns(ProcedureRow, rows))


async def write_agencies(connection: AsyncConnection, rows: Sequence[AgencyRow]) -> None:
    """Insert or replace agencies."""
    await connection.execute(_WRITE_AGENCIES, _columns(AgencyRow, rows))


async def write_code_lists(connection: AsyncConnection, rows: Sequence[CodeListRow]) -> None:
    """Insert or replace code lists."""
    await connection.execute(_WRITE_CODE_LISTS, _columns(CodeListRow, rows))


def _columns(kind: type[object], rows: Sequence[object]) -> dict[str, list[object]]:
    return {name: [getattr(row, name) for row in rows] for name in kind.__slots__}  # type: ignore[attr-defined]


_ONE = {
    "procedure": text("SELECT code, changed_at, body FROM procedure WHERE code = :code"),
    "agency": text("SELECT code, changed_at, body FROM agency WHERE code = :code"),
    "code-list": text("SELECT id AS code, changed_at, body FROM code_list WHERE id = :code"),
}
_AGENCIES = text(
    """
    SELECT code, changed_at, body FROM agency
    WHERE code > :after AND (CAST(:parent AS text) IS NULL OR starts_with(code, :parent || '.'))
    ORDER BY code LIMIT :limit
    """
)
_CODE_LISTS = text("SELECT id AS code, changed_at, brief AS body FROM code_list ORDER BY id")


async def current(connection: AsyncConnection, kind: Kind, code: str) -> Rendered | None:
    """An entry as it is today; an agency by its code in the new form."""
    row = (await connection.execute(_ONE[kind], {"code": code})).first()
    return Rendered(row.code, row.changed_at, row.body) if row else None


async def code_lists(connection: AsyncConnection) -> list[Rendered]:
    """All code lists without their items."""
    rows = await connection.execute(_CODE_LISTS)
    return [Rendered(row.code, row.changed_at, row.body) for row in rows]


async def agencies(
    connection: AsyncConnection, parent: str | None, after: str, limit: int
) -> list[Rendered]:
    """Agencies by code, beginning behind one; all, or those below one."""
    values = {"parent": parent, "after": after, "limit": limit}
    rows = await connection.execute(_AGENCIES, values)
    return [Rendered(row.code, row.changed_at, row.body) for row in rows]


_LAST_CHANGE = {
    "procedure": text("SELECT max(changed_at) FROM procedure"),
    "agency": text("SELECT max(changed_at) FROM agency"),
    "code-list": text("SELECT max(changed_at) FROM code_list"),
}


async def last_change(connection: AsyncConnection, kind: Kind) -> datetime | None:
    """When the entries of a kind last changed. Nothing is ever removed, so any list of them is as
    it was then."""
    at: datetime | None = (await connection.execute(_LAST_CHANGE[kind])).scalar_one()
    return at
