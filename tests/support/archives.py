"""Signatures in CMS, XML and JWS that are kept for long: with an archive timestamp over all of it.

Written from the standards, with nothing of the product in it.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import crl as asn1_crl
from lxml import etree

from signature_connector.domain.assembly import ValidationData
from tests.support.signing import Holder
from tests.support.verification import b64, cades, good_data, jws, stamper, xades

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
XADES141 = "{http://uri.etsi.org/01903/v1.4.1#}"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"

Token = Callable[[bytes], bytes]
"""A timestamp token (DER) over octets."""


def ago(hours: float) -> datetime:
    """So many hours before now."""
    return datetime.now(UTC) - timedelta(hours=hours)


def token(by: Holder | None = None, at: datetime | None = None, digest: str = "sha256") -> Token:
    """What an authority stamps, now or as of a moment."""

    def made(octets: bytes) -> bytes:
        imprint = hashlib.new(digest, octets).digest()
        stamped = asyncio.run(stamper(by, at).async_timestamp(imprint, digest))
        return bytes(stamped.dump())

    return made


# CMS (EN 319 122-1)


def _octets(*values: bytes) -> core.SequenceOf:
    return core.SequenceOf([core.OctetString(one) for one in values], spec=core.OctetString)


def _attribute(signer: cms.SignerInfo, kind: str, value: core.Asn1Value) -> None:
    present = signer["unsigned_attrs"]
    kept = [] if isinstance(present, core.Void) else list(present)
    kept.append(cms.CMSAttribute({"type": kind, "values": [value]}))
    signer["unsigned_attrs"] = cms.CMSAttributes(kept)


def changed(message: bytes, change: Callable[[cms.SignedData, cms.SignerInfo], None]) -> bytes:
    """A CMS message with something done to it."""
    loaded = cms.ContentInfo.load(message)
    signed = loaded["content"]
    change(signed, signed["signer_infos"][0])
    return bytes(loaded.dump(force=True))


def with_data(message: bytes, data: ValidationData) -> bytes:
    """With certificates and CRLs in the message."""

    def add(signed: cms.SignedData, _: cms.SignerInfo) -> None:
        lists = [] if isinstance(signed["crls"], core.Void) else list(signed["crls"])
        lists += [
            cms.RevocationInfoChoice("crl", asn1_crl.CertificateList.load(one)) for one in data.crls
        ]
        signed["crls"] = cms.RevocationInfoChoices(lists)

    return changed(message, add)


def with_signature_stamp(message: bytes, stamp: Token) -> bytes:
    """With a timestamp of the signature value."""

    def add(_: cms.SignedData, signer: cms.SignerInfo) -> None:
        made = stamp(signer["signature"].native)
        _attribute(signer, "signature_time_stamp_token", cms.ContentInfo.load(made))

    return changed(message, add)


def index_of(
    signed: cms.SignedData,
    signer: cms.SignerInfo,
    digest: str = "sha256",
    *,
    leave_out: Sequence[str] = (),
) -> core.Sequence:
    """``ATSHashIndexV3`` (5.5.2) of what is there."""

    def hashed(octets: bytes) -> bytes:
        return hashlib.new(digest, octets).digest()

    attributes = [] if isinstance(signer["unsigned_attrs"], core.Void) else signer["unsigned_attrs"]
    parts = {
        "certificates": [hashed(one.dump()) for one in signed["certificates"] or ()],
        "crls": [hashed(one.dump()) for one in signed["crls"] or ()],
        "attributes": [
            hashed(one["type"].dump() + value.dump())
            for one in attributes
            for value in one["values"]
        ],
    }
    kept = [[] if name in leave_out else values for name, values in parts.items()]
    inner = algos.DigestAlgorithm({"algorithm": digest}).dump()
    inner += b"".join(_octets(*one).dump() for one in kept)
    made: core.Sequence = core.Sequence.load(
        core.Sequence(contents=inner).dump()  # a SEQUENCE of whatever stands in it
    )
    return made


def archived_cms(
    message: bytes,
    stamp: Token | None = None,
    *,
    content: bytes = b"Noi dung",
    digest: str = "sha256",
    index: Callable[[cms.SignedData, cms.SignerInfo], core.Sequence] | None = None,
) -> bytes:
    """With ``archive-time-stamp-v3`` (5.5.3)."""

    def add(signed: cms.SignedData, signer: cms.SignerInfo) -> None:
        made = index(signed, signer) if index else index_of(signed, signer, digest)
        kind = signed["encap_content_info"]["content_type"]
        octets = kind.dump() + hashlib.new(digest, content).digest()
        for name in ("version", "sid", "digest_algorithm", "signed_attrs"):
            octets += signer[name].dump()
        octets += signer["signature_algorithm"].dump() + signer["signature"].dump()
        loaded = cms.ContentInfo.load((stamp or token(digest=digest))(octets + made.dump()))
        (stamping,) = loaded["content"]["signer_infos"]
        _attribute(stamping, "0.4.0.19122.1.5", made)
        whole = cms.ContentInfo.load(loaded.dump(force=True))
        _attribute(signer, "0.4.0.1733.2.4", whole)

    return changed(message, add)


def cms_kept(
    *, first: Token | None = None, last: Token | None = None, data: ValidationData | None = None
) -> bytes:
    """A CAdES signature at B-LTA."""
    stamped = with_signature_stamp(cades(), first or token(at=ago(6)))
    return archived_cms(with_data(stamped, data or good_data()), last or token(at=ago(3)))


# XML (EN 319 132-1)


def _c14n(node: Any, *, exclusive: bool) -> bytes:
    return bytes(etree.tostring(node, method="c14n", exclusive=exclusive, with_comments=False))


def _child(parent: Any, name: str, content: bytes | None = None, **how: str) -> Any:
    made = etree.SubElement(parent, name, how)
    if content is not None:
        made.text = base64.b64encode(content).decode()
    return made


def _unsigned(signature: Any) -> Any:
    place = signature.find(f"{DS}Object/{XADES}QualifyingProperties")
    found = place.find(f"{XADES}UnsignedProperties/{XADES}UnsignedSignatureProperties")
    if found is None:
        found = _child(
            _child(place, f"{XADES}UnsignedProperties"), f"{XADES}UnsignedSignatureProperties"
        )
    return found


def with_xml_stamp(signature: Any, stamp: Token) -> None:
    """With a timestamp of the signature value."""
    octets = _c14n(signature.find(f"{DS}SignatureValue"), exclusive=True)
    made = _child(_unsigned(signature), f"{XADES}SignatureTimeStamp")
    _child(made, f"{DS}CanonicalizationMethod", Algorithm=EXCLUSIVE)
    _child(made, f"{XADES}EncapsulatedTimeStamp", stamp(octets))


def with_xml_data(signature: Any, data: ValidationData) -> None:
    """With certificates and CRLs."""
    unsigned = _unsigned(signature)
    values = _child(unsigned, f"{XADES}CertificateValues")
    for one in data.certificates:
        _child(values, f"{XADES}EncapsulatedX509Certificate", one)
    lists = _child(_child(unsigned, f"{XADES}RevocationValues"), f"{XADES}CRLValues")
    for one in data.crls:
        _child(lists, f"{XADES}EncapsulatedCRLValue", one)


def with_xml_archive(
    signature: Any, document: bytes, stamp: Token, *, exclusive: bool = False
) -> Any:
    """With ``xades141:ArchiveTimeStamp`` (5.5.2), over a document that was signed as a whole.

    What the references lead to comes first: the document without the signature, the signed
    properties and the key, as signxml refers to them.
    """
    unsigned = _unsigned(signature)
    octets = _c14n(etree.fromstring(document).getroottree(), exclusive=False)
    properties = signature.find(f".//{XADES}SignedProperties")
    key = signature.find(f"{DS}KeyInfo")
    for one in (
        properties,
        key,
        signature.find(f"{DS}SignedInfo"),
        signature.find(f"{DS}SignatureValue"),
        key,
        *unsigned,
    ):
        octets += _c14n(one, exclusive=exclusive)
    for one in signature.findall(f"{DS}Object")[1:]:
        octets += _c14n(one, exclusive=exclusive)
    made = etree.SubElement(
        unsigned, f"{XADES141}ArchiveTimeStamp", nsmap={"xades141": XADES141[1:-1]}
    )
    if exclusive:
        _child(made, f"{DS}CanonicalizationMethod", Algorithm=EXCLUSIVE)
    _child(made, f"{XADES}EncapsulatedTimeStamp", stamp(octets))
    return made


def xml_kept(
    *,
    first: Token | None = None,
    last: Token | None = None,
    data: ValidationData | None = None,
    exclusive: bool = False,
    change: Callable[[Any], None] | None = None,
) -> bytes:
    """A XAdES signature at B-LTA; ``change`` is done to the signature afterwards."""
    document = b'<GiayPhep xmlns="urn:vn" xmlns:k="urn:khac"><So>12</So></GiayPhep>'
    root = etree.fromstring(xades(document))
    signature = root.find(f".//{DS}Signature")
    with_xml_stamp(signature, first or token(at=ago(6)))
    with_xml_data(signature, data or good_data())
    with_xml_archive(signature, document, last or token(at=ago(3)), exclusive=exclusive)
    if change is not None:
        change(signature)
    return bytes(etree.tostring(root))


# JWS (TS 119 182-1)


def _encoded(part: dict[str, Any]) -> str:
    return b64(json.dumps(part).encode())


def _standard(content: bytes) -> str:
    return base64.b64encode(content).decode()


def jws_stamp(value: str, stamp: Token) -> dict[str, Any]:
    """``sigTst`` (5.3.4)."""
    return {"sigTst": {"tstTokens": [{"val": _standard(stamp(value.encode()))}]}}


def jws_data(data: ValidationData) -> list[dict[str, Any]]:
    """``xVals`` and ``rVals`` (5.3.5)."""
    certificates = [{"x509Cert": {"val": _standard(one)}} for one in data.certificates]
    lists = [{"val": _standard(one)} for one in data.crls]
    return [{"xVals": certificates}, {"rVals": {"crlVals": lists}}]


def jws_archive(
    protected: str, payload: str, value: str, before: Sequence[str], stamp: Token
) -> dict[str, Any]:
    """``arcTst`` over components that are written in base64url (5.3.6)."""
    octets = f"{payload}.{protected}.{value}." + "".join(before)
    return {"arcTst": {"tstTokens": [{"val": _standard(stamp(octets.encode()))}]}}


def jws_kept(
    *,
    first: Token | None = None,
    last: Token | None = None,
    data: ValidationData | None = None,
    change: Callable[[list[str]], None] | None = None,
    **how: Any,
) -> bytes:
    """A JAdES signature at B-LTA; ``change`` is done to ``etsiU`` afterwards."""
    protected, payload, value = jws(**how).split(".")
    items = [_encoded(jws_stamp(value, first or token(at=ago(6))))]
    items += [_encoded(one) for one in jws_data(data or good_data())]
    items.append(_encoded(jws_archive(protected, payload, value, items, last or token(at=ago(3)))))
    if change is not None:
        change(items)
    body = {"payload": payload, "protected": protected, "signature": value}
    return json.dumps({**body, "header": {"etsiU": items}}).encode()
