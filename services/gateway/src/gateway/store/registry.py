"""The registry of clients."""

from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.clients import Client, Limits

_COLUMNS = """client_id, secret_hash, scopes, agencies, active, procedures, keys, certificates,
              issuer, subject, sandbox, per_second, burst, per_day, void_before"""
_CLIENT = text(f"SELECT {_COLUMNS} FROM client WHERE client_id = :id")  # noqa: S608 - constants
_REGISTER = text(
    """
    INSERT INTO client (client_id, secret_hash, scopes, agencies, active, procedures, keys,
                        certificates, issuer, subject, sandbox, per_second, burst, per_day)
    VALUES (:id, :secret_hash, CAST(:scopes AS text[]), CAST(:agencies AS text[]), :active,
            CAST(:procedures AS text[]), CAST(:keys AS jsonb), CAST(:certificates AS text[]),
            :issuer, :subject, :sandbox, :per_second, :burst, :per_day)
    ON CONFLICT (client_id) DO UPDATE SET secret_hash = excluded.secret_hash,
        scopes = excluded.scopes, agencies = excluded.agencies, active = excluded.active,
        procedures = excluded.procedures, keys = excluded.keys,
        certificates = excluded.certificates, issuer = excluded.issuer,
        subject = excluded.subject, sandbox = excluded.sandbox,
        per_second = excluded.per_second, burst = excluded.burst, per_day = excluded.per_day
    """
)


async def find(connection: AsyncConnection, client_id: str) -> Client | None:
    """A registered client."""
    row = (await connection.execute(_CLIENT, {"id": client_id})).first()
    return None if row is None else _client(row)


async def register(connection: AsyncConnection, known: Client) -> None:
    """Add a client, or bring it up to date; what made its tokens void stays."""
    issuer, subject = known.external or (None, None)
    await connection.execute(
        _REGISTER,
        {
            "id": known.client_id,
            "secret_hash": known.secret_hash,
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
    )
