"""Updates that are appended to a PDF: the update alone is made, the document is not copied.

The signing library writes whole documents. Here it writes the update, and what it knows of offsets
is shifted to where the update comes to stand.
"""

import hashlib
from dataclasses import dataclass
from io import BytesIO

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.signers.constants import ESIC_EXTENSION_1
from pyhanko.sign.signers.pdf_byterange import PdfSignedData

from signature_connector.assembly.edits import Content
from signature_connector.domain.assembly import Unfit

_HEADER = b"%PDF-"


@dataclass(frozen=True, slots=True)
class Reserved:
    """An update with room for a signature.

    Attributes:
        update: to be appended to the document.
        gap: offsets, in the whole, of the room: its opening bracket and behind its closing one.
        digest: of all bytes but those between them.
    """

    update: bytes
    gap: tuple[int, int]
    digest: bytes


def begin(content: Content) -> IncrementalPdfFileWriter:
    """Open a document for an update.

    Raises:
        Unfit: no PDF, encrypted, or such that readers may see different documents in it.
        Exception: whatever the reader raises for a damaged one.
    """
    if content[: len(_HEADER)] != _HEADER:
        raise Unfit("not-a-pdf")
    writer = IncrementalPdfFileWriter(
        BytesIO(content) if isinstance(content, bytes) else content, strict=True
    )
    reader: PdfFileReader = writer.prev
    if reader.encrypted:
        raise Unfit("encrypted")
    if reader.xrefs.hybrid_xrefs_present:
        raise Unfit("unreadable", "hybrid cross-references")
    if "/Pages" not in reader.root:
        raise Unfit("unreadable", "no pages")
    return writer


def claim_pades(writer: IncrementalPdfFileWriter) -> None:
    """Say that the document uses PAdES structures (EN 319 142-1 section 5.1), as of PDF 1.7."""
    writer.ensure_output_version(version=(1, 7))
    if writer.output_version < (2, 0):
        writer.register_extension(ESIC_EXTENSION_1)


def written(writer: IncrementalPdfFileWriter, content: Content) -> bytes:
    """The update, without the document before it."""
    return _update(writer, content).getvalue()


def reserved(
    writer: IncrementalPdfFileWriter, place: PdfSignedData, content: Content, digest_algorithm: str
) -> Reserved:
    """The update with the room that ``place`` keeps, and the digest that is to be signed."""
    writer.digest_aware_write = True
    update = _update(writer, content)
    start, end = place.contents.offsets
    place.byte_range.fill_offsets(update, start, end, len(content) + len(update.getbuffer()))
    digest = hashlib.new(digest_algorithm, content)
    with update.getbuffer() as view:
        digest.update(view[: start - len(content)])
        digest.update(view[end - len(content) :])
    return Reserved(update.getvalue(), (start, end), digest.digest())


def _update(writer: IncrementalPdfFileWriter, content: Content) -> "_Behind":
    out = _Behind(len(content))
    if content[-1:] not in b"\r\n":
        out.write(b"\n")  # else the end marker would run on into the update
    writer._prep_dom_for_writing()
    writer._write_updated_section(out)
    return out


class _Behind(BytesIO):
    """A stream whose positions count from the beginning of what stands before it."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self._before = before

    def tell(self) -> int:
        return super().tell() + self._before

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(offset - (self._before if whence == 0 else 0), whence) + self._before
