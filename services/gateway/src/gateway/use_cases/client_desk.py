"""What operators do to clients: a second secret, the end of one, off and on, tokens made void.

Every change is told to the log, with who made it. It takes effect everywhere within 30 seconds.
"""

import asyncio
import getpass
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database
from gateway.domain.clients import Client
from gateway.store import registry, revoked
from gateway.use_cases.credentials import hashed_like

log = structlog.get_logger()

Which = Literal["older", "newer"]
_SECRET_BYTES = 32
_LONGEST_LIFE = timedelta(hours=24, minutes=5)


class ClientRefused(Exception):
    """What was asked for cannot be done; the message says why."""


async def listed(database: Database) -> list[Client]:
    """All clients by their ids."""
    async with database.reading() as connection:
        return sorted(await registry.everyone(connection), key=lambda client: client.client_id)


def told(client: Client) -> str:
    """A client's line in the list."""
    state = "on" if client.active else "off"
    ways = f"secrets={len(client.secret_hashes)} keys={len(client.keys)}"
    others = f"certificates={len(client.certificates)}"
    external = f"external={'yes' if client.external else 'no'}"
    return f"{client.client_id} {state} {ways} {others} {external}"


async def add_secret(database: Database, client_id: str) -> str:
    """Give a client a further secret; the one it has stays good until it is ended.

    Returns:
        The secret: told this once, since only its hash is kept.

    Raises:
        ClientRefused: there is no such client, or it has two already.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    async with _changing(database, client_id, "secret added") as (connection, client):
        if client.second_hash:
            raise ClientRefused(f"{client_id} has two secrets: end one of them first")
        hashed = await asyncio.to_thread(hashed_like, client.secret_hash, secret)
        first, second = (client.secret_hash, hashed) if client.secret_hash else (hashed, "")
        await registry.keep_secrets(connection, client_id, first, second)
    return secret


async def end_secret(database: Database, client_id: str, which: Which) -> None:
    """End the older or the newer secret of a client.

    Raises:
        ClientRefused: there is no such client or secret, or it would have no other way in.
    """
    async with _changing(database, client_id, f"{which} secret ended") as (connection, client):
        if client.second_hash:
            kept = client.second_hash if which == "older" else client.secret_hash
        elif not client.secret_hash:
            raise ClientRefused(f"{client_id} has no secret")
        elif client.keys or client.certificates or client.external:
            kept = ""
        else:
            raise ClientRefused(
                f"{client_id} has no other way in: add a secret first, or disable the client"
            )
        await registry.keep_secrets(connection, client_id, kept, "")


async def disable(database: Database, client_id: str) -> None:
    """Switch a client off: it gets no tokens, and those it has are void.

    Raises:
        ClientRefused: there is no such client.
    """
    async with _changing(database, client_id, "disabled") as (connection, _):
        await registry.switch(connection, client_id, on=False)
        await registry.void(connection, client_id)


async def enable(database: Database, client_id: str) -> None:
    """Undo ``disable``; tokens from before stay void.

    Raises:
        ClientRefused: there is no such client.
    """
    async with _changing(database, client_id, "enabled") as (connection, _):
        await registry.switch(connection, client_id, on=True)


async def revoke(database: Database, client_id: str, jti: str | None = None) -> None:
    """Make a client's tokens void: all that it has now, or the one of this id.

    Raises:
        ClientRefused: there is no such client.
    """
    done = "all tokens revoked" if jti is None else "token revoked"
    async with _changing(database, client_id, done, jti=jti) as (connection, _):
        if jti is None:
            await registry.void(connection, client_id)
        else:
            until = datetime.now(UTC) + _LONGEST_LIFE
            await revoked.revoke(connection, client_id, jti, until)


@asynccontextmanager
async def _changing(
    database: Database, client_id: str, done: str, **details: str | None
) -> AsyncIterator[tuple[AsyncConnection, Client]]:
    """A transaction that nobody else changes the client in; told to the log once committed."""
    async with database.transaction() as connection:
        client = await registry.locked(connection, client_id)
        if client is None:
            raise ClientRefused(f"there is no client {client_id}")
        yield connection, client
    told = {name: value for name, value in details.items() if value is not None}
    log.warning("client changed", client_id=client_id, change=done, operator=_operator(), **told)


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
