"""Refused requests, by month (of their ids, UUIDv7)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.identifiers import lowest_id_at
from gateway.domain.refusals import Refusal

_LOCK = 0x6C75
_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '2s'")
_LOCKED = text(f"SELECT pg_advisory_xact_lock({_LOCK})")
# Whom a stranger said to be counts only where there is such a client: else it could be anything.
_KEEP = text(
    """
    INSERT INTO refusal (id, at, client_id, claimed, address, method, route, status, type,
                         request_id, repeated)
    SELECT r.id, r.at, r.client_id, c.client_id, r.address, r.method, r.route, r.status, r.type,
        r.request_id, r.repeated
    FROM unnest(CAST(:ids AS uuid[]), CAST(:ats AS timestamptz[]), CAST(:clients AS text[]),
                CAST(:claimed AS text[]), CAST(:addresses AS text[]), CAST(:methods AS text[]),
                CAST(:routes AS text[]), CAST(:statuses AS smallint[]), CAST(:types AS text[]),
                CAST(:requests AS text[]), CAST(:repeated AS integer[]))
        AS r (id, at, client_id, claimed, address, method, route, status, type, request_id,
              repeated)
    LEFT JOIN client c ON c.client_id = r.claimed
    ON CONFLICT DO NOTHING
    """
)
_PARTITIONS = text(
    """
    SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = 'refusal'::regclass
    """
)
_EMPTIED = text("DELETE FROM refusal_other WHERE id < :before")
# A client's refusals are shown to whoever acts for all of its agencies and deals with all of its
# procedures.
_CLIENTS = text(
    """
    SELECT client_id FROM client
    WHERE client_id = :own OR (agencies <> '{}' AND NOT EXISTS (
        SELECT FROM unnest(agencies) AS a (code) WHERE NOT EXISTS (
            SELECT FROM unnest(CAST(:agencies AS text[])) AS mine (code)
            WHERE mine.code IN ('*', a.code) OR starts_with(a.code, mine.code || '.')))
        AND ('*' = ANY(CAST(:procedures AS text[]))
             OR procedures <@ CAST(:procedures AS text[])))
    """
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which refusals are asked for.

    Attributes:
        clients: theirs alone; None for everybody's, strangers' as well.
        before: those with a lower id.
    """

    clients: Sequence[str] | None
    client_id: str | None = None
    status: int | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None


async def keep(connection: AsyncConnection, refusals: Sequence[Refusal]) -> None:
    """Put refusals down; those that were are left as they are."""
    await connection.execute(
        _KEEP,
        {
            "ids": [one.id for one in refusals],
            "ats": [one.at for one in refusals],
            "clients": [one.client_id for one in refusals],
            "claimed": [one.claimed for one in refusals],
            "addresses": [one.address for one in refusals],
            "methods": [one.method for one in refusals],
            "routes": [one.route for one in refusals],
            "statuses": [one.status for one in refusals],
            "types": [one.type for one in refusals],
            "requests": [one.request_id for one in refusals],
            "repeated": [one.repeated for one in refusals],
        },
    )


async def clients_within(
    connection: AsyncConnection, own: str, agencies: Sequence[str], procedures: Iterable[str]
) -> list[str]:
    """Clients whose agencies all lie in these subtrees and whose procedures are all among these,
    and ``own``."""
    given = {"own": own, "agencies": list(agencies), "procedures": list(procedures)}
    found = await connection.execute(_CLIENTS, given)
    return list(found.scalars())


async def page(connection: AsyncConnection, wanted: Wanted, limit: int) -> list[Refusal]:
    """The newest first."""
    conditions: dict[str, Any] = {}
    if wanted.clients is not None:
        conditions["client_id = ANY(CAST(:clients AS text[]))"] = ("clients", wanted.clients)
    if wanted.client_id is not None:
        conditions["client_id = :client_id"] = ("client_id", wanted.client_id)
    if wanted.status is not None:
        conditions["status = :status"] = ("status", wanted.status)
    if wanted.type is not None:
        conditions["type = :type"] = ("type", wanted.type)
    if wanted.since is not None:
        conditions["id >= :since"] = ("since", lowest_id_at(wanted.since))
    if wanted.until is not None:
        conditions["id < :until"] = ("until", lowest_id_at(wanted.until))
    if wanted.before is not None:
        conditions["id < :before"] = ("before", wanted.before)
    where = "WHERE " + " AND ".join(conditions) if conditions else ""
    rows = await connection.execute(
        text(f"SELECT * FROM refusal {where} ORDER BY id DESC LIMIT :limit"),  # noqa: S608 - above
        {**dict(conditions.values()), "limit": limit},
    )
    return [_refusal(row) for row in rows]


async def ensure_month(connection: AsyncConnection, moment: datetime) -> None:
    """Make the partition of a moment's month; rows that came before it move into it."""
    start = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    name = f"refusal_{start:%Y_%m}"
    await connection.execute(_LOCK_TIMEOUT)
    await connection.execute(_LOCKED)
    if (await connection.execute(text(f"SELECT to_regclass('{name}')"))).scalar():
        return
    first, end = lowest_id_at(start), lowest_id_at(_next_month(start))
    strayed = f"id >= '{first}' AND id < '{end}'"
    moved = f"DELETE FROM refusal_other WHERE {strayed} RETURNING *"  # noqa: S608 - names of ours
    for statement in (
        f"CREATE TABLE {name} (LIKE refusal INCLUDING ALL)",
        f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608 - the same
        f"ALTER TABLE refusal ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')",
    ):
        await connection.execute(text(statement))


async def drop_before(connection: AsyncConnection, before: datetime) -> list[str]:
    """Drop the months that have ended before a moment; the partitions that fell."""
    await connection.execute(_LOCK_TIMEOUT)
    await connection.execute(_LOCKED)
    fell = []
    for name in (await connection.execute(_PARTITIONS)).scalars().all():
        found = re.fullmatch(r"refusal_(\d{4})_(\d{2})", name)
        if found and _next_month(datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)) <= before:
            await connection.execute(text(f"DROP TABLE {name}"))
            fell.append(name)
    await connection.execute(_EMPTIED, {"before": lowest_id_at(before)})
    return fell


def _next_month(start: datetime) -> datetime:
    return (start + timedelta(days=32)).replace(day=1)


def _refusal(row: Row[Any]) -> Refusal:
    return Refusal(
        id=row.id,
        at=row.at,
        client_id=row.client_id,
        claimed=row.claimed,
        address=row.address,
        method=row.method,
        route=row.route,
        status=row.status,
        type=row.type,
        request_id=row.request_id,
        repeated=row.repeated,
    )
