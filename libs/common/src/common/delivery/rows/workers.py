"""Signs of life, and what is done with the rows of those that give none."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# One statement, since every worker says it all the time. A statement does not see what it writes
# itself, so the worker's own rows are left out: it may have been frozen for longer than a lease. It
# walks from worker to worker in the index and never over its own entries, of which there are
# thousands that wait for a vacuum.
_ALIVE = text(
    """
    WITH RECURSIVE seen AS (
        INSERT INTO delivery_worker (worker) VALUES (:worker)
        ON CONFLICT (worker) DO UPDATE SET seen_at = now()
    ), lost AS (
        DELETE FROM delivery_worker
        WHERE seen_at < now() - make_interval(secs => :lease) AND worker <> :worker
    ), walk (worker) AS (
        SELECT CAST('00000000-0000-0000-0000-000000000000' AS uuid)
        UNION ALL
        SELECT coalesce(
            (SELECT d.worker FROM delivery d
             WHERE d.state = 'sending' AND d.worker > walk.worker AND d.worker < :worker
             ORDER BY d.worker LIMIT 1),
            (SELECT d.worker FROM delivery d
             WHERE d.state = 'sending' AND d.worker > greatest(walk.worker, :worker)
             ORDER BY d.worker LIMIT 1))
        FROM walk WHERE walk.worker IS NOT NULL
    )
    UPDATE delivery SET state = 'unknown', worker = NULL, next_at = now(),
        error = 'the worker ended in the middle of the call'
    WHERE state = 'sending' AND worker = ANY (ARRAY(
        SELECT worker FROM walk WHERE NOT EXISTS (
            SELECT FROM delivery_worker
            WHERE delivery_worker.worker = walk.worker
              AND seen_at >= now() - make_interval(secs => :lease))))
    """
)
_LEAVE = text("DELETE FROM delivery_worker WHERE worker = :worker")


async def alive(connection: AsyncConnection, worker: UUID, lease: float) -> int:
    """Give a sign of life, and make unknown what workers were sending that gave none for ``lease``
    seconds; how many items. A worker's first sign comes before its first claim."""
    return (await connection.execute(_ALIVE, {"worker": worker, "lease": lease})).rowcount


async def leave(connection: AsyncConnection, worker: UUID) -> None:
    """Take leave: what the worker was still sending is unknown to the next one at once."""
    await connection.execute(_LEAVE, {"worker": worker})
