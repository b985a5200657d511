"""Blocks of the message log: written once, stamped and archived later."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.proof import Header

_HEADER = "partition, number, first, last, root, link, previous, sealed_at, key_id"

_KNOW_KEY = text(
    """
    INSERT INTO message_key (key_id, jwk) VALUES (:key_id, CAST(:jwk AS jsonb))
    ON CONFLICT DO NOTHING
    """
)
_CLOSE = text(
    f"""
    WITH raised AS (
        UPDATE message_chain SET records = :last, link = :link, blocks = :number, header = :hash
        WHERE partition = :partition
    )
    INSERT INTO message_block ({_HEADER}, signature)
    VALUES (:partition, :number, :first, :last, :root, :link, :previous, :sealed_at, :key_id,
            :signature)
    """  # noqa: S608 - constants
)
_CLAIM = text(
    f"""
    UPDATE message_block SET asked_at = clock_timestamp()
    WHERE (partition, number) = (
        SELECT partition, number FROM message_block
        WHERE token IS NULL
          AND (asked_at IS NULL OR asked_at < clock_timestamp() - make_interval(secs => :lease))
        ORDER BY sealed_at, partition, number LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING {_HEADER}, signature
    """  # noqa: S608 - constants
)
_RELEASE = text(
    """
    UPDATE message_block SET asked_at = NULL
    WHERE partition = :partition AND number = :number AND token IS NULL
    """
)
_STAMP = text(
    """
    UPDATE message_block SET token = :token, tsa = :tsa, stamped_at = :at
    WHERE partition = :partition AND number = :number AND token IS NULL
    """
)
_STATE = text(
    """
    SELECT chain.partition, chain.records, chain.blocks,
           (SELECT count(*) FROM message_pending WHERE partition = chain.partition) AS pending,
           (SELECT min(at) FROM message_pending
            WHERE partition = chain.partition) AS oldest_pending,
           (SELECT sealed_at FROM message_block
            WHERE partition = chain.partition AND number = chain.blocks) AS sealed_at,
           (SELECT count(*) FROM message_block
            WHERE partition = chain.partition AND token IS NULL) AS unstamped,
           (SELECT min(sealed_at) FROM message_block
            WHERE partition = chain.partition AND token IS NULL) AS oldest_unstamped
    FROM message_chain AS chain ORDER BY chain.partition
    """
)


@dataclass(frozen=True, slots=True)
class Signed:
    """A block: its header, and the ES256 signature over it (r and s, 64 bytes)."""

    header: Header
    signature: bytes


@dataclass(frozen=True, slots=True)
class PartitionState:
    """How far the log of one partition is.

    Attributes:
        pending: records in no block yet; the time of the oldest one beside it.
        unstamped: blocks without a timestamp; when the oldest one was sealed beside it.
    """

    partition: int
    records: int
    blocks: int
    pending: int
    oldest_pending: datetime | None
    sealed_at: datetime | None
    unstamped: int
    oldest_unstamped: datetime | None


async def know_key(connection: AsyncConnection, key_id: str, jwk: dict[str, Any]) -> None:
    """Keep a public key for as long as there may be something that it has signed."""
    await connection.execute(_KNOW_KEY, {"key_id": key_id, "jwk": orjson.dumps(jwk).decode()})


async def close(connection: AsyncConnection, block: Signed) -> None:
    """Write a block and make it the end of its chain, whose row is held."""
    header = block.header
    await connection.execute(
        _CLOSE,
        {
            "partition": header.partition,
            "number": header.number,
            "first": header.first,
            "last": header.last,
            "root": header.root,
            "link": header.link,
            "previous": header.previous,
            "sealed_at": header.sealed_at,
            "key_id": header.key_id,
            "signature": block.signature,
            "hash": header.hash(),
        },
    )


async def claim(connection: AsyncConnection, lease: float) -> Signed | None:
    """The oldest block without a timestamp that nobody has asked one for in ``lease`` seconds."""
    row = (await connection.execute(_CLAIM, {"lease": lease})).first()
    return Signed(header_of(row), row.signature) if row else None


async def release(connection: AsyncConnection, header: Header) -> None:
    """Nobody asks for this block's timestamp now."""
    await connection.execute(_RELEASE, {"partition": header.partition, "number": header.number})


async def stamp(
    connection: AsyncConnection, header: Header, token: bytes, tsa: str, at: datetime
) -> bool:
    """Keep a block's timestamp, unless it has one: the first stays."""
    kept = await connection.execute(
        _STAMP,
        {
            "partition": header.partition,
            "number": header.number,
            "token": token,
            "tsa": tsa,
            "at": at,
        },
    )
    return kept.rowcount == 1


async def state(connection: AsyncConnection) -> list[PartitionState]:
    """How far every partition is."""
    return [PartitionState(*row) for row in await connection.execute(_STATE)]


def header_of(row: Row[Any]) -> Header:
    """A header from its columns."""
    return Header(
        row.partition,
        row.number,
        row.first,
        row.last,
        row.root,
        row.link,
        row.previous,
        row.sealed_at,
        row.key_id,
    )
