"""Signatures in a PDF: PAdES (EN 319 142-1) and what came before it (ISO 32000).

What happened after a signature is judged first by the narrow rules of ``changes`` (further
signatures, data for validation); what only pyHanko's wider rules explain, forms that were filled,
is left to a person: such updates are how a shadow document is brought to light.
"""

from collections.abc import Iterator
from typing import Any

from asn1crypto import cms
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader
from pyhanko.sign.diff_analysis import DEFAULT_DIFF_POLICY, DiffResult, ModificationLevel
from pyhanko.sign.fields import MDPPerm, enumerate_sig_fields
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.errors import NoDSSFoundError
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, refused
from signature_connector.domain.verification import Material
from signature_connector.verification.chains import NOTHING, Chains
from signature_connector.verification.changes import judge_between
from signature_connector.verification.cms_data import carried_by
from signature_connector.verification.documents import read_strictly
from signature_connector.verification.signature import (
    MOST_SIGNATURES,
    Found,
    Judged,
    Stamped,
    attribute,
    certificates_of,
    check_cms,
    claimed_time,
    judge,
    mechanism_of,
    signature_stamps,
)

_PADES = "/ETSI.CAdES.detached"
_END = b"%%EOF"


def verify(material: Material, chains: Chains) -> Iterator[Judged]:
    """Each signature of a PDF.

    Raises:
        Refusal: no PDF, or none with signatures.
    """
    reader = read_strictly(material.content)
    names = [name for name, _, _ in enumerate_sig_fields(reader, filled_status=True)]
    if not names:
        raise Refusal("no-signature")
    if len(names) > MOST_SIGNATURES:
        raise Refusal("too-many-signatures", str(len(names)))
    stamps = list(reader.embedded_timestamp_signatures)
    known = {one.field_name for one in reader.embedded_signatures}
    for signature in reader.embedded_regular_signatures:
        found = Found(str(signature.field_name), "pdf")

        def check(found: Found = found, signature: EmbeddedPdfSignature = signature) -> None:
            _check(found, signature, reader, stamps, material.content)

        yield judge(found, check, chains, material.at or material.moment)
    for name in names:
        if name not in known:
            found = Found(str(name), "pdf")
            yield judge(found, _unsupported, chains, material.at or material.moment)
    if not reader.embedded_regular_signatures and known:
        raise Refusal("no-signature", "timestamps only")


def _unsupported() -> None:
    raise Refusal("signature-unsupported")


def _check(
    found: Found,
    signature: EmbeddedPdfSignature,
    reader: PdfFileReader,
    stamps: list[EmbeddedPdfSignature],
    content: bytes,
) -> None:
    signer = signature.signer_info
    found.certificate = signature.signer_cert
    found.others = certificates_of(signature.signed_data)
    found.mechanism = mechanism_of(signer)
    found.value = signer["signature"].native
    told = signature.self_reported_timestamp
    found.claimed_at = told if told and told.tzinfo else claimed_time(signer)
    pades = signature.sig_object.get("/SubFilter") == _PADES
    named = attribute(signer, "signing_certificate_v2") or attribute(signer, "signing_certificate")
    found.form, found.advanced = ("pades" if pades else "pkcs7"), bool(pades and named)
    check_range(signature, content)
    algorithm = str(signature.md_algorithm)
    digest = signature.compute_digest(algorithm)
    found.signed_digest = (algorithm, digest)
    check_cms(signer, signature.signer_cert, "data", digest)
    found.good("algorithms-allowed", found.mechanism)
    found.good("intact")
    _check_later(found, signature, reader, content)
    found.carried = security_store(reader).joined(carried_by(signature.signed_data, signer))
    found.stamps = signature_stamps(signer)
    for one in stamps:
        if one.signed_revision > signature.signed_revision:
            before = range(len(found.stamps))
            found.stamps.append(_document_stamp(one, reader, content, before))


