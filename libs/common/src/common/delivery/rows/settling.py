"""What became of claimed rows."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# `worker` is set while a row is sending and at no other time. (Naming the state too would let the
# planner take the index of a worker's rows and compare each of them with each settled one.) What
# to do with a row is decided by its version under the lock: by the snapshot's, a row that is being
# replaced meanwhile would be neither deleted nor sent again. What was put off behind an item that
# had trouble is let go when that item is done.
_SETTLE = text(
    """
    WITH settled AS (
        SELECT given.*, given.state = 'done' AND d.version = given.version AS over
        FROM unnest(CAST(:ids AS bigint[]), CAST(:versions AS bigint[]), CAST(:states AS text[]),
                CAST(:waits AS float8[]), CAST(:attempts AS integer[]), CAST(:doubled AS boolean[]),
                CAST(:errors AS text[]))
            AS given (id, version, state, wait, attempts, doubled, error)
        CROSS JOIN LATERAL (
            SELECT version FROM delivery
            WHERE delivery.id = given.id AND worker = :worker FOR UPDATE) AS d
    ), gone AS (
        DELETE FROM delivery WHERE id = ANY (ARRAY(SELECT id FROM settled WHERE over))
        RETURNING subject, error
    ), freed AS (
        UPDATE delivery SET next_at = now()
        WHERE subject = ANY (ARRAY(SELECT subject FROM gone WHERE error IS NOT NULL))
          AND (partner = :partner) IS TRUE AND state NOT IN ('sending', 'unknown', 'held')
          AND next_at > now() AND error IS NULL
    )
    UPDATE delivery SET
        state = CASE settled.state WHEN 'done' THEN 'due' ELSE settled.state END,
        next_at = now() + make_interval(secs => settled.wait),
        attempts = settled.attempts, error = settled.error, worker = NULL,
        maybe_doubled = settled.doubled
    FROM settled WHERE delivery.id = settled.id AND NOT over
        AND delivery.id = ANY (ARRAY(SELECT id FROM settled WHERE NOT over))
    """
)


async def settle(
    connection: AsyncConnection,
    partner: str,
    worker: UUID,
    rows: Sequence[tuple[int, int, str, float, int, bool, str | None]],
) -> None:
    """Write what became of claimed items.

    Args:
        rows: for each its id, the version that was claimed, the next state (``done`` deletes it,
            unless a newer version came meanwhile), seconds to wait, attempts so far, whether it
            may be doubled, and the error.
    """
    names = ("ids", "versions", "states", "waits", "attempts", "doubled", "errors")
    columns = zip(*rows, strict=True)
    values = {name: list(column) for name, column in zip(names, columns, strict=True)}
    await connection.execute(_SETTLE, {**values, "partner": partner, "worker": worker})
