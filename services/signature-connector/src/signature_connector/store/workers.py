"""The rows of workers, and what those that are no more left in their hands."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.requests import Request
from signature_connector.store.requests import COLUMNS, request_of

_ORPHANED = """
    r.worker IS NOT NULL AND NOT EXISTS (SELECT FROM signing_worker w WHERE w.worker = r.worker)
"""
_SEEN = text(
    f"""
    WITH alive AS (
        INSERT INTO signing_worker (worker) SELECT unnest(CAST(:workers AS uuid[]))
        ON CONFLICT (worker) DO UPDATE SET seen_at = now())
    SELECT EXISTS (
            SELECT FROM signing_worker WHERE seen_at < now() - make_interval(secs => :lease))
        OR EXISTS (SELECT FROM signing_request r WHERE {_ORPHANED})
    """  # noqa: S608 - a condition from this module
)
_FORGET = text("DELETE FROM signing_worker WHERE seen_at < now() - make_interval(secs => :lease)")
_LEAVE = text("DELETE FROM signing_worker WHERE worker = :worker")
_ABANDONED = text(
    f"""
    SELECT {COLUMNS}, worker FROM signing_request r
    WHERE {_ORPHANED}
      AND (CAST(:worker AS uuid) IS NULL OR worker = :worker)
    ORDER BY request_id LIMIT 1000 FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - names of columns
)
_RELEASE = text(
    """
    UPDATE signing_request SET worker = NULL, next_at = now(), updated_at = now(),
        ask_at = CASE WHEN ask_at IS NOT NULL THEN now() END
    WHERE request_id = ANY(CAST(:ids AS uuid[]))
    """
)


async def seen(connection: AsyncConnection, workers: Sequence[UUID], lease: float) -> bool:
    """Signs of life of workers; whether others gave none for ``lease`` seconds, or left something
    in their hands."""
    values = {"workers": list(workers), "lease": lease}
    return bool((await connection.execute(_SEEN, values)).scalar_one())


async def forget_dead(connection: AsyncConnection, lease: float) -> None:
    """Strike out workers without a sign of life for ``lease`` seconds."""
    await connection.execute(_FORGET, {"lease": lease})


async def leave(connection: AsyncConnection, worker: UUID) -> None:
    """Strike out a worker that ends."""
    await connection.execute(_LEAVE, {"worker": worker})


async def abandoned(
    connection: AsyncConnection, worker: UUID | None = None
) -> list[tuple[Request, UUID]]:
    """Requests in the hands of workers that are no more, or of this one; locked, each with it."""
    rows = await connection.execute(_ABANDONED, {"worker": worker})
    return [(request_of(row), row.worker) for row in rows]


async def release(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Let any worker take up requests again, as they stand."""
    if ids:
        await connection.execute(_RELEASE, {"ids": list(ids)})


async def disown(connection: AsyncConnection, worker: UUID, request_id: UUID, nobody: UUID) -> None:
    """Hand a request to a worker that does not exist, so that it counts as abandoned."""
    await connection.execute(
        text(
            "UPDATE signing_request SET worker = :nobody "
            "WHERE request_id = :id AND worker = :worker"
        ),
        {"nobody": nobody, "id": request_id, "worker": worker},
    )
