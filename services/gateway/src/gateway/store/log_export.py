"""The sealed message log, read for exports; nothing is held between two reads."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text

from common.database import Database
from common.identifiers import lowest_id_at
from gateway.domain.log_choice import Chain, Choice, NotInTheLog, TooManyChosen
from gateway.domain.log_export import Block, Chained
from gateway.store.message_blocks import header_of
from gateway.store.message_log import record_of

MOST_CHOSEN = 100_000
"""Single exchanges of one export: their numbers are held in memory."""

_BLOCK = """partition, number, first, last, root, link, previous, sealed_at, key_id, signature,
            token, dropped_at, archive"""
_RECORD = """number, link, id, at, client_id, agency, form, digest, size, status, answer_digest,
             subject"""

_BLOCKS = text(
    f"""
    SELECT {_BLOCK} FROM message_block
    WHERE partition = :partition AND number BETWEEN :first AND :last ORDER BY number
    """  # noqa: S608 - constants
)
_LINK = text("SELECT link FROM message_block WHERE partition = :partition AND number = :number")
_HOLDING = text(
    f"""
    SELECT DISTINCT ON (block.number) block.*
    FROM unnest(CAST(:numbers AS bigint[])) AS wanted (record)
    CROSS JOIN LATERAL (
        SELECT {_BLOCK} FROM message_block
        WHERE partition = :partition AND last >= record ORDER BY last LIMIT 1
    ) AS block
    WHERE block.first <= record ORDER BY block.number
    """  # noqa: S608 - constants
)
_RECORDS = text(
    f"""
    SELECT {_RECORD} FROM message_log
    WHERE partition = :partition AND number BETWEEN :first AND :last ORDER BY number
    """  # noqa: S608 - constants
)
_SOME = text(
    f"""
    SELECT {_RECORD} FROM message_log
    WHERE partition = :partition AND number = ANY(CAST(:numbers AS bigint[])) ORDER BY number
    """  # noqa: S608 - constants
)
_HASHES = text(
    """
    SELECT hash FROM message_log
    WHERE partition = :partition AND number BETWEEN :first AND :last ORDER BY number
    """
)
_KEYS = text("SELECT jwk FROM message_key WHERE key_id = ANY(CAST(:ids AS text[])) ORDER BY key_id")
# Where a moment falls between two blocks. Days that follow each other have one border between
# them, so their exports join, also where a clock was set back.
_BORDERS = text(
    """
    SELECT chain.partition, chain.blocks,
           (SELECT number FROM message_block
            WHERE partition = chain.partition AND sealed_at >= :since
            ORDER BY sealed_at, number LIMIT 1) AS first,
           (SELECT number FROM message_block
            WHERE partition = chain.partition AND sealed_at >= :until
            ORDER BY sealed_at, number LIMIT 1) AS beyond
    FROM message_chain AS chain ORDER BY chain.partition
    """
)
_RANGE = text(
    """
    SELECT min(number) AS first, max(number) AS last FROM message_block
    WHERE partition = :partition AND last >= :first AND first <= :last
    """
)
_PLACE = text("SELECT partition, number FROM message_log WHERE id = :id")
_CHOSEN = "SELECT partition, number FROM message_log WHERE {} ORDER BY 1, 2 LIMIT :most"
_CONDITIONS = {
    "subject": "subject = :subject",
    "submission": "(id = :submission OR subject = CAST(CAST(:submission AS uuid) AS text))",
    "dossier": """subject = ANY(array_append(ARRAY(
        SELECT CAST(id AS text) FROM message_log WHERE subject = :dossier), :dossier))""",
    "client_id": "client_id = :client_id",
    # Records fall into months by their ids, which begin with the moment.
    "since": "at >= :since AND id >= :lowest",
    "until": "at < :until AND id < :beyond",
}


class SealedLog:
    """The message log of the gateway's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def blocks(self, partition: int, first: int, last: int) -> Sequence[Block]:
        """The blocks with these numbers, in order.

        Raises:
            NotInTheLog: records of theirs are archived, and no longer here.
        """
        asked = {"partition": partition, "first": first, "last": last}
        return [_block(row) for row in await self._rows(_BLOCKS, asked)]

    async def link(self, partition: int, number: int) -> bytes:
        """The link of a block's last record, also where its records are not here any more.

        Raises:
            NotInTheLog: there is no such block.
        """
        for row in await self._rows(_LINK, {"partition": partition, "number": number}):
            return bytes(row.link)
        raise NotInTheLog(f"block {number} of partition {partition}")

    async def records(self, partition: int, first: int, last: int) -> Sequence[Chained]:
        """The records with these numbers, in order."""
        asked = {"partition": partition, "first": first, "last": last}
        return [_chained(row) for row in await self._rows(_RECORDS, asked)]

    async def chosen(self, choice: Choice) -> Sequence[tuple[int, int]]:
        """Partition and number of the chosen records, in order.

        Raises:
            TooManyChosen: more than ``MOST_CHOSEN``.
        """
        asked = {
            name: value for name in _CONDITIONS if (value := getattr(choice, name)) is not None
        }
        statement = _CHOSEN.format(" AND ".join(_CONDITIONS[name] for name in asked) or "true")
        if choice.since is not None:
            asked["lowest"] = lowest_id_at(choice.since)
        if choice.until is not None:
            asked["beyond"] = lowest_id_at(choice.until)
        rows = await self._rows(text(statement), {**asked, "most": MOST_CHOSEN + 1})
        if len(rows) > MOST_CHOSEN:
            raise TooManyChosen(f"more than {MOST_CHOSEN:,} exchanges: narrow it by time")
        return [(row.partition, row.number) for row in rows]

    async def holding(self, partition: int, numbers: Sequence[int]) -> Sequence[Block]:
        """The blocks that hold these records, each once, in order.

        Raises:
            NotInTheLog: their records are archived, and no longer here.
        """
        asked = {"partition": partition, "numbers": list(numbers)}
        return [_block(row) for row in await self._rows(_HOLDING, asked)]

    async def some(self, partition: int, numbers: Sequence[int]) -> Sequence[Chained]:
        """These records, in order."""
        asked = {"partition": partition, "numbers": list(numbers)}
        return [_chained(row) for row in await self._rows(_SOME, asked)]

    async def hashes(self, partition: int, first: int, last: int) -> Sequence[bytes]:
        """The records' hashes, in order, as they are in the table."""
        asked = {"partition": partition, "first": first, "last": last}
        return [row.hash for row in await self._rows(_HASHES, asked)]

    async def keys(self, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """The public keys (JWK) with these ids."""
        rows = await self._rows(_KEYS, {"ids": list(ids)})
        return [orjson.loads(row.jwk) if isinstance(row.jwk, str) else row.jwk for row in rows]

    async def between(self, since: datetime, until: datetime) -> list[Chain]:
        """The blocks of every partition that were sealed in this time; the end is not part."""
        rows = await self._rows(_BORDERS, {"since": since, "until": until})
        return [
            Chain(row.partition, row.first, last)
            for row in rows
            if row.first is not None
            and row.first <= (last := row.blocks if row.beyond is None else row.beyond - 1)
        ]

    async def around(self, partition: int, first: int, last: int) -> Chain:
        """The blocks that these records are in.

        Raises:
            NotInTheLog: there are none.
        """
        asked = {"partition": partition, "first": first, "last": last}
        (row,) = await self._rows(_RANGE, asked)
        if row.first is None:
            raise NotInTheLog(f"records {first} to {last} of partition {partition}")
        return Chain(partition, row.first, row.last)

    async def place(self, identifier: UUID) -> tuple[int, int]:
        """Partition and number of the record with this id.

        Raises:
            NotInTheLog: there is none, or it is not sealed yet.
        """
        rows = await self._rows(_PLACE, {"id": identifier})
        if not rows:
            raise NotInTheLog("no sealed record has this id")
        return rows[0].partition, rows[0].number

    async def _rows(self, statement: Any, asked: dict[str, Any]) -> Sequence[Row[Any]]:
        async with self._database.reading() as connection:
            return (await connection.execute(statement, asked)).all()


def _block(row: Row[Any]) -> Block:
    if row.dropped_at is not None:
        raise NotInTheLog(
            f"records of block {row.number} of partition {row.partition}: archived as {row.archive}"
        )
    return Block(header_of(row), row.signature, row.token)


def _chained(row: Row[Any]) -> Chained:
    return Chained(row.number, row.link, record_of(row))
