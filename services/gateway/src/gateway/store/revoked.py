"""Tokens that are void, and assertions that were used."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LIVE = text("SELECT jti FROM revoked_token WHERE expires_at > clock_timestamp()")
_LIVE_OF = text(
    "SELECT count(*) FROM revoked_token WHERE client_id = :id AND expires_at > clock_timestamp()"
)
_REVOKE = text(
    """
    INSERT INTO revoked_token (jti, client_id, expires_at) VALUES (:jti, :id, :expires_at)
    ON CONFLICT (jti) DO NOTHING
    """
)
_USE = text(
    """
    INSERT INTO used_assertion (client_id, jti, expires_at) VALUES (:id, :jti, :expires_at)
    ON CONFLICT (client_id, jti) DO NOTHING RETURNING 1
    """
)
_OVER = tuple(
    text(f"DELETE FROM {table} WHERE expires_at < clock_timestamp() - interval '5 minutes'")  # noqa: S608 - constants
    for table in ("used_assertion", "revoked_token")
)


async def live(connection: AsyncConnection) -> frozenset[str]:
    """The ids of tokens that are revoked and have not expired."""
    return frozenset(row.jti for row in await connection.execute(_LIVE))


async def live_of(connection: AsyncConnection, client_id: str) -> int:
    """How many of them were a client's."""
    return int((await connection.execute(_LIVE_OF, {"id": client_id})).scalar_one())


async def revoke(
    connection: AsyncConnection, client_id: str, jti: str, expires_at: datetime
) -> None:
    """Put a token down as revoked."""
    await connection.execute(_REVOKE, {"id": client_id, "jti": jti, "expires_at": expires_at})


async def use(connection: AsyncConnection, client_id: str, jti: str, expires_at: datetime) -> bool:
    """Put an assertion down as used; whether it had not been used before."""
    values = {"id": client_id, "jti": jti, "expires_at": expires_at}
    return (await connection.execute(_USE, values)).first() is not None


async def forget(connection: AsyncConnection) -> None:
    """Delete what has expired anyway."""
    for statement in _OVER:
        await connection.execute(statement)
