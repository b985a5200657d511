"""The rows of completed requests that are to be augmented."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.evidence import Record
from signature_connector.domain.requests import Request
from signature_connector.store import requests
from signature_connector.store.requests import COLUMNS

_CLAIM = text(
    f"""
    UPDATE signing_request SET augment_at = now() + make_interval(secs => :lease)
    WHERE request_id = ANY(ARRAY(
        SELECT request_id FROM signing_request
        WHERE augment_at <= now() ORDER BY augment_at LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING {COLUMNS}
    """  # noqa: S608 - names from this module
)
_CHANGE = text(
    """
    UPDATE signing_request SET result_file = :result_file, level = :level,
        augment_at = :augment_at, sealed_certificate = :sealed_certificate, updated_at = now()
    WHERE request_id = :request_id
    """
)


async def claim(connection: AsyncConnection, most: int, lease: float) -> list[Request]:
    """Take up requests that are due; no two workers get the same.

    Args:
        lease: seconds after which another takes one up that was not written.
    """
    rows = await connection.execute(_CLAIM, {"most": most, "lease": lease})
    return [requests.request_of(row) for row in rows]


async def locked(connection: AsyncConnection, request_id: UUID) -> Request | None:
    """The request as it stands, locked."""
    return (await requests.find(connection, [request_id], lock=True)).get(request_id)


async def write(connection: AsyncConnection, request: Request, record: Record | None) -> None:
    """Write what became of a locked request, with its evidence."""
    names = ("request_id", "result_file", "level", "augment_at", "sealed_certificate")
    await connection.execute(_CHANGE, {name: getattr(request, name) for name in names})
    if record is not None:
        await requests.add_late(connection, request, record)
