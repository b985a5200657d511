"""PAdES signatures made fit for the long run (EN 319 142-1): B-T, B-LT, B-LTA.

Nothing is fetched: tokens and validation data come from outside.
"""

import hashlib
from typing import Any

from asn1crypto import cms, crl, ocsp
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import SigFieldSpec, enumerate_sig_fields
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from signature_connector.assembly import cms_parts, incremental, pades
from signature_connector.assembly.edits import Content, Edit
from signature_connector.domain.assembly import Prepared, Unfit, ValidationData

_DIGEST = "sha256"
_TIMESTAMP_FIELD = "Timestamp{}"


def imprint(content: Content) -> bytes:
    """What a timestamp token for the last signature has to carry (B-T).

    Raises:
        Unfit: nothing is signed, or the last signature can take no token any more.
    """
    return cms_parts.imprint_of(cms_parts.only_signer(_last(content)[1]))


def timestamped(content: Content, token: bytes) -> Edit:
    """The document at B-T.

    Raises:
        Unfit: the token is over something else, or there is no room or no signature for it.
    """
    gap, message = _last(content)
    cms_parts.add_token(cms_parts.only_signer(message), token)
    return pades.filled(gap, message.dump())


def long_term(content: Content, data: ValidationData) -> Edit:
    """The document at B-LT: what is needed to validate it stands in its security store.

    The data is filed under what was signed or stamped last: the signature, or the archive
    timestamp that is to be renewed.

    Raises:
        Unfit: nothing is signed, or the data cannot be read.
    """
    writer = incremental.begin(content)
    signatures = writer.prev.embedded_signatures
    if not writer.prev.embedded_regular_signatures:
        raise Unfit("unsigned")
    DocumentSecurityStore.supply_dss_in_writer(
        writer,
        signatures[-1].pkcs7_content,
        certs=[cms_parts.load_certificate(one) for one in data.certificates],
        ocsps=[_loaded(ocsp.OCSPResponse, one) for one in data.ocsps],
        crls=[_loaded(crl.CertificateList, one) for one in data.crls],
    )
    incremental.claim_pades(writer)
    return Edit(len(content), incremental.written(writer, content))


def archive_imprint(content: Content) -> tuple[Prepared, Edit]:
    """Room for a timestamp over the whole document, for B-LTA and each time it is renewed."""
    writer = incremental.begin(content)
    if not writer.prev.embedded_signatures:
        raise Unfit("unsigned")
    taken = {name for name, _, _ in enumerate_sig_fields(writer.prev)}
    free = (_TIMESTAMP_FIELD.format(number) for number in range(1, len(taken) + 2))
    field = next(name for name in free if name not in taken)
    place = DocumentTimestamp(bytes_reserved=2 * cms_parts.TOKEN_ROOM)
    embedder = PdfCMSEmbedder(SigFieldSpec(field)).write_cms(field, writer)
    next(embedder)
    embedder.send(SigObjSetup(place))
    incremental.claim_pades(writer)
    made = incremental.reserved(writer, place, content, _DIGEST)
    facts = {"gap": list(made.gap), "field": field}
    return Prepared("pades", b"", b"", made.digest, facts), Edit(len(content), made.update)


def archived(content: Content, prepared: Prepared, token: bytes) -> Edit:
    """The document at B-LTA.

    Raises:
        Unfit: the token is over something else, or the document is not the one prepared.
    """
    start, end = prepared.facts["gap"]
    if pades.digest_around(content, start, end, _DIGEST) != prepared.digest:
        raise Unfit("other-document")
    cms_parts.check_token(token, prepared.digest)
    return pades.filled((start, end), token)


def _last(content: Content) -> tuple[tuple[int, int], cms.ContentInfo]:
    """The last signature: where it stands, and its message.

    A token changes the bytes of the signature, which whatever was signed later covers: only the
    very last of a document can take one.
    """
    reader: PdfFileReader = incremental.begin(content).prev
    signatures: list[EmbeddedPdfSignature] = list(reader.embedded_signatures)
    if not signatures:
        raise Unfit("unsigned")
    numbers = [int(number) for number in signatures[-1].byte_range]
    if signatures[-1].sig_object_type != "/Sig" or len(numbers) != 4:
        raise Unfit("covered-already")
    first, start, end, rest = numbers
    if first or end + rest != len(content) or not 0 < start < end:
        raise Unfit("covered-already")
    value = content[start:end]
    if value[:1] + value[-1:] != b"<>":
        raise Unfit("unreadable", "byte range")
    return (start, end), cms.ContentInfo.load(bytes.fromhex(value[1:-1].decode("ascii")))


def _loaded(kind: Any, der: bytes) -> Any:
    try:
        found = kind.load(der, strict=True)
        hashlib.sha256(found.dump())
    except (ValueError, TypeError) as error:
        raise Unfit("validation-data-malformed", type(error).__name__) from error
    return found
