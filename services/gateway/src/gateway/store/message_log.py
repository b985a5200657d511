"""Records of exchanges: written unchained, then moved behind one another.

Statements take whole batches, as arrays. Who moves records of a partition holds the row of its
chain, so that numbers are given by one at a time, whatever the number of replicas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database, ensure_partitions
from gateway.domain.proof import Record

_MEMBERS = """id, at, client_id, agency, form, digest, size, status, answer_digest, subject"""

_WRITE = text(
    f"""
    INSERT INTO message_pending (partition, {_MEMBERS})
    SELECT partition, {_MEMBERS}
    FROM unnest(CAST(:partitions AS smallint[]), CAST(:ids AS uuid[]),
         CAST(:moments AS timestamptz[]), CAST(:clients AS text[]), CAST(:agencies AS text[]),
         CAST(:forms AS text[]), CAST(:digests AS bytea[]), CAST(:sizes AS bigint[]),
         CAST(:statuses AS smallint[]), CAST(:answers AS bytea[]), CAST(:subjects AS text[]))
         AS given (partition, {_MEMBERS})
    """  # noqa: S608 - constants
)
_CHAINS = text(
    """
    INSERT INTO message_chain (partition) SELECT generate_series(0, CAST(:count AS integer) - 1)
    ON CONFLICT DO NOTHING
    """
)
_PARTITIONS = text("SELECT partition FROM message_chain ORDER BY partition")
_HOLD = text(
    """
    SELECT partition, records, link, blocks, header FROM message_chain
    WHERE partition = :partition FOR UPDATE SKIP LOCKED
    """
)
_PENDING = text(
    f"""
    SELECT {_MEMBERS} FROM message_pending WHERE partition = :partition AND id > :after
    ORDER BY id LIMIT :limit
    """  # noqa: S608 - constants
)
_MOVE = text(
    f"""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:hashes AS bytea[]),
            CAST(:links AS bytea[])) WITH ORDINALITY AS given (id, hash, link, place)
    ), gone AS (
        DELETE FROM message_pending USING given
        WHERE message_pending.partition = :partition AND message_pending.id = given.id
        RETURNING message_pending.*, given.hash, given.link, given.place
    )
    INSERT INTO message_log (partition, number, {_MEMBERS}, hash, link)
    SELECT partition, CAST(:before AS bigint) + place, {_MEMBERS}, hash, link FROM gone
    ORDER BY place
    """  # noqa: S608 - constants
)
_FIND = text(
    f"""
    SELECT partition, {_MEMBERS} FROM message_pending
    WHERE partition IN (SELECT partition FROM message_chain) AND id = :id
    UNION ALL
    SELECT partition, {_MEMBERS} FROM message_log WHERE id = :id
    LIMIT 1
    """  # noqa: S608 - constants
)


@dataclass(frozen=True, slots=True)
class Chain:
    """The end of a partition's chain.

    Attributes:
        records: how many there are; the number of the last one.
        link: of the last one.
        blocks: how many there are.
        header: hash of the last one's header.
    """

    partition: int
    records: int
    link: bytes
    blocks: int
    header: bytes


@dataclass(frozen=True, slots=True)
class Placed:
    """A record and the partition that it is in."""

    partition: int
    record: Record


async def write(connection: AsyncConnection, records: Sequence[Placed]) -> None:
    """Write records of exchanges, with the transaction that answers them."""
    given = [(placed.partition, placed.record) for placed in records]
    await connection.execute(
        _WRITE,
        {
            "partitions": [partition for partition, _ in given],
            "ids": [record.id for _, record in given],
            "moments": [record.at for _, record in given],
            "clients": [record.client_id for _, record in given],
            "agencies": [record.agency for _, record in given],
            "forms": [record.form for _, record in given],
            "digests": [bytes.fromhex(record.digest) for _, record in given],
            "sizes": [record.size for _, record in given],
            "statuses": [record.status for _, record in given],
            "answers": [bytes.fromhex(record.answer_digest) for _, record in given],
            "subjects": [record.subject for _, record in given],
        },
    )


async def ensure_months(database: Database) -> None:
    """Create the log's partitions of this month and the next ones, where they are missing.

    Raises:
        DBAPIError: a lock was not to be had within two seconds: try again later.
    """
    moving = "SET LOCAL message_log.moving = 'yes'"
    await ensure_partitions(database, ("message_log",), key="id", first=moving)


async def begin_chains(connection: AsyncConnection, count: int) -> None:
    """Begin the chains of the partitions from 0 that have none."""
    await connection.execute(_CHAINS, {"count": count})


async def partitions(connection: AsyncConnection) -> list[int]:
    """All that have a chain, also those that nothing is written to any more."""
    return list((await connection.execute(_PARTITIONS)).scalars())


async def hold(connection: AsyncConnection, partition: int) -> Chain | None:
    """The end of a chain, held until the transaction ends; None while another one holds it."""
    row = (await connection.execute(_HOLD, {"partition": partition})).first()
    return Chain(*row) if row else None


async def pending(
    connection: AsyncConnection, partition: int, after: UUID, limit: int
) -> list[Record]:
    """Records that are in no block, as they came; those above ``after``."""
    asked = {"partition": partition, "after": after, "limit": limit}
    return [record_of(row) for row in await connection.execute(_PENDING, asked)]


async def move(
    connection: AsyncConnection,
    partition: int,
    before: int,
    ids: Sequence[UUID],
    hashes: Sequence[bytes],
    links: Sequence[bytes],
) -> int:
    """Move records into the log, numbered from ``before + 1``; how many were moved."""
    moved = await connection.execute(
        _MOVE,
        {
            "partition": partition,
            "before": before,
            "ids": list(ids),
            "hashes": list(hashes),
            "links": list(links),
        },
    )
    return moved.rowcount


async def find(connection: AsyncConnection, identifier: UUID) -> Placed | None:
    """A record by its id, sealed or not."""
    row = (await connection.execute(_FIND, {"id": identifier})).first()
    return Placed(row.partition, record_of(row)) if row else None


def record_of(row: Row[Any]) -> Record:
    """A record from its columns."""
    return Record(
        row.id,
        row.at,
        row.client_id,
        row.agency,
        row.form,
        row.digest.hex(),
        row.size,
        row.status,
        row.answer_digest.hex(),
        row.subject,
    )
