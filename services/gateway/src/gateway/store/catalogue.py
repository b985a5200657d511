"""What the gateway keeps of the catalogue: procedures and the codes of agencies."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.catalog import EditionPublished, Field, ProcedurePublished
from common.contracts.commands import ProcedureSummary

_KEEP_EDITION = text(
    """
    INSERT INTO known_edition (revision, procedures, agencies)
    VALUES (:revision, :procedures, :agencies) ON CONFLICT DO NOTHING
    """
)
_COMPLETE = text(
    """
    SELECT coalesce((
        SELECT procedures <= (SELECT count(*) FROM known_procedure)
           AND agencies <= (SELECT count(*) FROM known_agency)
        FROM known_edition ORDER BY revision DESC LIMIT 1), false)
    """
)
_KEEP_PROCEDURES = text(
    """
    INSERT INTO known_procedure AS known (code, name, field_code, field_name)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:names AS text[]),
                         CAST(:field_codes AS text[]), CAST(:field_names AS text[]))
    ON CONFLICT (code) DO UPDATE SET name = excluded.name, field_code = excluded.field_code,
        field_name = excluded.field_name, changed_at = excluded.changed_at
    """
)
_KEEP_AGENCIES = text(
    """
    INSERT INTO known_agency (code) SELECT unnest(CAST(:codes AS text[]))
    ON CONFLICT (code) DO NOTHING
    """
)
_PROCEDURES = text(
    """
    SELECT code, name, field_code, field_name, changed_at FROM known_procedure
    WHERE changed_at > :since
    """
)
_PROCEDURE = text(
    "SELECT code, name, field_code, field_name FROM known_procedure WHERE code = :code"
)
_ALL_AGENCIES = text("SELECT code, changed_at FROM known_agency WHERE changed_at > :since")
_AGENCY = text("SELECT code FROM known_agency WHERE code = :code")


async def keep_procedures(
    connection: AsyncConnection, published: Mapping[str, ProcedurePublished]
) -> None:
    """Take over procedures as the catalogue told them last, by code."""
    await connection.execute(
        _KEEP_PROCEDURES,
        {
            "codes": list(published),
            "names": [procedure.name for procedure in published.values()],
            "field_codes": [procedure.field.code for procedure in published.values()],
            "field_names": [procedure.field.name for procedure in published.values()],
        },
    )


async def keep_agencies(connection: AsyncConnection, codes: Sequence[str]) -> None:
    """Take over the codes of agencies that the catalogue told."""
    await connection.execute(_KEEP_AGENCIES, {"codes": list(codes)})


async def keep_edition(connection: AsyncConnection, edition: EditionPublished) -> None:
    """Take over how much a complete replica holds."""
    await connection.execute(
        _KEEP_EDITION,
        {
            "revision": edition.revision,
            "procedures": edition.procedures,
            "agencies": edition.agencies,
        },
    )


async def is_complete(connection: AsyncConnection) -> bool:
    """Whether everything that the newest edition counts has come in."""
    return bool((await connection.execute(_COMPLETE)).scalar_one())


async def procedures_since(
    connection: AsyncConnection, since: datetime
) -> list[tuple[datetime, ProcedureSummary]]:
    """Procedures that changed here after a moment, with when they did."""
    rows = await connection.execute(_PROCEDURES, {"since": since})
    return [(row.changed_at, _procedure(row)) for row in rows]


async def procedure(connection: AsyncConnection, code: str) -> ProcedureSummary | None:
    """A procedure, if the catalogue has told it."""
    row = (await connection.execute(_PROCEDURE, {"code": code})).first()
    return _procedure(row) if row else None


async def agencies_since(
    connection: AsyncConnection, since: datetime
) -> list[tuple[datetime, str]]:
    """Codes of agencies that came after a moment, with when they did."""
    rows = await connection.execute(_ALL_AGENCIES, {"since": since})
    return [(row.changed_at, row.code) for row in rows]


async def has_agency(connection: AsyncConnection, code: str) -> bool:
    """Whether the catalogue has told this agency."""
    return (await connection.execute(_AGENCY, {"code": code})).first() is not None


def _procedure(row: Row[Any]) -> ProcedureSummary:
    return ProcedureSummary(
        code=row.code, name=row.name, field=Field(code=row.field_code, name=row.field_name)
    )
