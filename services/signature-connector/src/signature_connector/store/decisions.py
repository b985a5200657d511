"""What operators decided about requests that were held."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.requests import Request

_NOTE = text(
    """
    INSERT INTO desk_action (client_id, action, what, item, queue, agency, subject, sequence,
        event_id, cause, reason)
    VALUES (:client, :action, 'signing', :item, 'signing-requests', :agency, :subject, NULL,
        :request, :cause, :reason)
    """
)
_LAST = text(
    """
    SELECT action, client_id FROM desk_action
    WHERE what = 'signing' AND event_id = :request ORDER BY id DESC LIMIT 1
    """
)


async def note(
    connection: AsyncConnection, request: Request, action: str, client: str, reason: str
) -> None:
    """Write down who decided what about a held request, and why.

    Args:
        request: as it was held.
    """
    await connection.execute(
        _NOTE,
        {
            "client": client,
            "action": action,
            "item": request.evidence_count,
            "agency": request.agency,
            "subject": request.dossier_code,
            "request": request.request_id,
            "cause": request.outcome,
            "reason": reason,
        },
    )


async def last(connection: AsyncConnection, request_id: UUID) -> tuple[str, str] | None:
    """What was decided last about a request, and by whom."""
    row = (await connection.execute(_LAST, {"request": request_id})).one_or_none()
    return (row.action, row.client_id) if row is not None else None
