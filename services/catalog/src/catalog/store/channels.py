"""Tables of channels and statements; every change is kept with who made it."""

from collections.abc import Sequence

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.domain.channels import (
    Change,
    Channel,
    GivenStatement,
    RegisteredChannel,
    Statement,
)

# Held to the end of the transaction: one change of an agency's registrations at a time, so that
# their number is counted right.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('registration ' || :agency, 0))")
_CHANNELS = text(
    """
    SELECT agency, id, kind, host, name, registered_by, registered_at FROM channel
    WHERE agency = ANY(CAST(:agencies AS text[])) ORDER BY agency, id
    """
)
_PUT = text(
    """
    INSERT INTO channel AS c (agency, id, kind, host, name, registered_by)
    VALUES (:agency, :id, :kind, :host, :name, :client)
    ON CONFLICT (agency, id) DO UPDATE SET kind = excluded.kind, host = excluded.host,
        name = excluded.name, registered_by = excluded.registered_by, registered_at = now(),
        next_check_at = CASE c.host WHEN excluded.host THEN c.next_check_at ELSE now() END
    RETURNING registered_at
    """
)
_REMOVE = text("DELETE FROM channel WHERE agency = :agency AND id = :id")
_STATEMENTS = text(
    """
    SELECT agency, part, content, given_by, given_at FROM statement
    WHERE agency = ANY(CAST(:agencies AS text[])) ORDER BY agency, part
    """
)
_STATE = text(
    """
    INSERT INTO statement (agency, part, content, given_by)
    VALUES (:agency, :part, :content, :client)
    ON CONFLICT (agency, part) DO UPDATE SET content = excluded.content,
        given_by = excluded.given_by, given_at = now()
    RETURNING given_at
    """
)
_UNSTATE = text("DELETE FROM statement WHERE agency = :agency AND part = :part")
_NOTE = text(
    """
    INSERT INTO registration_change (agency, thing, key, action, client, content)
    VALUES (:agency, :thing, :key, :action, :client, :content)
    """
)
_CHANGES = text(
    """
    SELECT number, thing, key, action, client, at, content FROM registration_change
    WHERE agency = :agency AND number > :after ORDER BY number LIMIT :limit
    """
)


_AGENCY = text("SELECT active FROM agency WHERE code = :code")


async def agency_active(connection: AsyncConnection, code: str) -> bool | None:
    """Whether the catalogue's agency of this code still exists; None where it has none."""
    return (await connection.execute(_AGENCY, {"code": code})).scalar_one_or_none()


_NAMED = text(
    """
    SELECT code, active, body FROM agency WHERE code = ANY(CAST(:codes AS text[])) ORDER BY code
    """
)
_ACTIVE = text(
    """
    SELECT code, active, body FROM agency WHERE active AND code > :after
    ORDER BY code LIMIT :limit
    """
)

NamedAgency = tuple[str, bool, str]
"""Code, whether it still exists, and the entry as JSON."""


async def named_agencies(connection: AsyncConnection, codes: Sequence[str]) -> list[NamedAgency]:
    """The catalogue's agencies of these codes."""
    rows = await connection.execute(_NAMED, {"codes": list(codes)})
    return [(row.code, row.active, row.body) for row in rows]


async def active_agencies(connection: AsyncConnection, after: str, limit: int) -> list[NamedAgency]:
    """Agencies that exist, by code, beginning behind one."""
    rows = await connection.execute(_ACTIVE, {"after": after, "limit": limit})
    return [(row.code, row.active, row.body) for row in rows]


async def lock(connection: AsyncConnection, agency: str) -> None:
    """Make this transaction the only one that changes the agency's registrations."""
    await connection.execute(_LOCK, {"agency": agency})


async def channels(
    connection: AsyncConnection, agencies: Sequence[str]
) -> dict[str, list[RegisteredChannel]]:
    """The channels of agencies, each agency's by their ids."""
    found: dict[str, list[RegisteredChannel]] = {}
    for row in await connection.execute(_CHANNELS, {"agencies": list(agencies)}):
        found.setdefault(row.agency, []).append(
            RegisteredChannel.model_construct(
                id=row.id,
                kind=row.kind,
                host=row.host,
                name=row.name,
                registered_by=row.registered_by,
                registered_at=row.registered_at,
            )
        )
    return found


async def put(
    connection: AsyncConnection, agency: str, id_: str, channel: Channel, client: str
) -> RegisteredChannel:
    """Register a channel, or change it; its host is checked soon where it is a new one."""
    content = channel.model_dump()
    row = await connection.execute(_PUT, {"agency": agency, "id": id_, "client": client, **content})
    at = row.scalar_one()
    await _note(connection, agency, "channel", id_, "put", client, channel.model_dump_json())
    return RegisteredChannel(id=id_, registered_by=client, registered_at=at, **content)


async def remove(connection: AsyncConnection, agency: str, id_: str, client: str) -> bool:
    """Remove a channel; whether there was one."""
    removed = await connection.execute(_REMOVE, {"agency": agency, "id": id_})
    if removed.rowcount:
        await _note(connection, agency, "channel", id_, "delete", client, None)
    return bool(removed.rowcount)


async def statements(
    connection: AsyncConnection, agencies: Sequence[str]
) -> dict[str, list[GivenStatement]]:
    """The statements of agencies."""
    found: dict[str, list[GivenStatement]] = {}
    for row in await connection.execute(_STATEMENTS, {"agencies": list(agencies)}):
        found.setdefault(row.agency, []).append(
            GivenStatement(
                part=row.part,
                given_by=row.given_by,
                given_at=row.given_at,
                **orjson.loads(row.content),
            )
        )
    return found


async def state(
    connection: AsyncConnection, agency: str, part: str, statement: Statement, client: str
) -> GivenStatement:
    """Keep what an agency states about a part."""
    content = statement.model_dump_json()
    row = await connection.execute(
        _STATE, {"agency": agency, "part": part, "content": content, "client": client}
    )
    at = row.scalar_one()
    await _note(connection, agency, "statement", part, "put", client, content)
    return GivenStatement(part=part, given_by=client, given_at=at, **statement.model_dump())


async def unstate(connection: AsyncConnection, agency: str, part: str, client: str) -> bool:
    """Take a statement back; whether there was one."""
    removed = await connection.execute(_UNSTATE, {"agency": agency, "part": part})
    if removed.rowcount:
        await _note(connection, agency, "statement", part, "delete", client, None)
    return bool(removed.rowcount)


async def changes(connection: AsyncConnection, agency: str, after: int, limit: int) -> list[Change]:
    """What was done to an agency's registrations, oldest first."""
    rows = await connection.execute(_CHANGES, {"agency": agency, "after": after, "limit": limit})
    return [
        Change(
            number=row.number,
            thing=row.thing,
            key=row.key,
            action=row.action,
            client=row.client,
            at=row.at,
            content=orjson.loads(row.content) if row.content else None,
        )
        for row in rows
    ]


async def _note(
    connection: AsyncConnection,
    agency: str,
    thing: str,
    key: str,
    action: str,
    client: str,
    content: str | None,
) -> None:
    values = {"thing": thing, "key": key, "action": action, "client": client, "content": content}
    await connection.execute(_NOTE, {"agency": agency, **values})
