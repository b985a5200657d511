"""Whether a document can be signed, and the signature verified afterwards."""

from io import BytesIO
from typing import Any

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, append_signature_field
from pyhanko.version import __version__ as library_version

from signature_connector.domain.findings import Refusal, Report, passed
from signature_connector.verification.changes import judge_signing_update

HEADER = b"%PDF-"
LIBRARIES = {"pyhanko": library_version}
_REHEARSAL = "lienthong-rehearsal"


def examine_document(content: bytes) -> Report:
    """Whether a document is a PDF that can be signed.

    The verification is rehearsed with an empty signature field: a document whose structure would
    defeat it is refused before a person is asked, not after.
    """
    facts: dict[str, Any] = {"bytes": len(content), "libraries": LIBRARIES}
    try:
        reader = read_strictly(content)
        signatures = reader.embedded_signatures
        facts["signatures"] = len(signatures)
        if any(one.docmdp_level is MDPPerm.NO_CHANGES for one in signatures):
            raise Refusal("locked")
        _rehearse(content, reader.total_revisions)
    except Refusal as refusal:
        return Report((refusal.finding,), facts)
    except Exception as error:  # a hostile document makes the reader raise nearly anything
        return Report((Refusal("unreadable", type(error).__name__).finding,), facts)
    return Report((passed("readable"),), facts)


def read_strictly(content: bytes) -> PdfFileReader:
    """Open a document whose every byte will have to be accounted for.

    Raises:
        Refusal: no PDF, encrypted, or with hybrid cross-references, which show different readers
            different documents.
        Exception: whatever the reader raises for a damaged one.
    """
    if not content.startswith(HEADER):
        raise Refusal("not-a-pdf")
    reader = PdfFileReader(BytesIO(content), strict=True)
    if reader.encrypted:
        raise Refusal("encrypted")
    if reader.xrefs.hybrid_xrefs_present:
        raise Refusal("unreadable", "hybrid cross-references")
    if "/Pages" not in reader.root:
        raise Refusal("unreadable", "no pages")
    return reader


def _rehearse(content: bytes, revisions: int) -> None:
    writer = IncrementalPdfFileWriter(BytesIO(content), strict=True)
    append_signature_field(writer, SigFieldSpec(_REHEARSAL))
    out = BytesIO()
    writer.write(out)
    try:
        judge_signing_update(PdfFileReader(out, strict=True), revisions, revisions, _REHEARSAL)
    except Refusal as refusal:
        raise Refusal("not-provable", type(refusal.__cause__).__name__) from refusal.__cause__
