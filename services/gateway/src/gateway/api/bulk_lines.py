"""Lines of a bulk request: told apart as they come, and read one by one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import orjson
from pydantic import BaseModel, StringConstraints, TypeAdapter

from common.contracts.codes import DossierCode
from gateway.api.bodies import SUBMIT, Submit
from gateway.api.fields import STRICT
from gateway.api.preferences import CONDITION, LONGEST_CONDITION
from gateway.api.reading import parsed
from gateway.api.steps import AnyStep
from gateway.errors import BulkTooLong, LineTooLong, UploadTooSlow

MOST_LINES = 10_000
"""Lines of one bulk request."""
LONGEST_LINE = 256 * 1024
"""Bytes of a line."""
LARGEST_BULK = 256 * 1024 * 1024
"""Bytes of a bulk request."""
BATCH = 200
"""Lines that are dealt with together."""

_BATCH_BYTES = 1024 * 1024
_LINGER_SECONDS = 0.2
_IDLE_SECONDS = 20.0


class StepLine(BaseModel):
    """A line that takes a step of a dossier."""

    model_config = STRICT

    code: DossierCode
    step: AnyStep
    if_match: (
        Annotated[str, StringConstraints(max_length=LONGEST_CONDITION, pattern=CONDITION)] | None
    ) = None
    """The dossier's ``ETag`` that the step depends on."""


_STEP_LINE: TypeAdapter[StepLine] = TypeAdapter(StepLine)


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it came.

    Attributes:
        number: from 1.
        content: without its end; None where it is too long.
    """

    number: int
    content: bytes | None = field(repr=False)

    def read(self) -> Submit | StepLine:
        """What it says.

        Raises:
            LineTooLong: it is.
            MalformedJson, Invalid: see ``gateway.api.reading.parsed``.
        """
        if self.content is None:
            raise LineTooLong(
                f"Mỗi dòng dài nhất {LONGEST_LINE} byte",
                f"A line has {LONGEST_LINE} bytes at the most",
            )
        if self._takes_a_step(self.content):
            return parsed(self.content, _STEP_LINE)
        return parsed(self.content, SUBMIT)

    def _takes_a_step(self, content: bytes) -> bool:
        if b'"step"' not in content:
            return False
        try:
            said = orjson.loads(content)
        except orjson.JSONDecodeError:  # told by whoever reads it
            return False
        return isinstance(said, dict) and "step" in said


class Splitter:
    """Cuts what comes into lines; of a line that is too long nothing is kept.

    Args:
        first: number of the first line.
    """

    def __init__(self, first: int) -> None:
        self._number = first
        self._held = bytearray()
        self._too_long = False

    def lines(self, part: bytes) -> Iterator[Line]:
        """The lines that end in this part.

        Raises:
            BulkTooLong: there are more than may be.
        """
        *ended, begun = part.split(b"\n")
        for piece in ended:
            self._hold(piece)
            yield self._line()
        self._hold(begun)

    def rest(self) -> Iterator[Line]:
        """The last line, where it has no end."""
        if self._held or self._too_long:
            yield self._line()

    def _hold(self, piece: bytes) -> None:
        if self._too_long or len(self._held) + len(piece) > LONGEST_LINE:
            self._too_long = True
            self._held.clear()
        else:
            self._held += piece

    def _line(self) -> Line:
        if self._number > MOST_LINES:
            raise BulkTooLong(
                f"Mỗi lô có nhiều nhất {MOST_LINES} dòng",
                f"A bulk request has {MOST_LINES} lines at the most",
            )
        content = None if self._too_long else bytes(self._held).removesuffix(b"\r")
        line = Line(self._number, content)
        self._number += 1
        self._too_long = False
        self._held.clear()
        return line


async def batches(parts: AsyncIterator[bytes], first: int) -> AsyncGenerator[list[Line], None]:
    """Lines by the batch, as they come: nobody who sends slowly waits for a full one.

    What broke off was yielded as far as it had come; a line without its end was not.

    Raises:
        BulkTooLong: see ``Splitter.lines``.
        UploadTooSlow: nothing came for a while.
        Exception: what ``parts`` raised.
    """
    coming, splitter = _Coming(parts), Splitter(first)
    batch: list[Line] = []
    size, more = 0, True
    try:
        while more:
            try:
                part = await coming.within(_LINGER_SECONDS if batch else _IDLE_SECONDS)
            except TimeoutError:
                if not batch:
                    raise _too_slow() from None
                yield batch
                batch, size = [], 0
                continue
            more = part is not None
            for line in splitter.rest() if part is None else splitter.lines(part):
                batch.append(line)
                size += len(line.content or b"")
                if len(batch) >= BATCH or size >= _BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
    except Exception:
        if batch:
            yield batch
        raise
    finally:
        coming.cancel()
    if batch:
        yield batch


def _too_slow() -> UploadTooSlow:
    return UploadTooSlow(
        f"Không có dữ liệu trong {_IDLE_SECONDS:.0f} giây",
        f"Nothing came within {_IDLE_SECONDS:.0f} seconds",
    )


class _Coming:
    """The parts of a body, each awaited no longer than one cares to."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self._next: asyncio.Future[bytes | None] | None = None

    async def within(self, seconds: float) -> bytes | None:
        """The next part; None at the end.

        Raises:
            TimeoutError: it has not come yet.
            Exception: what reading raised.
        """
        coming = self._next = self._next or asyncio.ensure_future(anext(self._parts, None))
        await asyncio.wait({coming}, timeout=seconds)
        if not coming.done():
            raise TimeoutError
        self._next = None
        return coming.result()

    def cancel(self) -> None:
        """Nobody waits any more."""
        if self._next is not None:
            self._next.cancel()
