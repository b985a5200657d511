"""The registry of clients."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain import Client

_CLIENT = text(
    "SELECT client_id, secret_hash, scopes, agencies, active FROM client WHERE client_id = :id"
)
_REGISTER = text(
    """
    INSERT INTO client (client_id, secret_hash, scopes, agencies, active)
    VALUES (:id, :secret_hash, CAST(:scopes AS text[]), CAST(:agencies AS text[]), :active)
    ON CONFLICT (client_id) DO UPDATE SET secret_hash = excluded.secret_hash,
        scopes = excluded.scopes, agencies = excluded.agencies, active = excluded.active
    """
)


async def find(connection: AsyncConnection, client_id: str) -> Client | None:
    """A registered client."""
    row = (await connection.execute(_CLIENT, {"id": client_id})).first()
    if row is None:
        return None
    return Client(
        row.client_id, row.secret_hash, tuple(row.scopes), tuple(row.agencies), row.active
    )


async def register(connection: AsyncConnection, known: Client) -> None:
    """Add a client, or bring it up to date."""
    await connection.execute(
        _REGISTER,
        {
            "id": known.client_id,
            "secret_hash": known.secret_hash,
            "scopes": list(known.scopes),
            "agencies": list(known.agencies),
            "active": known.active,
        },
    )
