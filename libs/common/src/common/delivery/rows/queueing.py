"""Items become rows, in the transaction of whoever queues them."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery.partner import LANES, Item

_QUEUE = text(
    """
    INSERT INTO delivery AS d
        (partner, lane, agency, subject, kind, key, version, body, waits, traceparent)
    SELECT :partner, lane, agency, subject, kind, key, version, body, waits, traceparent
    FROM unnest(CAST(:lanes AS text[]), CAST(:agencies AS text[]), CAST(:subjects AS text[]),
            CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:versions AS bigint[]),
            CAST(:bodies AS bytea[]), CAST(:waits AS boolean[]), CAST(:traces AS text[]))
        WITH ORDINALITY AS given
        (lane, agency, subject, kind, key, version, body, waits, traceparent, place)
    ORDER BY place
    ON CONFLICT (partner, kind, key) DO UPDATE
        SET version = excluded.version, body = excluded.body, traceparent = excluded.traceparent,
            agency = excluded.agency, lane = greatest(d.lane, excluded.lane),
            state = CASE d.state WHEN 'held' THEN 'due' ELSE d.state END,
            attempts = CASE d.state WHEN 'held' THEN 0 ELSE d.attempts END,
            next_at = CASE d.state WHEN 'held' THEN now() ELSE d.next_at END
        WHERE d.version < excluded.version
    """
)


# In conditions of a single scan: a join with what passes for empty may read it once for each row.
_OF_SUBJECTS = text(
    """
    SELECT id, subject, agency, lane FROM delivery
    WHERE (partner = :partner) IS TRUE AND subject = ANY (CAST(:subjects AS text[]))
    """
)
_MOVE = text(
    """
    UPDATE delivery SET agency = moved.agency, lane = moved.lane
    FROM (
        SELECT d.id, given.agency, greatest(d.lane, given.lane) AS lane
        FROM unnest(CAST(:ids AS bigint[]), CAST(:agencies AS text[]), CAST(:lanes AS text[]))
            AS given (id, agency, lane)
        JOIN delivery d ON d.id = given.id
        ORDER BY d.subject, d.id FOR UPDATE OF d
    ) AS moved
    WHERE delivery.id = moved.id
    """
)


async def _move(
    connection: AsyncConnection, partner: str, agencies: dict[str, str], lanes: dict[str, str]
) -> None:
    """Let what waits of subjects go with these agencies, and on these lanes where they are live.

    A subject's items share an agency and a lane: those of two turns could not keep their order.
    """
    found = await connection.execute(_OF_SUBJECTS, {"partner": partner, "subjects": list(agencies)})
    astray = [
        (waiting.id, agencies[waiting.subject], lanes[waiting.subject])
        for waiting in found
        if waiting.agency != agencies[waiting.subject] or waiting.lane < lanes[waiting.subject]
    ]
    if astray:  # "live" is the greater of the two lanes, under the lock as well
        ids, whose, which = (list(column) for column in zip(*astray, strict=True))
        await connection.execute(_MOVE, {"ids": ids, "agencies": whose, "lanes": which})


async def queue(connection: AsyncConnection, partner: str, items: Sequence[Item]) -> None:
    """Queue items in the caller's transaction.

    An older version that still waits is replaced in its place. Of several items with one kind and
    key only the last is taken, in the place of the first. What waits of a subject goes with the
    agency that it has now, and on the live lane as soon as something of it does.
    """
    latest: dict[tuple[str, str], Item] = {}
    for item in items:
        latest[item.kind, item.key] = item
    if not latest:
        return
    # Every transaction locks rows by subject: two that meet cannot block each other.
    rows = sorted(latest.values(), key=lambda item: item.subject)
    agencies = {item.subject: item.agency for item in rows}
    lanes = {item.subject: LANES[1] for item in rows}
    lanes |= {item.subject: item.lane for item in rows if item.lane != LANES[1]}
    await _move(connection, partner, agencies, lanes)
    await connection.execute(
        _QUEUE,
        {
            "partner": partner,
            "lanes": [lanes[item.subject] for item in rows],
            "agencies": [agencies[item.subject] for item in rows],
            "subjects": [item.subject for item in rows],
            "kinds": [item.kind for item in rows],
            "keys": [item.key for item in rows],
            "versions": [item.version for item in rows],
            "bodies": [item.body for item in rows],
            "waits": [item.waits for item in rows],
            "traces": [item.traceparent for item in rows],
        },
    )


_WAITS = text(
    """
    SELECT EXISTS (
        SELECT FROM delivery WHERE (partner = :partner) IS TRUE AND state IN ('due', 'unknown'))
    """
)


async def waits(connection: AsyncConnection, partner: str) -> bool:
    """Whether there is anything to deliver, now or later."""
    return bool((await connection.execute(_WAITS, {"partner": partner})).scalar_one())
