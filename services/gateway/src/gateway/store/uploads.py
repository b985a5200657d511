"""Files that arrive in parts: how far each is, and who appends to it now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ROW = """id, client_id, sha256, size, media_type, arrived, completed_at, expires_at,
          held_until > now() AS held"""
_ONE_CLIENT = text("SELECT pg_advisory_xact_lock(hashtextextended(:client, 11))")
_SAME = text(
    f"""
    SELECT {_ROW} FROM upload
    WHERE client_id = :client AND sha256 = :sha256 AND size = :size AND media_type = :media_type
      AND expires_at > now()
    ORDER BY id LIMIT 1
    """  # noqa: S608 - constants
)
_OPEN = text(
    """
    SELECT count(*) FROM upload
    WHERE client_id = :client AND completed_at IS NULL AND expires_at > now()
    """
)
_INSERT = text(
    f"""
    INSERT INTO upload (id, client_id, sha256, size, media_type, expires_at)
    VALUES (:id, :client, :sha256, :size, :media_type, now() + make_interval(secs => :seconds))
    RETURNING {_ROW}
    """  # noqa: S608 - constants
)
_OWN = text(
    f"SELECT {_ROW} FROM upload WHERE id = :id AND client_id = :client AND expires_at > now()"  # noqa: S608 - constants
)
_HOLD = text(
    f"""
    UPDATE upload SET holder = :holder, held_until = now() + make_interval(secs => :hold),
        expires_at = greatest(expires_at, now() + make_interval(secs => :seconds))
    WHERE id = :id AND client_id = :client AND arrived = :start AND completed_at IS NULL
      AND expires_at > now() AND (held_until IS NULL OR held_until < now())
    RETURNING {_ROW}
    """  # noqa: S608 - constants
)
_RENEW = text(
    """
    UPDATE upload SET held_until = now() + make_interval(secs => :hold)
    WHERE id = :id AND holder = :holder
    """
)
_RELEASE = text(
    "UPDATE upload SET holder = NULL, held_until = NULL WHERE id = :id AND holder = :holder"
)
# Only whoever holds it appends: a part of one who was taken for dead counts for nothing.
_APPEND = text(
    """
    WITH appended AS (
        UPDATE upload SET arrived = arrived + :size
        WHERE id = :id AND holder = :holder AND arrived = :start AND completed_at IS NULL
        RETURNING id
    )
    INSERT INTO upload_part (upload_id, start, size, name)
    SELECT id, :start, :size, :name FROM appended
    """
)
_PARTS = text("SELECT name FROM upload_part WHERE upload_id = :id ORDER BY start")
_COMPLETE = text("UPDATE upload SET completed_at = now() WHERE id = :id AND completed_at IS NULL")
_DROP_PARTS = text("DELETE FROM upload_part WHERE upload_id = :id")
_DELETE = text(
    """
    DELETE FROM upload WHERE id = :id AND client_id = :client
      AND (held_until IS NULL OR held_until < now() OR holder = :holder)
    """
)
_EXPIRED = text(
    """
    DELETE FROM upload WHERE id IN (
        SELECT id FROM upload
        WHERE expires_at < now() AND (held_until IS NULL OR held_until < now())
        ORDER BY expires_at LIMIT :most FOR UPDATE SKIP LOCKED)
    RETURNING id
    """
)
_KNOWN = text("SELECT id FROM upload WHERE id = ANY(CAST(:ids AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that arrives in parts.

    Attributes:
        size: bytes that were declared; ``arrived`` of them are here.
        held: whether a part is being taken in now.
    """

    id: UUID
    client_id: str
    sha256: str
    size: int
    media_type: str
    arrived: int
    completed_at: datetime | None
    expires_at: datetime
    held: bool = False

    @property
    def complete(self) -> bool:
        """Whether the file is whole, checked and kept."""
        return self.completed_at is not None


