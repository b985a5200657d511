"""Bulk requests: who takes each in, how far it is, and which of its lines were refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

LEASE_SECONDS = 60
"""How long one that shows no signs of life is taken to be at work."""

BulkState = Literal["running", "ended", "broken-off"]


@dataclass(frozen=True, slots=True)
class Bulk:
    """A bulk request.

    Attributes:
        lines: how many of its lines have been dealt with.
        refused: how many of these were refused, as they stand.
        held_for: seconds until somebody else may take it up; 0 where nobody holds it.
    """

    id: UUID
    state: BulkState
    begun_at: datetime
    ended_at: datetime | None
    lines: int
    refused: int
    held_for: float


_COLUMNS = """
    id, CASE WHEN state = 'running' AND leased_until < clock_timestamp() THEN 'broken-off'
             ELSE state END AS state,
    begun_at, ended_at, lines,
    (SELECT count(*) FROM bulk_refusal WHERE bulk_id = bulk.id) AS refused,
    greatest(extract(epoch FROM leased_until - clock_timestamp()), 0) AS held_for
"""
_LEASE = f"clock_timestamp() + interval '{LEASE_SECONDS} seconds'"
_ENTER = text(
    f"""
    INSERT INTO bulk (id, client_id, key, state, holder, leased_until)
    VALUES (:id, :client, :key, 'running', :holder, {_LEASE})
    ON CONFLICT (client_id, key) DO NOTHING
    """  # noqa: S608 - constants
)
_BY_KEY = text(
    f"SELECT {_COLUMNS} FROM bulk WHERE client_id = :client AND key = :key FOR UPDATE"  # noqa: S608 - constants
)
_TAKE_UP = text(
    f"""
    UPDATE bulk SET state = 'running', ended_at = NULL, holder = :holder, leased_until = {_LEASE}
    WHERE id = :id
    """  # noqa: S608 - constants
)
_GO_ON = text(
    f"""
    UPDATE bulk SET lines = greatest(lines, :lines), leased_until = {_LEASE}
    WHERE id = :id AND holder = :holder
    """  # noqa: S608 - constants
)
_REFUSE = text(
    """
    INSERT INTO bulk_refusal (bulk_id, line, problem)
    SELECT :id, * FROM unnest(CAST(:lines AS integer[]), CAST(:problems AS jsonb[]))
    ON CONFLICT (bulk_id, line) DO UPDATE SET problem = excluded.problem
    """
)
_ACCEPT = text(
    "DELETE FROM bulk_refusal WHERE bulk_id = :id AND line = ANY(CAST(:lines AS integer[]))"
)
_END = text(
    """
    UPDATE bulk SET state = :state, ended_at = clock_timestamp(), holder = NULL, leased_until = NULL
    WHERE id = :id AND holder = :holder
    """
)
_OWN = text(f"SELECT {_COLUMNS} FROM bulk WHERE id = :id AND client_id = :client")  # noqa: S608 - constants
_REFUSALS = text(
    """
    SELECT line, problem FROM bulk_refusal WHERE bulk_id = :id AND line > :after
    ORDER BY line LIMIT :limit
    """
)
_FORGET = text(
    """
    DELETE FROM bulk WHERE id IN (
        SELECT id FROM bulk WHERE id < :before AND state <> 'running' ORDER BY id LIMIT :most)
    """
)


async def take_up(
    connection: AsyncConnection, new_id: UUID, client_id: str, key: str, holder: UUID
) -> Bulk:
    """The bulk request of a key, begun if there is none, locked until the transaction ends.

    It is the holder's from then on, unless ``held_for`` says that somebody else holds it.
    """
    given = {"client": client_id, "key": key}
    entered = await connection.execute(_ENTER, {**given, "id": new_id, "holder": holder})
    found = _bulk((await connection.execute(_BY_KEY, given)).one())
    if entered.rowcount:
        return _unheld(found)
    if not found.held_for:
        await connection.execute(_TAKE_UP, {"id": found.id, "holder": holder})
    return found


async def go_on(
    connection: AsyncConnection,
    identifier: UUID,
    holder: UUID,
    *,
    lines: int,
    refused: Mapping[int, Mapping[str, Any]],
    accepted: Sequence[int],
) -> bool:
    """Note what became of further lines; False where somebody else holds the request now.

    Args:
        lines: up to which line all have been dealt with.
        refused: the problem of each that was refused.
        accepted: those that had been dealt with before and are not refused now.
    """
    held = await connection.execute(_GO_ON, {"id": identifier, "holder": holder, "lines": lines})
    if not held.rowcount:
        return False
    if refused:
        problems = [orjson.dumps(problem).decode() for problem in refused.values()]
        given = {"id": identifier, "lines": list(refused), "problems": problems}
        await connection.execute(_REFUSE, given)
    if accepted:
        await connection.execute(_ACCEPT, {"id": identifier, "lines": list(accepted)})
    return True


async def end(
    connection: AsyncConnection, identifier: UUID, holder: UUID, state: BulkState
) -> None:
    """Nobody takes it in any more."""
    await connection.execute(_END, {"id": identifier, "holder": holder, "state": state})


async def own(connection: AsyncConnection, identifier: UUID, client_id: str) -> Bulk | None:
    """A client's bulk request."""
    row = (await connection.execute(_OWN, {"id": identifier, "client": client_id})).first()
    return _bulk(row) if row else None


async def refusals(
    connection: AsyncConnection, identifier: UUID, *, after: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """Refused lines with their problems, in order, from the one behind line ``after``."""
    given = {"id": identifier, "after": after, "limit": limit}
    found = await connection.execute(_REFUSALS, given)
    return [(row.line, _document(row.problem)) for row in found]


async def forget(connection: AsyncConnection, before: UUID, most: int) -> int:
    """Delete requests that were begun before (the lowest id of) a moment; how many."""
    return (await connection.execute(_FORGET, {"before": before, "most": most})).rowcount


def _bulk(row: Row[Any]) -> Bulk:
    return Bulk(
        row.id,
        row.state,
        row.begun_at,
        row.ended_at,
        row.lines,
        row.refused,
        float(row.held_for or 0),
    )


def _unheld(bulk: Bulk) -> Bulk:
    return Bulk(bulk.id, bulk.state, bulk.begun_at, bulk.ended_at, bulk.lines, bulk.refused, 0.0)


def _document(problem: Any) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(problem) if isinstance(problem, str) else problem
    return told
