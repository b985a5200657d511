"""PAdES signatures (ETSI EN 319 142-1): room in the PDF, then the signature in it (level B-B)."""

import hashlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import (
    FieldMDPAction,
    FieldMDPSpec,
    MDPPerm,
    SigFieldSpec,
    SigSeedSubFilter,
    enumerate_sig_fields,
)
from pyhanko.sign.signers.cms_embedder import (
    PdfCMSEmbedder,
    SigAppearanceSetup,
    SigMDPSetup,
    SigObjSetup,
)
from pyhanko.sign.signers.pdf_byterange import SignatureObject
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from signature_connector.assembly import cms_parts, incremental, raw
from signature_connector.assembly.edits import Content, Edit
from signature_connector.domain.assembly import Prepared, Unfit, Wish

if TYPE_CHECKING:  # loaded only for documents that get a stamp
    from signature_connector.assembly.places import Place

_NEW_FIELD = "Signature{}"


def prepare(content: Content, wish: Wish) -> tuple[Prepared, Edit]:
    """Reserve room for a signature.

    Returns:
        What has to be known to finish (its content left empty), and the update.

    Raises:
        Unfit: why the document cannot be signed so.
    """
    raw.certificate_of(wish)
    writer = incremental.begin(content)
    signed = _signatures(writer.prev)
    field = _field(writer, wish)
    place = SignatureObject(
        timestamp=wish.claimed_at,
        subfilter=SigSeedSubFilter.PADES,
        location=wish.location,
        reason=wish.reason,
        bytes_reserved=2 * cms_parts.room_for(wish),
    )
    lock = FieldMDPSpec(FieldMDPAction.ALL) if wish.final and signed else None
    stamped = _stamp_place(content, writer, wish, field)
    box: Any = stamped.box if stamped else None  # declared as whole numbers; any will do
    spec = SigFieldSpec(
        field,
        on_page=stamped.page if stamped else 0,
        box=box,
        field_mdp_spec=lock,
        doc_mdp_update_value=MDPPerm.NO_CHANGES if lock else None,
    )
    embedder = PdfCMSEmbedder(spec).write_cms(field, writer)
    next(embedder)
    embedder.send(SigObjSetup(place, _locks(wish, lock), _appearance(wish, stamped)))
    incremental.claim_pades(writer)
    made = incremental.reserved(writer, place, content, wish.digest_algorithm)
    to_sign = cms_parts.signed_attributes(wish, made.digest)
    facts = {
        "certificates": [b64encode(one).decode() for one in (wish.certificate, *wish.chain)],
        "digest_algorithm": wish.digest_algorithm,
        "mechanism": wish.mechanism,
        "gap": list(made.gap),
        "document_digest": made.digest.hex(),
        "field": field,
    }
    prepared = Prepared(
        "pades", b"", to_sign, hashlib.new(wish.digest_algorithm, to_sign).digest(), facts
    )
    return prepared, Edit(len(content), made.update)


def finish(content: Content, prepared: Prepared, signature: bytes) -> Edit:
    """The signature in its room, once it has been verified.

    Raises:
        Unfit: it is not one by the certificate over what was to be signed, or the document is not
            the one that was prepared.
    """
    facts = prepared.facts
    digest_algorithm, mechanism = facts["digest_algorithm"], facts["mechanism"]
    certificates = [b64decode(one) for one in facts["certificates"]]
    salt = raw.salt_of(certificates[0], mechanism, digest_algorithm, prepared.to_sign, signature)
    start, end = facts["gap"]
    if digest_around(content, start, end, digest_algorithm).hex() != facts["document_digest"]:
        raise Unfit("other-document")
    message = cms_parts.signed_data(
        certificates=certificates,
        digest_algorithm=digest_algorithm,
        mechanism=cms_parts.mechanism_of(mechanism, digest_algorithm, salt),
        attributes=prepared.to_sign,
        signature=signature,
        content=None,
    )
    return filled((start, end), message.dump())


def digest_around(content: Content, start: int, end: int, digest_algorithm: str) -> bytes:
    """Of a document without the room for its signature."""
    with memoryview(content) as view:
        digest = hashlib.new(digest_algorithm, view[:start])
        digest.update(view[end:])
    return digest.digest()


def filled(gap: tuple[int, int], message: bytes) -> Edit:
    """The message in its room, which keeps its size.

    Raises:
        Unfit: it does not fit.
    """
    start, end = gap
    room = end - start - 2
    if 2 * len(message) > room:
        raise Unfit("no-room", f"{len(message)} of {room // 2} bytes")
    return Edit(start + 1, message.hex().encode().ljust(room, b"0"))


def _signatures(reader: PdfFileReader) -> list[EmbeddedPdfSignature]:
    found = list(reader.embedded_signatures)
    if any(one.docmdp_level is MDPPerm.NO_CHANGES for one in found):
        raise Unfit("locked")
    return found


def _field(writer: IncrementalPdfFileWriter, wish: Wish) -> str:
    """The name of the field to be signed: the wish's, or one that there is not yet."""
    filled_by_name = {
        name: value is not None for name, value, _ in enumerate_sig_fields(writer.prev)
    }
    if wish.field is None:
        numbers = range(1, len(filled_by_name) + 2)
        free = (_NEW_FIELD.format(number) for number in numbers)
        return next(name for name in free if name not in filled_by_name)
    if filled_by_name.get(wish.field):
        raise Unfit("field-taken", wish.field)
    return wish.field


def _locks(wish: Wish, lock: FieldMDPSpec | None) -> SigMDPSetup | None:
    """The last signature locks the document: no more may follow but data for validation.

    A certifying signature has to be a document's first (ISO 32000-2 section 12.8.2.2); behind
    others a lock on all fields says the same and leaves those before it valid.
    """
    if not wish.final:
        return None
    return SigMDPSetup(
        wish.digest_algorithm,
        certify=lock is None,
        field_lock=lock,
        docmdp_perms=MDPPerm.NO_CHANGES,
    )


def _stamp_place(
    content: Content, writer: IncrementalPdfFileWriter, wish: Wish, field: str
) -> "Place | None":
    """Where the stamp goes: into the field, where it has a place already."""
    if wish.stamp is None:
        return None
    from signature_connector.assembly.places import in_field, place_of

    for name, value, reference in enumerate_sig_fields(writer.prev):
        if name == field and value is None:
            return in_field(reference.get_object())
    return place_of(bytes(content), wish.stamp)


def _appearance(wish: Wish, place: "Place | None") -> SigAppearanceSetup | None:
    if wish.stamp is None or place is None:
        return None
    from signature_connector.assembly.stamping import FramedLines

    style = FramedLines(lines=wish.stamp.lines, place=place)
    return SigAppearanceSetup(style, wish.claimed_at, name=None)
