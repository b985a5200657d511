"""What a file is, by its content; what its sender says only has to agree.

Nothing is unpacked or parsed further than needed to tell: beginning and end of a file suffice,
also for office documents, whose list of members stands at the end.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

HEAD, TAIL = 4 * 1024, 256 * 1024
"""Bytes of a file's beginning and end that are looked at."""

_ZIP = b"PK\x03\x04"
_END_OF_ZIP = struct.Struct("<4s4H2LH")
_MEMBER = struct.Struct("<4s6H3L5H2L")
_LONGEST_COMMENT = 0xFFFF
_MOST_MEMBERS = 5000
_OPEN_DOCUMENT_TEXT = b"application/vnd.oasis.opendocument.text"
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # OID 1.2.840.113549.1.7.2
_XML_SIGNATURE = b"http://www.w3.org/2000/09/xmldsig#"


@dataclass(frozen=True, slots=True)
class Ends:
    """Beginning and end of a file; both hold all of it if it is short."""

    head: bytes
    tail: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file that is taken.

    Attributes:
        media: its media type; ``other`` are names that mean the same.
        extension: of its name.
        begins: what it may begin with.
        holds: what else must be true of it.
    """

    media: str
    extension: str
    begins: tuple[bytes, ...]
    holds: Callable[[Ends], bool] = lambda _: True
    other: tuple[str, ...] = ()

    def may_begin(self, head: bytes) -> bool:
        """Whether this can be, or become, the beginning of such a file."""
        return any(head.startswith(begin) or begin.startswith(head) for begin in self.begins)

    def fits(self, ends: Ends) -> bool:
        """Whether a file is one of these."""
        return any(ends.head.startswith(begin) for begin in self.begins) and self.holds(ends)


def _png(ends: Ends) -> bool:
    return ends.head[12:16] == b"IHDR"


def _signed_xml(ends: Ends) -> bool:
    """Signed, and without a document type: readers of such files may expand entities."""
    return b"<!DOCTYPE" not in ends.head and (
        _XML_SIGNATURE in ends.head or _XML_SIGNATURE in ends.tail
    )


def _signed_data(ends: Ends) -> bool:
    return _SIGNED_DATA in ends.head[:24]


def _open_document_text(ends: Ends) -> bool:
    """OpenDocument 1.3 part 2 §3.3: the first member is ``mimetype``, as it is."""
    begin = b"mimetype" + _OPEN_DOCUMENT_TEXT
    if ends.head[30 : 30 + len(begin)] != begin or ends.head[8:10] != b"\0\0":
        return False
    names = _members(ends)
    return names is not None and "content.xml" in names and not _runs(names)


def _office_open(main: str) -> Callable[[Ends], bool]:
    """ECMA-376 part 2: a package with its list of content types and the part that it is about."""

    def holds(ends: Ends) -> bool:
        names = _members(ends)
        return names is not None and {"[Content_Types].xml", main} <= names and not _runs(names)

    return holds


def _runs(names: set[str]) -> bool:
    """Whether there are macros or embedded programs among the members."""
    return any(
        name.endswith("vbaProject.bin") or name.startswith(("Basic/", "Scripts/")) for name in names
    )


def _members(ends: Ends) -> set[str] | None:
    """The names in a zip's list of members; None where it is none that can be trusted.

    The list must be the one that the end of the file points to, with nothing before or after it
    that other readers might take instead, and hold each name once.
    """
    tail = ends.tail
    place = tail.rfind(b"PK\x05\x06", max(len(tail) - _LONGEST_COMMENT - _END_OF_ZIP.size, 0))
    if place < 0 or place + _END_OF_ZIP.size > len(tail):
        return None
    _, disk, first, here, count, size, begin, comment = _END_OF_ZIP.unpack_from(tail, place)
    if (disk, first, here) != (0, 0, count) or not 0 < count <= _MOST_MEMBERS:
        return None
    behind = len(tail) - place
    if behind != _END_OF_ZIP.size + comment or begin + size != ends.size - behind or size > place:
        return None
    at, names = place - size, []
    for _ in range(count):
        if at + _MEMBER.size > place:
            return None
        fields = _MEMBER.unpack_from(tail, at)
        signature, flags, lengths = fields[0], fields[3], fields[10:13]
        if signature != b"PK\x01\x02" or flags & 1:  # encrypted
            return None
        at += _MEMBER.size
        names.append(tail[at : at + lengths[0]].decode("utf-8", "replace"))
        at += sum(lengths)
    return set(names) if at == place and len(set(names)) == count else None


PDF = Kind("application/pdf", "pdf", (b"%PDF-",))
KINDS = (
    PDF,
    Kind("image/jpeg", "jpg", (b"\xff\xd8\xff",)),
    Kind("image/png", "png", (b"\x89PNG\r\n\x1a\n",), _png),
    Kind("image/tiff", "tif", (b"II*\0", b"MM\0*")),
    Kind(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
        (_ZIP,),
        _office_open("word/document.xml"),
    ),
    Kind(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
        (_ZIP,),
        _office_open("xl/workbook.xml"),
    ),
    Kind(_OPEN_DOCUMENT_TEXT.decode(), "odt", (_ZIP,), _open_document_text),
    Kind("application/xml", "xml", (b"<?xml ", b"\xef\xbb\xbf<?xml "), _signed_xml, ("text/xml",)),
    Kind(
        "application/pkcs7-mime",
        "p7m",
        (b"\x30\x80", b"\x30\x82", b"\x30\x83"),
        _signed_data,
        ("application/pkcs7-signature",),
    ),
)
"""Everything that is taken."""

BY_MEDIA = {media: kind for kind in KINDS for media in (kind.media, *kind.other)}


class Sniffer:
    """Looks at a file as it passes.

    Args:
        kind: what it is said to be.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def see(self, part: bytes) -> bool:
        """Look at the next part; whether this can still be what it is said to be."""
        if len(self._head) < HEAD:
            self._head += part[: HEAD - len(self._head)]
        self._tail += part[-TAIL:]
        self._size += len(part)
        if len(self._tail) > 2 * TAIL:
            del self._tail[:-TAIL]
        return self._kind.may_begin(bytes(self._head[:16]))

    def verdict(self) -> bool:
        """Whether the file, now whole, is what it is said to be."""
        return self._kind.fits(Ends(bytes(self._head), bytes(self._tail[-TAIL:]), self._size))
