"""Imports of old dossiers: how far each is, what it refused, and what its lines said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Format = Literal["ndjson", "csv"]
State = Literal["running", "ended", "stopped"]
Reason = Literal["invalid", "forbidden", "different"]


@dataclass(frozen=True, slots=True)
class Import:
    """An import.

    Attributes:
        lines: how many lines of the file have been dealt with.
        chain: digest over these lines.
        known: lines that had been entered before, just as they are.
        different: lines of dossiers that are there with other content.
        refused: lines that are not in order, or that the client may not enter.
    """

    id: UUID
    client_id: str
    format: Format
    tell_portal: bool
    measure: bool
    state: State
    started_at: datetime
    ended_at: datetime | None
    lines: int
    chain: bytes
    entered: int
    known: int
    different: int
    refused: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that was not entered.

    Attributes:
        line: its number in the file, from 1.
        code: of the dossier, where it could be read.
        errors: JSON pointers with a sentence each in both languages; never values.
    """

    line: int
    code: str | None
    reason: Reason
    errors: Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Entered:
    """A line that was entered, with the digest of what it said."""

    code: str
    line: int
    content: bytes


_COLUMNS = """
    id, client_id, format, tell_portal, measure, state, started_at, ended_at, lines, chain,
    entered, known, different, refused
"""
_BEGIN = text(
    """
    INSERT INTO historic_import (id, client_id, format, tell_portal, measure)
    VALUES (:id, :client_id, :format, :tell_portal, :measure) ON CONFLICT (id) DO NOTHING
    """
)
_FIND = f"SELECT {_COLUMNS} FROM historic_import WHERE id = :id"  # noqa: S608 - fixed names
_PAGE = text(
    f"""
    SELECT {_COLUMNS} FROM historic_import
    WHERE CAST(:client_id AS text) IS NULL OR client_id = :client_id
    ORDER BY started_at DESC LIMIT :limit
    """  # noqa: S608 - fixed names
)
_GO_ON = text(
    """
    UPDATE historic_import SET lines = :lines, chain = :chain, entered = entered + :entered,
        known = known + :known, different = different + :different, refused = refused + :refused
    WHERE id = :id
    """
)
_END = text(
    "UPDATE historic_import SET state = :state, ended_at = clock_timestamp() WHERE id = :id"
)
_ADD_FAULTS = text(
    """
    INSERT INTO historic_fault (import_id, line, code, reason, errors)
    SELECT :id, * FROM unnest(CAST(:lines AS integer[]), CAST(:codes AS text[]),
        CAST(:reasons AS text[]), CAST(:errors AS jsonb[]))
    """
)
_FAULTS = text(
    """
    SELECT line, code, reason, errors FROM historic_fault
    WHERE import_id = :id AND line > :after ORDER BY line LIMIT :limit
    """
)
_CONTENTS = text(
    "SELECT code, content FROM historic_dossier WHERE code = ANY(CAST(:codes AS text[]))"
)
_ADD_ENTERED = text(
    """
    INSERT INTO historic_dossier (code, import_id, line, content)
    SELECT code, :id, line, content FROM unnest(CAST(:codes AS text[]), CAST(:lines AS integer[]),
        CAST(:contents AS bytea[])) AS entered (code, line, content)
    """
)
_BACKLOG = text("SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT :most) AS waiting")


async def begin(
    connection: AsyncConnection,
    id_: UUID,
    client_id: str,
    form: Format,
    *,
    tell_portal: bool,
    measure: bool,
) -> None:
    """Note that an import begins, unless one of this id is known."""
    given = {"id": id_, "client_id": client_id, "format": form}
    await connection.execute(_BEGIN, {**given, "tell_portal": tell_portal, "measure": measure})


async def find(connection: AsyncConnection, id_: UUID, *, lock: bool = False) -> Import | None:
    """An import, locked until the transaction ends if that is asked for."""
    row = (
        await connection.execute(text(_FIND + " FOR UPDATE" if lock else _FIND), {"id": id_})
    ).first()
    return Import(**row._mapping) if row is not None else None


async def page(connection: AsyncConnection, client_id: str | None, limit: int) -> list[Import]:
    """The latest imports, of one client if one is given."""
    rows = await connection.execute(_PAGE, {"client_id": client_id, "limit": limit})
    return [Import(**row._mapping) for row in rows]


async def go_on(
    connection: AsyncConnection,
    id_: UUID,
    *,
    lines: int,
    chain: bytes,
    entered: Sequence[Entered],
    known: int,
    faults: Sequence[Fault],
) -> None:
    """Note what has become of another batch of lines.

    Args:
        lines: of the file, up to the last one of the batch.
    """
    different = sum(fault.reason == "different" for fault in faults)
    await connection.execute(
        _GO_ON,
        {
            "id": id_,
            "lines": lines,
            "chain": chain,
            "entered": len(entered),
            "known": known,
            "different": different,
            "refused": len(faults) - different,
        },
    )
    if entered:
        await connection.execute(
            _ADD_ENTERED,
            {
                "id": id_,
                "codes": [one.code for one in entered],
                "lines": [one.line for one in entered],
                "contents": [one.content for one in entered],
            },
        )
    if faults:
        await connection.execute(
            _ADD_FAULTS,
            {
                "id": id_,
                "lines": [fault.line for fault in faults],
                "codes": [fault.code for fault in faults],
                "reasons": [fault.reason for fault in faults],
                "errors": [orjson.dumps(list(fault.errors)).decode() for fault in faults],
            },
        )


async def end(connection: AsyncConnection, id_: UUID, state: State) -> None:
    """Note that an import has ended, or was stopped."""
    await connection.execute(_END, {"id": id_, "state": state})


async def faults(connection: AsyncConnection, id_: UUID, *, after: int, limit: int) -> list[Fault]:
    """Lines that were not entered, in their order, from the one after line ``after``."""
    rows: Any = await connection.execute(_FAULTS, {"id": id_, "after": after, "limit": limit})
    return [Fault(row.line, row.code, row.reason, row.errors) for row in rows]


async def contents(connection: AsyncConnection, codes: Sequence[str]) -> dict[str, bytes]:
    """What the lines of these dossiers said, of those that were imported."""
    rows = await connection.execute(_CONTENTS, {"codes": list(codes)})
    return {row.code: row.content for row in rows}


async def backlog(connection: AsyncConnection, most: int) -> int:
    """How many events wait to be published, counted up to ``most``."""
    return int((await connection.execute(_BACKLOG, {"most": most})).scalar_one())
