"""CAdES signatures (ETSI EN 319 122-1): B-B and B-T, with the document in them or without."""

import hashlib
from base64 import b64decode, b64encode

from asn1crypto import cms

from signature_connector.assembly import cms_parts, raw
from signature_connector.assembly.edits import Edit, whole
from signature_connector.domain.assembly import Prepared, Unfit, Wish


def prepare(content: bytes, wish: Wish) -> tuple[Prepared, None]:
    """What is to be signed for a document, which stays as it is.

    Raises:
        Unfit: the certificate cannot sign as it is wished.
    """
    raw.certificate_of(wish)
    digest = hashlib.new(wish.digest_algorithm, content).digest()
    to_sign = cms_parts.signed_attributes(wish, digest)
    facts = {
        "certificates": [b64encode(one).decode() for one in (wish.certificate, *wish.chain)],
        "digest_algorithm": wish.digest_algorithm,
        "mechanism": wish.mechanism,
        "document_digest": digest.hex(),
        "detached": wish.detached,
    }
    signed = hashlib.new(wish.digest_algorithm, to_sign).digest()
    return Prepared("cades", b"", to_sign, signed, facts), None


def finish(content: bytes, prepared: Prepared, signature: bytes) -> Edit:
    """The CMS message (DER), once the raw signature has been verified.

    Raises:
        Unfit: it is not one by the certificate over what was to be signed, or the document is not
            the one that was prepared.
    """
    facts = prepared.facts
    digest_algorithm, mechanism = facts["digest_algorithm"], facts["mechanism"]
    certificates = [b64decode(one) for one in facts["certificates"]]
    salt = raw.salt_of(certificates[0], mechanism, digest_algorithm, prepared.to_sign, signature)
    if hashlib.new(digest_algorithm, content).hexdigest() != facts["document_digest"]:
        raise Unfit("other-document")
    message = cms_parts.signed_data(
        certificates=certificates,
        digest_algorithm=digest_algorithm,
        mechanism=cms_parts.mechanism_of(mechanism, digest_algorithm, salt),
        attributes=prepared.to_sign,
        signature=signature,
        content=None if facts["detached"] else content,
    )
    return whole(message.dump())


def imprint(content: bytes) -> bytes:
    """What a timestamp token for the signature has to carry (B-T)."""
    return cms_parts.imprint_of(cms_parts.only_signer(_message(content)))


def timestamped(content: bytes, token: bytes) -> Edit:
    """The message at B-T.

    Raises:
        Unfit: the token is over something else, or there is one already.
    """
    message = _message(content)
    cms_parts.add_token(cms_parts.only_signer(message), token)
    return whole(message.dump())


def _message(content: bytes) -> cms.ContentInfo:
    message = cms.ContentInfo.load(content, strict=True)
    if message["content_type"].native != "signed_data":
        raise Unfit("unsigned")
    return message
