"""What assembly does in the isolated process: each function changes the document in a file.

Answers are values, also ``Unfit``: a traceback of a parser goes nowhere.
"""

from collections.abc import Callable
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, TypeVar

from signature_connector.assembly import augmentation, cades, jades, pades, xades
from signature_connector.assembly.edits import Edit
from signature_connector.domain.assembly import Format, Prepared, Unfit, ValidationData, Wish

T = TypeVar("T")
_LARGE = 4 * 1024 * 1024  # bytes: below, reading from memory of one's own is faster


def prepare(paper: Path, wish: Wish) -> Prepared | Unfit:
    """See ``Assembler.prepare``."""
    return _answered(paper, wish.format, lambda content: _of(_PREPARE, wish.format)(content, wish))


def finish(paper: Path, prepared: Prepared, signature: bytes) -> Unfit | None:
    """See ``Assembler.finish``."""
    finished = _of(_FINISH, prepared.format)
    return _answered(
        paper, prepared.format, lambda content: (None, finished(content, prepared, signature))
    )


def imprint(paper: Path, kind: Format) -> bytes | Unfit:
    """See ``Assembler.imprint``."""
    return _answered(paper, kind, lambda content: (_of(_IMPRINT, kind)(content), None))


def timestamped(paper: Path, kind: Format, token: bytes) -> Unfit | None:
    """See ``Assembler.timestamped``."""
    return _answered(paper, kind, lambda content: (None, _of(_TIMESTAMPED, kind)(content, token)))


def long_term(paper: Path, kind: Format, data: ValidationData) -> Unfit | None:
    """See ``Assembler.long_term``."""
    return _answered(paper, kind, lambda content: (None, _of(_LONG_TERM, kind)(content, data)))


def archive_imprint(paper: Path, kind: Format) -> Prepared | Unfit:
    """See ``Assembler.archive_imprint``."""
    return _answered(paper, kind, _of(_ARCHIVE_IMPRINT, kind))


def archived(paper: Path, prepared: Prepared, token: bytes) -> Unfit | None:
    """See ``Assembler.archived``."""
    finished = _of(_ARCHIVED, prepared.format)
    return _answered(
        paper, prepared.format, lambda content: (None, finished(content, prepared, token))
    )


_PREPARE = {
    "pades": pades.prepare,
    "cades": cades.prepare,
    "xades": xades.prepare,
    "jades": jades.prepare,
}
_FINISH = {
    "pades": pades.finish,
    "cades": cades.finish,
    "xades": xades.finish,
    "jades": jades.finish,
}
_IMPRINT = {"pades": augmentation.imprint, "cades": cades.imprint}
_TIMESTAMPED = {"pades": augmentation.timestamped, "cades": cades.timestamped}
_LONG_TERM = {"pades": augmentation.long_term}
_ARCHIVE_IMPRINT = {"pades": augmentation.archive_imprint}
_ARCHIVED = {"pades": augmentation.archived}


def _of(ways: dict[Any, Any], kind: Format) -> Callable[..., Any]:
    def not_yet(*_: Any) -> Any:
        raise Unfit("level-not-supported", kind)

    way: Callable[..., Any] = ways.get(kind, not_yet)
    return way


def _content(paper: Path, kind: Format) -> Any:
    """The document; a large PDF, of which only parts are read, is not copied."""
    if kind != "pades" or paper.stat().st_size <= _LARGE:
        return paper.read_bytes()
    with paper.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _answered(paper: Path, kind: Format, way: Callable[[Any], tuple[T, Edit | None]]) -> T | Unfit:
    content = None
    try:
        content = _content(paper, kind)
        result, edit = way(content)
    except (Unfit, MemoryError) as error:
        if isinstance(error, MemoryError):
            raise
        return Unfit(error.code, error.detail)
    except Exception as error:  # a hostile document makes the readers raise nearly anything
        return Unfit("unreadable", type(error).__name__)
    finally:
        if isinstance(content, mmap):  # else the reader's circles hold it until they are swept up
            with suppress(BufferError):
                content.close()
    if edit is not None:
        with paper.open("r+b", buffering=0) as file:
            file.seek(edit.at)
            rest = memoryview(edit.written)
            while rest:
                rest = rest[file.write(rest) :]
            if edit.ends:
                file.truncate()
    return result
