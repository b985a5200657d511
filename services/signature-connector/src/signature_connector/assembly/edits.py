"""How a step of assembly changes a document: one stretch of bytes is written into it."""

from dataclasses import dataclass
from mmap import mmap

Content = bytes | mmap
"""A document; a large one is a file seen as memory, so that it is there only once."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes to be written into a document, which may be large and need not be copied for it.

    Attributes:
        at: offset.
        written: what stands there afterwards, over what stood there before or behind the end.
        ends: the document ends behind it, whatever followed before.
    """

    at: int
    written: bytes
    ends: bool = False


def whole(document: bytes) -> Edit:
    """A new document in the place of the old one."""
    return Edit(0, document, ends=True)


def applied(content: bytes, edit: Edit) -> bytes:
    """The document after an edit."""
    end = edit.at + len(edit.written)
    return content[: edit.at] + edit.written + (b"" if edit.ends else content[end:])