def check_range(signature: EmbeddedPdfSignature, content: bytes) -> None:
    """Refuse a range that leaves out more than the signature value itself.

    Raises:
        Refusal: it does, or it does not reach the end of its revision.
    """
    numbers = [int(number) for number in signature.byte_range]
    if len(numbers) != 4 or numbers[0] != 0:
        raise Refusal("not-covered", "byte range")
    _, gap, after, rest = numbers
    value = content[gap:after]
    if (
        min(gap, rest) <= 0
        or after <= gap
        or after + rest > len(content)
        or value[:1] + value[-1:] != b"<>"
        or _unhex(value[1:-1]) != signature.pkcs7_content
    ):
        raise Refusal("not-covered", "byte range")
    if signature.evaluate_signature_coverage() < SignatureCoverageLevel.ENTIRE_REVISION:
        raise Refusal("not-covered", "revision")


def _unhex(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None


def _check_later(
    found: Found, signature: EmbeddedPdfSignature, reader: PdfFileReader, content: bytes
) -> None:
    _, _, after, rest = (int(number) for number in signature.byte_range)
    if after + rest == len(content):
        found.good("covered")
        found.good("not-changed")
        found.facts["modifications"] = "none"
        return
    if reader.total_revisions == signature.signed_revision + 1:
        raise Refusal("not-covered", "bytes after the signed revision")
    if not content.rstrip().endswith(_END):
        raise Refusal("extra-update", "bytes after the last revision")
    later = [
        one.signed_revision
        for one in reader.embedded_signatures
        if one.signed_revision > signature.signed_revision
    ]
    found.facts["covers"] = [f"revision {signature.signed_revision + 1}"]
    try:
        level = judge_between(reader, signature.signed_revision, max(later, default=-1))
    except Refusal as refusal:
        if refusal.finding.detail is not None:  # what no wider rule explains
            raise
        signature.compute_integrity_info(diff_policy=DEFAULT_DIFF_POLICY)
        wider = signature.diff_result
        if not isinstance(wider, DiffResult) or not _allowed(signature, wider):
            raise
        found.facts["modifications"] = "forms"
        found.findings.append(refused("form-filled"))
        return
    if signature.docmdp_level is MDPPerm.NO_CHANGES and _adds_fields(signature, reader):
        raise Refusal("changed-after-signing", "locked")
    if level is ModificationLevel.FORM_FILLING:
        found.facts["modifications"] = "signatures"
        found.good("further-signatures")
    else:
        found.facts["modifications"] = "validation-data"
        found.good("validation-data-added")


def _adds_fields(signature: EmbeddedPdfSignature, reader: PdfFileReader) -> bool:
    """Whether there are fields for signatures, empty or not, that were not there when it was made;
    those of timestamps do not count (ISO 32000-2, 12.8.2.2)."""
    base = reader.get_historical_resolver(signature.signed_revision)
    known = {name for name, _, _ in enumerate_sig_fields(base)}
    known |= {one.field_name for one in reader.embedded_timestamp_signatures}
    return any(name not in known for name, _, _ in enumerate_sig_fields(reader))


def _allowed(signature: EmbeddedPdfSignature, result: DiffResult) -> bool:
    """Whether the document's own rules (DocMDP) allow what was done."""
    level = signature.docmdp_level
    if level is None:
        return bool(result.modification_level <= ModificationLevel.FORM_FILLING)
    allowed = {1: ModificationLevel.LTA_UPDATES, 2: ModificationLevel.FORM_FILLING}
    most = allowed.get(level.value, ModificationLevel.ANNOTATIONS)
    return bool(result.modification_level <= most)


def _document_stamp(
    stamp: EmbeddedPdfSignature, reader: PdfFileReader, content: bytes, before: range
) -> Stamped:
    """A timestamp over the document as it was then (ISO 32000-2, 12.8.5)."""

    def imprint(algorithm: str) -> bytes:
        check_range(stamp, content)
        return bytes(stamp.compute_digest(algorithm))

    def data() -> ValidationData:
        return security_store(reader.get_historical_resolver(stamp.signed_revision))

    token = cms.ContentInfo({"content_type": "signed_data", "content": stamp.signed_data})
    return Stamped(token.dump(), imprint, "archive", before, data)


def security_store(reader: PdfFileReader | HistoricalResolver) -> ValidationData:
    """The document's security store, now or in a revision."""
    try:
        store: Any = DocumentSecurityStore.read_dss(reader)
    except NoDSSFoundError:
        return NOTHING
    return ValidationData(
        tuple(one.dump() for one in store.load_certs()),
        tuple(one.get_object().data for one in store.ocsps),
        tuple(one.get_object().data for one in store.crls),
    )
