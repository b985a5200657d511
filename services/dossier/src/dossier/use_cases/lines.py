"""The lines of a file that comes in parts."""

import csv
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

LONGEST = 256 * 1024
"""Bytes of a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, or a row of a table that goes over several.

    Attributes:
        number: where it begins, from 1.
        last: where it ends.
        content: None where it is too long.
    """

    number: int
    last: int
    content: bytes | None


async def lines_of(parts: AsyncIterable[bytes]) -> AsyncIterator[Line]:
    """Lines without their ends; a longer one than may be is passed over as it comes."""
    number, held, too_long = 1, bytearray(), False
    async for part in parts:
        *ended, begun = part.split(b"\n")
        for piece in ended:
            fits = not too_long and len(held) + len(piece) <= LONGEST
            content = bytes(held + piece).removesuffix(b"\r") if fits else None
            yield Line(number, number, content)
            number, too_long = number + 1, False
            held.clear()
        if too_long or len(held) + len(begun) > LONGEST:
            too_long = True
            held.clear()
        else:
            held += begun
    if held or too_long:
        yield Line(number, number, None if too_long else bytes(held).removesuffix(b"\r"))


async def rows_of(lines: AsyncIterable[Line]) -> AsyncIterator[Line]:
    """Rows of a CSV file (RFC 4180): a quoted cell may hold line ends."""
    held: list[bytes] = []
    number = size = quotes = 0
    last = 0
    async for line in lines:
        last = line.last
        if not held:
            number, size, quotes = line.number, 0, 0
        if line.content is None:
            yield Line(number, line.last, None)
            held.clear()
            continue
        held.append(line.content)
        size += len(line.content)
        quotes += line.content.count(b'"')
        if size > LONGEST:
            yield Line(number, line.last, None)
            held.clear()
        elif quotes % 2 == 0:
            yield Line(number, line.last, b"\n".join(held))
            held.clear()
    if held:
        yield Line(number, last, b"\n".join(held))


def cells_of(row: bytes, delimiter: str) -> list[str]:
    """The cells of a row.

    Raises:
        ValueError: it is not UTF-8, or a quote is not closed.
    """
    try:
        rows = list(csv.reader([row.decode()], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError("not a row of a CSV file") from error
    if len(rows) != 1:
        raise ValueError("not one row")
    return rows[0]
