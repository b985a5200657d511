"""The assembler that the service uses: every step in an isolated, bounded process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from signature_connector.domain.assembly import Format, Prepared, Unfit, ValidationData, Wish
from signature_connector.isolation import Cells, Unfinished

_NOTHING = b""


class IsolatedAssembler:
    """Implements ``domain.assembly.Assembler``.

    Args:
        processes: how many documents are worked on at the same time.
        seconds: how long one step may take.
        memory: address space of one process, in bytes.
        limit: size of the largest document, in bytes.
    """

    def __init__(self, *, processes: int, seconds: float, memory: int, limit: int) -> None:
        self._limit = limit
        self._cells = Cells(processes=processes, seconds=seconds, memory=memory)

    async def prepare(self, content: bytes, wish: Wish) -> Prepared:
        """Reserve the place and say what is to be signed."""
        prepared, document = await self._reworked(content, "prepare", wish)
        return _with(document, prepared)

    async def finish(self, prepared: Prepared, signature: bytes) -> bytes:
        """Verify the raw signature, then embed it."""
        light = replace(prepared, content=_NOTHING)
        _, document = await self._reworked(prepared.content, "finish", light, signature)
        return document

    async def imprint(self, content: bytes, kind: Format) -> bytes:
        """What a timestamp token for the last signature has to carry."""
        digest, _ = await self._reworked(content, "imprint", kind)
        return bytes(digest)

    async def timestamped(self, content: bytes, kind: Format, token: bytes) -> bytes:
        """The document at B-T."""
        _, document = await self._reworked(content, "timestamped", kind, token)
        return document

    async def long_term(self, content: bytes, kind: Format, data: ValidationData) -> bytes:
        """The document at B-LT."""
        _, document = await self._reworked(content, "long_term", kind, data)
        return document

    async def archive_imprint(self, content: bytes, kind: Format) -> Prepared:
        """Room for a timestamp over the whole document."""
        prepared, document = await self._reworked(content, "archive_imprint", kind)
        return _with(document, prepared)

    async def archived(self, prepared: Prepared, token: bytes) -> bytes:
        """The document at B-LTA."""
        light = replace(prepared, content=_NOTHING)
        _, document = await self._reworked(prepared.content, "archived", light, token)
        return document

    async def _reworked(self, content: bytes, step: str, *material: Any) -> tuple[Any, bytes]:
        if len(content) > self._limit:
            raise Unfit("too-large")
        try:
            result, document = await self._cells.rework(content, _take, step, *material)
        except Unfinished as error:
            raise Unfit("not-examinable", str(error)) from error
        if isinstance(result, Unfit):
            raise result
        return result, document

    async def close(self) -> None:
        """End every process and wait until it has."""
        await self._cells.close()


def _with(document: bytes, prepared: Prepared) -> Prepared:
    return replace(prepared, content=document)


# What follows runs in the isolated process: the service itself does not load the libraries.


def _take(paper: Path, step: str, *material: Any) -> Any:
    from signature_connector.assembly import work

    return getattr(work, step)(paper, *material)
