"""Tables of the catalogue. What is served is rendered once, when it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database

_LOAD_LOCK = 0x6361_7461


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of an entry: its version and the digest of its content."""

    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class ProcedureRow:
    """A procedure as it is written: JSON texts for answers, columns for the search."""

    code: str
    version: int
    digest: bytes
    active: bool
    irregular: str | None
    field_code: str | None
    field_name: str
    levels: str | None
    """Comma-separated: arrays of arrays do not travel."""
    folded: str
    """Folded words, a space before each."""
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
    brief: str
    body: str


@dataclass(frozen=True, slots=True)
class Told:
    """How many entries have been told to the other services."""

    procedures: int
    agencies: int


class NotLoaded(Exception):
    """No package data has been loaded yet."""


_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
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
    SELECT (SELECT count(*) FROM procedure WHERE irregular IS NULL) AS procedures,
           (SELECT count(*) FROM agency) AS agencies
    """
)


async def lock_loading(connection: AsyncConnection) -> None:
    """Wait until no other process loads; held to the end of the transaction."""
    await connection.execute(_LOCK, {"lock": _LOAD_LOCK})


async def loaded_revision(connection: AsyncConnection) -> int:
    """Revision of the data that is loaded; 0 before the first."""
    return (await connection.execute(_REVISION)).scalar_one_or_none() or 0


async def note_revision(connection: AsyncConnection, revision: int, version: str) -> None:
    """Note what is loaded now."""
    await connection.execute(_NOTE_REVISION, {"revision": revision, "version": version})


async def count_told(connection: AsyncConnection) -> Told:
    """How many entries there are that the others hear of: not those with irregular codes."""
    row = (await connection.execute(_TOLD)).one()
    return Told(row.procedures, row.agencies)


async def check_loaded(database: Database) -> None:
    """Raise NotLoaded unless there is data to serve."""
    async with database.reading() as connection:
        if not await loaded_revision(connection):
            raise NotLoaded


_KNOWN_PROCEDURES = text("SELECT code, version, digest FROM procedure")
_KNOWN_AGENCIES = text("SELECT code, version, digest FROM agency")


async def known_procedures(connection: AsyncConnection) -> Mapping[str, Known]:
    """What is stored of each procedure."""
    rows = await connection.execute(_KNOWN_PROCEDURES)
    return {row.code: Known(row.version, row.digest) for row in rows}


async def known_agencies(connection: AsyncConnection) -> Mapping[str, Known]:
    """What is stored of each agency."""
    rows = await connection.execute(_KNOWN_AGENCIES)
    return {row.code: Known(row.version, row.digest) for row in rows}


_OPEN_PROCEDURES = text(
    "SELECT body FROM procedure WHERE active AND code <> ALL(CAST(:codes AS text[]))"
)
_OPEN_AGENCIES = text(
    "SELECT body FROM agency WHERE active AND code <> ALL(CAST(:codes AS text[]))"
)


async def open_procedures_but(connection: AsyncConnection, codes: Sequence[str]) -> list[str]:
    """Bodies of the active procedures that are not among the codes."""
    return list((await connection.execute(_OPEN_PROCEDURES, {"codes": codes})).scalars())


async def open_agencies_but(connection: AsyncConnection, codes: Sequence[str]) -> list[str]:
    """Bodies of the active agencies that are not among the codes."""
    return list((await connection.execute(_OPEN_AGENCIES, {"codes": codes})).scalars())


_WRITE_PROCEDURES = text(
    """
    INSERT INTO procedure (code, version, digest, active, irregular, field_code, field_name,
                           levels, folded, brief, body)
    SELECT code, version, digest, active, irregular, field_code, field_name,
           string_to_array(levels, ','), folded, brief, body
    FROM unnest(CAST(:code AS text[]), CAST(:version AS integer[]), CAST(:digest AS bytea[]),
        CAST(:active AS boolean[]), CAST(:irregular AS text[]), CAST(:field_code AS text[]),
        CAST(:field_name AS text[]), CAST(:levels AS text[]), CAST(:folded AS text[]),
        CAST(:brief AS text[]), CAST(:body AS text[]))
        AS given (code, version, digest, active, irregular, field_code, field_name, levels,
                  folded, brief, body)
    ON CONFLICT (code) DO UPDATE SET version = excluded.version, digest = excluded.digest,
        active = excluded.active, irregular = excluded.irregular,
        field_code = excluded.field_code, field_name = excluded.field_name,
        levels = excluded.levels, folded = excluded.folded, brief = excluded.brief,
        body = excluded.body
    """
)
_WRITE_AGENCIES = text(
    """
    INSERT INTO agency (code, version, digest, active, body)
    SELECT * FROM unnest(CAST(:code AS text[]), CAST(:version AS integer[]),
        CAST(:digest AS bytea[]), CAST(:active AS boolean[]), CAST(:body AS text[]))
    ON CONFLICT (code) DO UPDATE SET version = excluded.version, digest = excluded.digest,
        active = excluded.active, body = excluded.body
    """
)
_CLEAR_CODE_LISTS = text("DELETE FROM code_list")
_WRITE_CODE_LISTS = text(
    """
    INSERT INTO code_list (id, brief, body)
    SELECT * FROM unnest(CAST(:id AS text[]), CAST(:brief AS text[]), CAST(:body AS text[]))
    """
)


async def write_procedures(connection: AsyncConnection, rows: Sequence[ProcedureRow]) -> None:
    """Insert or replace procedures."""
    await connection.execute(_WRITE_PROCEDURES, _columns(ProcedureRow, rows))


async def write_agencies(connection: AsyncConnection, rows: Sequence[AgencyRow]) -> None:
    """Insert or replace agencies."""
    await connection.execute(_WRITE_AGENCIES, _columns(AgencyRow, rows))


async def replace_code_lists(connection: AsyncConnection, rows: Sequence[CodeListRow]) -> None:
    """Put these code lists in place of all others."""
    await connection.execute(_CLEAR_CODE_LISTS)
    await connection.execute(_WRITE_CODE_LISTS, _columns(CodeListRow, rows))


def _columns(kind: type[object], rows: Sequence[object]) -> dict[str, list[object]]:
    return {name: [getattr(row, name) for row in rows] for name in kind.__slots__}  # type: ignore[attr-defined]


_PROCEDURE = text("SELECT body FROM procedure WHERE code = :code")
_AGENCY = text("SELECT body FROM agency WHERE code = :code")
_CODE_LIST = text("SELECT body FROM code_list WHERE id = :id")
_AGENCIES = text("SELECT code, body FROM agency WHERE code > :after ORDER BY code LIMIT :limit")
_CODE_LISTS = text("SELECT brief FROM code_list ORDER BY id")
_SEARCH = text(
    """
    SELECT code, brief FROM procedure
    WHERE code > :after AND folded LIKE ALL (CAST(:words AS text[]))
      AND (CAST(:field AS text) IS NULL OR :field IN (field_code, field_name))
      AND (CAST(:level AS text) IS NULL OR :level = ANY (levels))
    ORDER BY code LIMIT :limit
    """
)


async def procedure(connection: AsyncConnection, code: str) -> str | None:
    """A procedure, as JSON."""
    return (await connection.execute(_PROCEDURE, {"code": code})).scalar_one_or_none()


async def agency(connection: AsyncConnection, code: str) -> str | None:
    """An agency by its code in the new form, as JSON."""
    return (await connection.execute(_AGENCY, {"code": code})).scalar_one_or_none()


async def code_list(connection: AsyncConnection, id_: str) -> str | None:
    """A code list with its items, as JSON."""
    return (await connection.execute(_CODE_LIST, {"id": id_})).scalar_one_or_none()


async def code_lists(connection: AsyncConnection) -> list[str]:
    """All code lists without their items, each as JSON."""
    return list((await connection.execute(_CODE_LISTS)).scalars())


async def agencies(connection: AsyncConnection, after: str, limit: int) -> list[tuple[str, str]]:
    """Code and JSON of agencies, by code, beginning behind one."""
    rows = await connection.execute(_AGENCIES, {"after": after, "limit": limit})
    return [(row.code, row.body) for row in rows]


async def search(
    connection: AsyncConnection,
    words: Sequence[str],
    field: str | None,
    level: str | None,
    after: str,
    limit: int,
) -> list[tuple[str, str]]:
    """Code and brief JSON of procedures with words that begin like these, by code, behind one.

    Args:
        words: folded, so without signs that mean something to LIKE.
        field: code or exact name of the field of administration.
    """
    patterns = [f"% {word}%" for word in words]
    found = await connection.execute(
        _SEARCH,
        {"words": patterns, "field": field, "level": level, "after": after, "limit": limit},
    )
    return [(row.code, row.brief) for row in found]
