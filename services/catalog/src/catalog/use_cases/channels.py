"""Agencies register their channels, and state what no machine can check."""

from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.domain.channels import (
    MOST_CHANNELS,
    Channel,
    GivenStatement,
    RegisteredChannel,
    Statement,
)
from catalog.errors import (
    AgencyClosed,
    NoSuchAgency,
    NoSuchChannel,
    NoSuchStatement,
    TooManyChannels,
)
from catalog.store import channels as store


async def known_agency(connection: AsyncConnection, agency: str) -> bool:
    """Whether the agency still exists.

    Raises:
        NoSuchAgency: the catalogue has never had it.
    """
    active = await store.agency_active(connection, agency)
    if active is None:
        raise NoSuchAgency(
            "Danh mục không có cơ quan với mã này", "The catalogue has no agency of this code"
        )
    return active


async def register(
    connection: AsyncConnection, agency: str, id_: str, channel: Channel, client: str
) -> tuple[RegisteredChannel, bool]:
    """Register a channel; also whether it is a new one.

    What says nothing new changes nothing: neither the history nor the time of the next check.

    Raises:
        NoSuchAgency, AgencyClosed, TooManyChannels
    """
    await _open_for_changes(connection, agency)
    present = {one.id: one for one in await _channels(connection, agency)}
    known = present.get(id_)
    if known is None and len(present) >= MOST_CHANNELS:
        raise TooManyChannels(
            f"Một cơ quan đăng ký được nhiều nhất {MOST_CHANNELS} kênh",
            f"An agency can register {MOST_CHANNELS} channels",
        )
    if known is not None and Channel(**known.model_dump(include=_CONTENT)) == channel:
        return known, False
    return await store.put(connection, agency, id_, channel, client), known is None


async def unregister(connection: AsyncConnection, agency: str, id_: str, client: str) -> None:
    """Remove a channel; closed agencies can do so, too.

    Raises:
        NoSuchAgency, NoSuchChannel
    """
    await known_agency(connection, agency)
    await store.lock(connection, agency)
    if not await store.remove(connection, agency, id_, client):
        raise NoSuchChannel("Cơ quan không có kênh này", "The agency has no such channel")


async def channel(connection: AsyncConnection, agency: str, id_: str) -> RegisteredChannel:
    """One channel.

    Raises:
        NoSuchAgency, NoSuchChannel
    """
    await known_agency(connection, agency)
    for one in await _channels(connection, agency):
        if one.id == id_:
            return one
    raise NoSuchChannel("Cơ quan không có kênh này", "The agency has no such channel")


async def channels(connection: AsyncConnection, agency: str) -> list[RegisteredChannel]:
    """All channels of an agency.

    Raises:
        NoSuchAgency
    """
    await known_agency(connection, agency)
    return await _channels(connection, agency)


async def make_statement(
    connection: AsyncConnection, agency: str, part: str, statement: Statement, client: str
) -> GivenStatement:
    """Keep what an agency states about a part; the same again changes nothing.

    Raises:
        NoSuchAgency, AgencyClosed
    """
    await _open_for_changes(connection, agency)
    present = (await store.statements(connection, [agency])).get(agency, [])
    known = next((one for one in present if one.part == part), None)
    if (
        known
        and Statement(**known.model_dump(exclude={"part", "given_by", "given_at"})) == statement
    ):
        return known
    return await store.state(connection, agency, part, statement, client)


async def take_back(connection: AsyncConnection, agency: str, part: str, client: str) -> None:
    """Take a statement back.

    Raises:
        NoSuchAgency, NoSuchStatement
    """
    await known_agency(connection, agency)
    await store.lock(connection, agency)
    if not await store.unstate(connection, agency, part, client):
        raise NoSuchStatement(
            "Cơ quan chưa khai về nội dung này", "The agency has made no such statement"
        )


_CONTENT = set(Channel.model_fields)


async def _open_for_changes(connection: AsyncConnection, agency: str) -> None:
    if not await known_agency(connection, agency):
        raise AgencyClosed(
            "Cơ quan đã kết thúc; kênh thuộc về cơ quan kế thừa",
            "The agency is closed; its channels are its successor's",
        )
    await store.lock(connection, agency)


async def _channels(connection: AsyncConnection, agency: str) -> list[RegisteredChannel]:
    return (await store.channels(connection, [agency])).get(agency, [])
