"""The registry of clients."""

from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.clients import Client, Limits

_COLUMNS = """client_id, secret_hash, second_hash, scopes, agencies,
              active AND switched_off_at IS NULL AS active, procedures, keys, certificates,
              issuer, subject, sandbox, per_second, burst, per_day, void_before, changed_at"""
_EDITION = text("SELECT number FROM registry_edition")
_EVERYONE = text(f"SELECT {_COLUMNS} FROM client")  # noqa: S608 - constants
_CLIENT = text(f"SELECT {_COLUMNS} FROM client WHERE client_id = :id")  # noqa: S608 - constants
_SEED = text("SELECT seed_hash FROM client WHERE client_id = :id")
_REGISTER = text(
    """
    INSERT INTO client (client_id, secret_hash, second_hash, seed_hash, scopes, agencies, active,
                        procedures, keys, certificates, issuer, subject, sandbox, per_second,
                        burst, per_day)
    VALUES (:id, :secret_hash, :second_hash, :seed_hash, CAST(:scopes AS text[]),
            CAST(:agencies AS text[]), :active, CAST(:procedures AS text[]),
            CAST(:keys AS jsonb), CAST(:certificates AS text[]), :issuer, :subject, :sandbox,
            :per_second, :burst, :per_day)
    ON CONFLICT (client_id) DO UPDATE SET secret_hash = excluded.secret_hash,
        second_hash = excluded.second_hash, seed_hash = excluded.seed_hash,
        scopes = excluded.scopes, agencies = excluded.agencies, active = excluded.active,
        procedures = excluded.procedures, keys = excluded.keys,
        certificates = excluded.certificates, issuer = excluded.issuer,
        subject = excluded.subject, sandbox = excluded.sandbox,
        per_second = excluded.per_second, burst = excluded.burst, per_day = excluded.per_day
    """
)
_LOCK = text("SELECT 1 FROM client WHERE client_id = :id FOR UPDATE")
_SECRETS = text(
    """
    UPDATE client SET secret_hash = :first, second_hash = :second,
        second_at = CASE WHEN :second = '' THEN NULL ELSE clock_timestamp() END
    WHERE client_id = :id
    """
)
_SWITCH = text(
    """
    UPDATE client SET switched_off_at = CASE WHEN :on THEN NULL ELSE clock_timestamp() END
    WHERE client_id = :id
    """
)
_VOID = text("UPDATE client SET void_before = clock_timestamp() WHERE client_id = :id")


async def edition(connection: AsyncConnection) -> int:
    """A number that grows with every change of clients and every revoked token."""
    return int((await connection.execute(_EDITION)).scalar_one())


async def everyone(connection: AsyncConnection) -> list[Client]:
    """All clients."""
    return [_client(row) for row in await connection.execute(_EVERYONE)]


async def find(connection: AsyncConnection, client_id: str) -> Client | None:
    """A registered client."""
    row = (await connection.execute(_CLIENT, {"id": client_id})).first()
    return None if row is None else _client(row)


async def locked(connection: AsyncConnection, client_id: str) -> Client | None:
    """A registered client that nobody else changes until the transaction ends."""
    if (await connection.execute(_LOCK, {"id": client_id})).first() is None:
        return None
    return await find(connection, client_id)


async def seed_hash(connection: AsyncConnection, client_id: str) -> str | None:
    """The hash of the secret that the settings gave last."""
    found: str | None = (await connection.execute(_SEED, {"id": client_id})).scalar()
    return found


async def register(connection: AsyncConnection, known: Client, seeded: str | None = None) -> None:
    """Add a client, or bring it up to date; what made its tokens void stays, and so does it
    where an operator has switched it off.

    Args:
        seeded: hash of the secret in the settings; that of ``known`` unless given.
    """
    issuer, subject = known.external or (None, None)
    await connection.execute(
        _REGISTER,
        {
            "id": known.client_id,
            "secret_hash": known.secret_hash,
            "second_hash": known.second_hash,
            "seed_hash": seeded or known.secret_hash,
            "scopes": list(known.scopes),
            "agencies": list(known.agencies),
            "active": known.active,
            "procedures": list(known.procedures),
            "keys": orjson.dumps(known.keys).decode(),
            "certificates": list(known.certificates),
            "issuer": issuer,
            "subject": subject,
            "sandbox": known.sandbox,
            "per_second": known.limits.per_second,
            "burst": known.limits.burst,
            "per_day": known.limits.per_day,
        },
    )


async def keep_secrets(
    connection: AsyncConnection, client_id: str, first: str, second: str
) -> None:
    """The hashes of a client's secrets from now on."""
    values = {"id": client_id, "first": first, "second": second}
    await connection.execute(_SECRETS, values)


async def switch(connection: AsyncConnection, client_id: str, *, on: bool) -> None:
    """Switch a client off, or no longer."""
    await connection.execute(_SWITCH, {"id": client_id, "on": on})


async def void(connection: AsyncConnection, client_id: str) -> None:
    """Every token that the client has is void."""
    await connection.execute(_VOID, {"id": client_id})


def _client(row: Row[Any]) -> Client:
    keys = orjson.loads(row.keys) if isinstance(row.keys, str) else row.keys
    return Client(
        client_id=row.client_id,
        secret_hash=row.secret_hash,
        scopes=tuple(row.scopes),
        agencies=tuple(row.agencies),
        active=row.active,
        procedures=tuple(row.procedures),
        keys=tuple(keys),
        certificates=tuple(row.certificates),
        external=(row.issuer, row.subject) if row.issuer else None,
        sandbox=row.sandbox,
        limits=Limits(row.per_second, row.burst, row.per_day),
        void_before=row.void_before,
        second_hash=row.second_hash,
        changed_at=row.changed_at,
    )
