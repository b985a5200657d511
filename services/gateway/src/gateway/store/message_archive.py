"""Months of the message log that are old: what they hold, that it is archived, that they fall."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LOCK_SECONDS = 2

_MONTHS = text(
    """
    SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = to_regclass('message_log') ORDER BY 1
    """
)
_BLOCKS = text(
    """
    SELECT number, last - first + 1 AS records, token IS NOT NULL AS anchored, archive
    FROM message_block
    WHERE partition = :partition AND last >= :first AND first <= :last ORDER BY number
    """
)
_ARCHIVED = text(
    """
    UPDATE message_block SET archive = :archive, archived_at = clock_timestamp()
    WHERE partition = :partition AND number BETWEEN :first AND :last AND archive IS NULL
    """
)
_DROPPED = text(
    """
    UPDATE message_block SET dropped_at = clock_timestamp()
    WHERE partition = :partition AND last >= :first AND first <= :last AND dropped_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class Span:
    """The records of one partition in a month."""

    partition: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class OldBlock:
    """A block that has records in a month.

    Attributes:
        anchored: it has its timestamp.
        archive: SHA-256 of the export it is in; None where it is in none.
    """

    number: int
    records: int
    anchored: bool
    archive: str | None


async def months_before(connection: AsyncConnection, moment: datetime) -> list[str]:
    """The months (names of their tables) that ended by then, the oldest first."""
    names = (await connection.execute(_MONTHS)).scalars()
    return [name for name in names if (end := _end(name)) is not None and end <= moment]


def _end(name: str) -> datetime | None:
    found = re.fullmatch(r"message_log_(\d{4})_(\d{2})", name)
    if found is None:
        return None
    year, month = int(found[1]), int(found[2])
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


async def spans(connection: AsyncConnection, month: str) -> list[Span]:
    """What a month holds, by partition."""
    found = await connection.execute(
        text(
            f"SELECT partition, min(number), max(number) FROM {month} GROUP BY 1 ORDER BY 1"  # noqa: S608 - a table of ours
        )
    )
    return [Span(*row) for row in found]


async def blocks(connection: AsyncConnection, span: Span) -> list[OldBlock]:
    """The blocks that these records are in; the first and the last may reach beyond them."""
    asked = {"partition": span.partition, "first": span.first, "last": span.last}
    return [OldBlock(*row) for row in await connection.execute(_BLOCKS, asked)]


async def archived(
    connection: AsyncConnection, partition: int, numbers: Sequence[int], archive: str
) -> None:
    """Note in which export blocks that follow each other are."""
    await connection.execute(
        _ARCHIVED,
        {
            "partition": partition,
            "first": numbers[0],
            "last": numbers[-1],
            "archive": archive,
        },
    )


async def drop(connection: AsyncConnection, month: str, held: Sequence[Span]) -> None:
    """Let a month fall, whose blocks are all archived: the database refuses others.

    Raises:
        DBAPIError: a block is not archived, or the table is in use.
    """
    for span in held:
        asked = {"partition": span.partition, "first": span.first, "last": span.last}
        await connection.execute(_DROPPED, asked)
    await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
    await connection.execute(text(f"DROP TABLE {month}"))
