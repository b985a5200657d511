"""The registry of clients, and the files they uploaded."""

from collections.abc import Sequence

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
_KEEP_FILE = text(
    """
    INSERT INTO uploaded_file (client_id, sha256, size) VALUES (:client, :sha256, :size)
    ON CONFLICT DO NOTHING
    """
)
_FILES = text(
    """
    SELECT sha256 FROM uploaded_file
    WHERE client_id = :client AND sha256 = ANY(CAST(:digests AS text[]))
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


async def keep_file(connection: AsyncConnection, client_id: str, sha256: str, size: int) -> None:
    """Remember that a client has uploaded a file."""
    await connection.execute(_KEEP_FILE, {"client": client_id, "sha256": sha256, "size": size})


async def own_files(
    connection: AsyncConnection, client_id: str, digests: Sequence[str]
) -> set[str]:
    """Of these files those that the client has uploaded."""
    found = await connection.execute(_FILES, {"client": client_id, "digests": list(digests)})
    return set(found.scalars())
