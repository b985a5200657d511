"""A second opinion on signed documents, by nothing that the product uses to judge them but the
parser of ASN.1: who signed, and whether it is over all that is there."""

import hashlib
import re
from typing import Any

from asn1crypto import cms, x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_der_x509_certificate

_RANGE = re.compile(rb"/ByteRange\s*\[\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s*\]")
_END = b"%%EOF\n"


def complaint(document: bytes, sent: str, person: str, serial: str) -> str | None:
    """What is wrong with a signed PDF; None for nothing.

    Args:
        sent: SHA-256 of the document that was to be signed.
        person: the number of who was asked.
        serial: hexadecimal number of the certificate by the books of who asked.
    """
    original = document[: document.find(_END) + len(_END)]
    if hashlib.sha256(original).hexdigest() != sent:
        return "it does not begin with what was sent"
    ranges = _RANGE.findall(document)
    if len(ranges) != 1:
        return f"{len(ranges)} signatures"
    first, gap, after, rest = (int(number) for number in ranges[0])
    if (first, after + rest) != (0, len(document)):
        return "the signature does not cover all of it"
    try:
        message = bytes.fromhex(document[gap + 1 : after - 1].decode("ascii"))
        signed = cms.ContentInfo.load(message)["content"]
        (signer,) = signed["signer_infos"]
        return _of_message(signed, signer, document[:gap] + document[after:], person, serial)
    except (ValueError, TypeError, KeyError) as error:
        return f"the signature cannot be read: {error}"


def _of_message(signed: Any, signer: Any, covered: bytes, person: str, serial: str) -> str | None:
    number = signer["sid"].chosen["serial_number"].native
    holders = [one.chosen for one in signed["certificates"]]
    holder = next((one for one in holders if one.serial_number == number), None)
    if holder is None or format(number, "x") != serial:
        return "signed with another certificate"
    if f":{person}" not in holder.subject.native.get("user_id", ""):
        return "signed by somebody else"
    attributes = signer["signed_attrs"]
    digest = next(one for one in attributes if one["type"].native == "message_digest")
    if digest["values"][0].native != hashlib.sha256(covered).digest():
        return "the signature is over another document"
    return _by_key(holder, signer, attributes.untag().dump())


def _by_key(holder: x509.Certificate, signer: Any, attributes: bytes) -> str | None:
    key: Any = load_der_x509_certificate(holder.dump()).public_key()
    value, kind = signer["signature"].native, signer["signature_algorithm"].signature_algo
    try:
        if kind == "ecdsa":
            key.verify(value, attributes, ec.ECDSA(SHA256()))
        elif kind == "rsassa_pss":
            key.verify(value, attributes, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        else:
            key.verify(value, attributes, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return "the signature is bad"
    return None
