"""Which client brought which file."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEEP = text(
    """
    INSERT INTO uploaded_file (client_id, sha256, size, media_type)
    VALUES (:client, :sha256, :size, :media_type)
    ON CONFLICT DO NOTHING
    """
)
_OWN = text(
    """
    SELECT sha256, media_type FROM uploaded_file
    WHERE client_id = :client AND sha256 = ANY(CAST(:digests AS text[]))
    """
)
_MEDIA_TYPE = text("SELECT media_type FROM uploaded_file WHERE sha256 = :sha256 LIMIT 1")


async def keep(
    connection: AsyncConnection, client_id: str, sha256: str, size: int, media_type: str
) -> None:
    """Remember that a client has uploaded a file."""
    given = {"client": client_id, "sha256": sha256, "size": size, "media_type": media_type}
    await connection.execute(_KEEP, given)


async def own(
    connection: AsyncConnection, client_id: str, digests: Sequence[str]
) -> dict[str, str]:
    """Of these files those that the client has uploaded, each with its media type."""
    found = await connection.execute(_OWN, {"client": client_id, "digests": list(digests)})
    return {row.sha256: row.media_type for row in found}


async def media_type(connection: AsyncConnection, sha256: str) -> str | None:
    """The media type of a file, whoever has uploaded it."""
    found = await connection.execute(_MEDIA_TYPE, {"sha256": sha256})
    return found.scalar_one_or_none()