async def same(
    connection: AsyncConnection, client_id: str, sha256: str, size: int, media_type: str
) -> Upload | None:
    """The client's upload of this very file; others of its clients wait until the end of the
    transaction, so that none is begun twice or beyond a quota."""
    await connection.execute(_ONE_CLIENT, {"client": client_id})
    given = {"client": client_id, "sha256": sha256, "size": size, "media_type": media_type}
    row = (await connection.execute(_SAME, given)).first()
    return _upload(row) if row else None


async def open_ones(connection: AsyncConnection, client_id: str) -> int:
    """How many uploads of a client are not complete."""
    return int((await connection.execute(_OPEN, {"client": client_id})).scalar_one())


async def begin(
    connection: AsyncConnection,
    identifier: UUID,
    client_id: str,
    sha256: str,
    size: int,
    media_type: str,
    seconds: float,
) -> Upload:
    """Begin one that expires unless something arrives."""
    given = {
        "id": identifier,
        "client": client_id,
        "sha256": sha256,
        "size": size,
        "media_type": media_type,
        "seconds": seconds,
    }
    return _upload((await connection.execute(_INSERT, given)).one())


async def own(connection: AsyncConnection, identifier: UUID, client_id: str) -> Upload | None:
    """A client's upload."""
    row = (await connection.execute(_OWN, {"id": identifier, "client": client_id})).first()
    return _upload(row) if row else None


async def hold(
    connection: AsyncConnection,
    identifier: UUID,
    client_id: str,
    holder: UUID,
    *,
    start: int,
    hold: float,
    seconds: float,
) -> Upload | None:
    """Hold an upload for appending at its end; None where that is not possible now.

    Args:
        hold: seconds until the hold ends unless it is renewed.
        seconds: how long the upload lives from now.
    """
    given = {
        "id": identifier,
        "client": client_id,
        "holder": holder,
        "start": start,
        "hold": hold,
        "seconds": seconds,
    }
    row = (await connection.execute(_HOLD, given)).first()
    return _upload(row) if row else None


async def renew(connection: AsyncConnection, identifier: UUID, holder: UUID, hold: float) -> bool:
    """Hold it for longer; whether it was still held."""
    given = {"id": identifier, "holder": holder, "hold": hold}
    return (await connection.execute(_RENEW, given)).rowcount == 1


async def release(connection: AsyncConnection, identifier: UUID, holder: UUID) -> None:
    """Let go of it."""
    await connection.execute(_RELEASE, {"id": identifier, "holder": holder})


async def append(
    connection: AsyncConnection, identifier: UUID, holder: UUID, start: int, size: int, name: str
) -> bool:
    """Note a part that is kept under a name; whether it counts."""
    given = {"id": identifier, "holder": holder, "start": start, "size": size, "name": name}
    return (await connection.execute(_APPEND, given)).rowcount == 1


async def parts(connection: AsyncConnection, identifier: UUID) -> list[str]:
    """The names of the parts, in order."""
    return list((await connection.execute(_PARTS, {"id": identifier})).scalars())


async def complete(connection: AsyncConnection, identifier: UUID) -> None:
    """It is whole, and kept elsewhere."""
    await connection.execute(_COMPLETE, {"id": identifier})
    await connection.execute(_DROP_PARTS, {"id": identifier})


async def delete(
    connection: AsyncConnection, identifier: UUID, client_id: str, holder: UUID | None = None
) -> bool:
    """Forget one that nobody else holds; whether it was there."""
    given = {"id": identifier, "client": client_id, "holder": holder}
    return (await connection.execute(_DELETE, given)).rowcount == 1


async def expired(connection: AsyncConnection, most: int) -> list[UUID]:
    """Forget uploads whose time is over; which they were."""
    return list((await connection.execute(_EXPIRED, {"most": most})).scalars())


async def known(connection: AsyncConnection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of some ids that are uploads."""
    return set((await connection.execute(_KNOWN, {"ids": list(ids)})).scalars())


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        row.id,
        row.client_id,
        row.sha256,
        row.size,
        row.media_type,
        row.arrived,
        row.completed_at,
        row.expires_at,
        bool(row.held),
    )
