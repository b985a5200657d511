"""Deliveries that a partner refused: looked at, sent again or given up, by operators.

What is done is written down by ``common.desk`` in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common import desk

_OWN = """
    (:all OR agency = ANY(CAST(:roots AS text[]))
     OR EXISTS (SELECT FROM unnest(CAST(:roots AS text[])) AS r (root)
                WHERE starts_with(agency, r.root || '.')))
"""
_COLUMNS = (
    "id, partner, lane, agency, subject, kind, key, version, attempts, error, maybe_doubled, "
    "created_at, octet_length(body) AS bytes"
)
_THERE = text("SELECT to_regclass('delivery') IS NOT NULL")
_PAGE = text(
    f"""
    SELECT {_COLUMNS} FROM delivery WHERE state = 'held' AND id > :after AND {_OWN}
      AND (CAST(:partner AS text) IS NULL OR partner = :partner)
      AND (CAST(:kind AS text) IS NULL OR kind = :kind)
      AND (CAST(:subject AS text) IS NULL OR subject = :subject)
    ORDER BY id LIMIT :most
    """  # noqa: S608 - constants
)
_ONE = text(
    f"SELECT {_COLUMNS}, body FROM delivery WHERE state = 'held' AND id = :id AND {_OWN}"  # noqa: S608 - constants
)
_AROUND = text(
    """
    SELECT id, state, id < :id AS before FROM delivery
    WHERE partner = :partner AND subject = :subject AND id <> :id ORDER BY id LIMIT 1000
    """
)
_RETRY = text(
    f"""
    UPDATE delivery SET state = 'due', next_at = now(), attempts = 0
    WHERE state = 'held' AND id = :id AND {_OWN} RETURNING {_COLUMNS}
    """  # noqa: S608 - constants
)
_DISMISS = text(
    f"DELETE FROM delivery WHERE state = 'held' AND id = :id AND {_OWN} RETURNING {_COLUMNS}"  # noqa: S608 - constants
)
# As workers do before they look what can go (``common.delivery.rows``): one that sees the item held
# would put off what is behind it after that was let go here.
_ALONE = text(
    """
    SELECT pg_advisory_xact_lock(hashtextextended(partner || lane || ' ' || agency, 0))
    FROM (SELECT DISTINCT d.partner, d.lane, d.agency FROM delivery d
          JOIN delivery held ON held.partner = d.partner AND held.subject = d.subject
          WHERE held.id = :id ORDER BY 1, 2, 3) AS turn
    """
)
# What stood behind it was put off for a while.
_FREE = text(
    """
    UPDATE delivery SET next_at = now()
    WHERE partner = :partner AND subject = :subject AND state = 'due' AND next_at > now()
      AND error IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class Held:
    """A held delivery as an operator sees it; of its body only the names of the members."""

    id: int
    partner: str
    lane: str
    agency: str
    subject: str
    kind: str
    key: str
    version: int
    attempts: int
    error: str | None
    maybe_doubled: bool
    created_at: datetime
    bytes: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Around:
    """A held delivery, and what of the same subject goes before and behind it."""

    item: Held
    ahead: tuple[int, ...]
    behind: int


async def deliveries(connection: AsyncConnection) -> bool:
    """Whether this service delivers anything to partners."""
    return bool((await connection.execute(_THERE)).scalar_one())


async def page(
    connection: AsyncConnection,
    agencies: Sequence[str],
    *,
    after: int = 0,
    most: int = 100,
    partner: str | None = None,
    kind: str | None = None,
    subject: str | None = None,
) -> list[Held]:
    """Held deliveries of these agencies' subtrees, by id."""
    values = {"after": after, "most": most, "partner": partner, "kind": kind, "subject": subject}
    return [_held(row) for row in await connection.execute(_PAGE, {**_own(agencies), **values})]


async def around(connection: AsyncConnection, agencies: Sequence[str], item: int) -> Around | None:
    """One of them with what stands around it; None where no such delivery is held."""
    row = (await connection.execute(_ONE, {**_own(agencies), "id": item})).one_or_none()
    if row is None:
        return None
    keys = {"id": item, "partner": row.partner, "subject": row.subject}
    others = (await connection.execute(_AROUND, keys)).all()
    ahead = tuple(other.id for other in others if other.before)
    return Around(_held(row, _names(row.body)), ahead, len(others) - len(ahead))


async def act(
    connection: AsyncConnection,
    agencies: Sequence[str],
    item: int,
    action: Literal["retry", "dismiss"],
    client: str,
    reason: str,
) -> Held | None:
    """Send a held delivery again, or give it up; None where no such delivery is held.

    Order within the subject is kept: one that is sent again waits for those before it; what waited
    behind one that is given up goes on.
    """
    await connection.execute(_ALONE, {"id": item})
    statement = _RETRY if action == "retry" else _DISMISS
    row = (await connection.execute(statement, {**_own(agencies), "id": item})).one_or_none()
    if row is None:
        return None
    if action == "dismiss":
        keys = {"partner": row.partner, "subject": row.subject}
        await connection.execute(_FREE, keys)
    await desk.note_held(connection, action, row, client, reason)
    return _held(row)


def _own(agencies: Sequence[str]) -> dict[str, Any]:
    return {"all": "*" in agencies, "roots": list(agencies)}


def _held(row: Row[Any], members: tuple[str, ...] = ()) -> Held:
    values = {name: value for name, value in row._mapping.items() if name != "body"}
    return Held(**values, members=members)


def _names(body: bytes) -> tuple[str, ...]:
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ()
    return tuple(sorted(members)) if isinstance(members, dict) else ()
