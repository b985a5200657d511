"""What is still sealed under which key, so that a key is retired only when nothing needs it.

The log of events is long and is counted a part at a time; everything else is counted at once.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.auth import Principal, requires
from common.contracts.base import Data
from common.database import Database

EVENTS_AT_ONCE = 20_000
_START = UUID(int=0)
_KEY_ID = r"^[^.\x00\"\\]{1,64}$"

Places = Mapping[str, str]
"""A service's own sealed data: a name → SQL that counts it, with the parameter ``:key`` (the id) or
``:needle`` (how what is sealed under it begins in JSON)."""

router = APIRouter()


class Sealed(Data):
    """How much is sealed under a key, by place."""

    key: str
    places: dict[str, int]


class SealCount(Data):
    """A part of the count; ``next`` is the ``after`` of the next part of the event log.

    Every place but ``event_log`` is counted as a whole in each part.
    """

    keys: tuple[Sealed, ...]
    events_looked_at: int
    next: UUID | None


_LOG = text(
    """
    WITH page AS MATERIALIZED (
        SELECT event_id, body FROM event_log WHERE event_id > :after
        ORDER BY event_id LIMIT :most
    )
    SELECT (SELECT count(*) FROM page) AS looked_at,
           (SELECT event_id FROM page ORDER BY event_id DESC LIMIT 1) AS last,
           ARRAY(SELECT (SELECT count(*) FROM page
                         WHERE position(convert_to(needle, 'UTF8') IN body) > 0)
                 FROM unnest(CAST(:needles AS text[])) WITH ORDINALITY AS n (needle, place)
                 ORDER BY place) AS found
    """
)
_COMMON: Places = {
    "parked": "SELECT count(*) FROM parked WHERE position(convert_to(:needle, 'UTF8') IN body) > 0",
    "delivery": (
        "SELECT count(*) FROM delivery WHERE position(convert_to(:needle, 'UTF8') IN body) > 0"
    ),
}


async def count(
    database: Database, own: Places, keys: Sequence[str], after: UUID = _START
) -> SealCount:
    """Count what is sealed under keys.

    Args:
        own: the service's own places.
        keys: ids of the keys.
        after: where in the event log to go on.
    """
    async with database.reading() as connection:
        row = (
            await connection.execute(
                _LOG,
                {
                    "after": after,
                    "most": EVENTS_AT_ONCE,
                    "needles": [_needle(key) for key in keys],
                },
            )
        ).one()
        found = {key: {"event_log": count} for key, count in zip(keys, row.found, strict=True)}
        places = {**await _present(connection), **own}
        for key in keys:
            for place, statement in places.items():
                values = {
                    name: value
                    for name, value in (("key", key), ("needle", _needle(key)))
                    if f":{name}" in statement
                }
                counted = await connection.execute(text(statement), values)
                found[key][place] = int(counted.scalar_one())
    return SealCount(
        keys=tuple(Sealed(key=key, places=places) for key, places in found.items()),
        events_looked_at=row.looked_at,
        next=row.last if row.looked_at == EVENTS_AT_ONCE else None,
    )


def _needle(key: str) -> str:
    """How a text sealed under the key begins wherever it stands in JSON."""
    return f'"v1.{key}.'


async def _present(connection: AsyncConnection) -> Places:
    present = (
        await connection.execute(
            text(
                "SELECT name FROM unnest(CAST(:names AS text[])) AS name "
                "WHERE to_regclass(name) IS NOT NULL"
            ),
            {"names": list(_COMMON)},
        )
    ).scalars()
    return {name: _COMMON[name] for name in present}


@router.get("/internal/seals", include_in_schema=False)
async def seals(
    request: Request,
    _: Annotated[Principal, requires("operations")],
    key: Annotated[
        list[Annotated[str, Query(pattern=_KEY_ID)]] | None, Query(max_length=20)
    ] = None,
    after: UUID = _START,
) -> SealCount:
    """What this service still holds under each key of its ring, or under those that are asked for.

    A key may leave the rings when every service says 0 for it in every place.
    """
    core = request.app.state.core
    own: Places = getattr(request.app.state, "seal_places", {})
    return await count(core.database, own, key or core.keys.ids, after)
