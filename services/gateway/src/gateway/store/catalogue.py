"""What the gateway keeps of the catalogue: procedures and the codes of agencies."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.catalog import (
    EditionPublished,
    Field,
    ProcedurePublished,
    ProcessingTime,
)
from common.contracts.commands import ProcedureSummary


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a procedure, and from which day to which it is valid."""

    number: int
    valid_from: date | None
    valid_to: date | None
    summary: ProcedureSummary

    def valid_on(self, day: date) -> bool:
        """Whether it is valid on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day <= self.valid_to
        )


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
_KEEP_VERSIONS = text(
    """
    INSERT INTO known_procedure_version AS known (code, version, name, field_code, field_name,
        valid_from, valid_to, time_quantity, time_unit, service_level, has_fee)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:versions AS integer[]),
        CAST(:names AS text[]), CAST(:field_codes AS text[]), CAST(:field_names AS text[]),
        CAST(:valid_from AS date[]), CAST(:valid_to AS date[]),
        CAST(:time_quantities AS double precision[]), CAST(:time_units AS text[]),
        CAST(:service_levels AS text[]), CAST(:has_fees AS boolean[]))
    ON CONFLICT (code, version) DO UPDATE SET name = excluded.name,
        field_code = excluded.field_code, field_name = excluded.field_name,
        valid_from = excluded.valid_from, valid_to = excluded.valid_to,
        time_quantity = excluded.time_quantity, time_unit = excluded.time_unit,
        service_level = excluded.service_level, has_fee = excluded.has_fee,
        changed_at = excluded.changed_at
    """
)
_COLUMNS = """
    code, coalesce(v.name, p.name) AS name,
    CASE WHEN v.version IS NULL THEN p.field_code ELSE v.field_code END AS field_code,
    coalesce(v.field_name, p.field_name) AS field_name, v.version, v.valid_from, v.valid_to,
    v.time_quantity, v.time_unit, v.service_level, v.has_fee
"""
_SLICE = 200
"""Versions that are made between two turns of the event loop, some five milliseconds."""
_CHANGED = text(
    f"""
    SELECT {_COLUMNS} FROM known_procedure p LEFT JOIN known_procedure_version v USING (code)
    WHERE code IN (SELECT code FROM known_procedure WHERE changed_at > :since
                     UNION SELECT code FROM known_procedure_version WHERE changed_at > :since)
    """  # noqa: S608 - columns of our own
)
_PROCEDURE = text(
    f"""
    SELECT {_COLUMNS} FROM known_procedure p LEFT JOIN known_procedure_version v USING (code)
    WHERE code = :code
    """  # noqa: S608 - columns of our own
)
_ALL_AGENCIES = text("SELECT code FROM known_agency WHERE changed_at > :since")
_AGENCY = text("SELECT code FROM known_agency WHERE code = :code")


async def keep_procedures(
    connection: AsyncConnection, published: Iterable[ProcedurePublished]
) -> None:
    """Take over versions of procedures, in the order in which the catalogue told them."""
    # A batch can tell a version twice, such as one that has been ended since: the last word counts.
    versions = {(one.code, one.version): one for one in published}
    newest = {code: one for (code, _), one in sorted(versions.items())}
    await connection.execute(
        _KEEP_PROCEDURES,
        {
            "codes": list(newest),
            "names": [one.name for one in newest.values()],
            "field_codes": [one.field.code for one in newest.values()],
            "field_names": [one.field.name for one in newest.values()],
        },
    )
    told = [versions[key] for key in sorted(versions)]
    await connection.execute(
        _KEEP_VERSIONS,
        {
            "codes": [one.code for one in told],
            "versions": [one.version for one in told],
            "names": [one.name for one in told],
            "field_codes": [one.field.code for one in told],
            "field_names": [one.field.name for one in told],
            "valid_from": [one.valid_from for one in told],
            "valid_to": [one.valid_to for one in told],
            "time_quantities": [one.time.quantity if one.time else None for one in told],
            "time_units": [one.time.unit if one.time else None for one in told],
            "service_levels": [one.service_level for one in told],
            "has_fees": [one.has_fee for one in told],
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


async def moment(connection: AsyncConnection) -> datetime:
    """What the database's clock says."""
    told: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return told


async def procedures_since(connection: AsyncConnection, since: datetime) -> list[Version]:
    """All versions of the procedures of which something changed here after a moment."""
    rows = (await connection.execute(_CHANGED, {"since": since})).all()
    versions: list[Version] = []
    for start in range(0, len(rows), _SLICE):
        versions += map(_version, rows[start : start + _SLICE])
        await asyncio.sleep(0)
    return versions


async def procedure(connection: AsyncConnection, code: str) -> list[Version]:
    """The versions of a procedure; none if the catalogue has not told it."""
    return [_version(row) for row in await connection.execute(_PROCEDURE, {"code": code})]


async def agencies_since(connection: AsyncConnection, since: datetime) -> list[str]:
    """Codes of agencies that came after a moment."""
    return list((await connection.execute(_ALL_AGENCIES, {"since": since})).scalars())


async def has_agency(connection: AsyncConnection, code: str) -> bool:
    """Whether the catalogue has told this agency."""
    return (await connection.execute(_AGENCY, {"code": code})).first() is not None


def _version(row: Row[Any]) -> Version:
    time = None
    if row.time_quantity is not None:
        time = ProcessingTime(quantity=row.time_quantity, unit=row.time_unit)
    summary = ProcedureSummary(
        code=row.code,
        name=row.name,
        field=Field(code=row.field_code, name=row.field_name),
        version=row.version,
        time=time,
        service_level=row.service_level,
        has_fee=row.has_fee,
    )
    return Version(row.version or 0, row.valid_from, row.valid_to, summary)
