"""XAdES signatures (ETSI EN 319 132-1): B-B, enveloped in the XML document that is signed.

Everything is canonicalised exclusively (without comments): what surrounds the signature then
plays no role for SignedInfo and SignedProperties, whatever namespaces the document declares.
"""

import hashlib
from base64 import b64decode, b64encode
from datetime import UTC
from uuid import uuid4

from asn1crypto import x509 as asn1_x509
from lxml import etree

from signature_connector.assembly import raw
from signature_connector.assembly.cms_parts import load_certificate
from signature_connector.assembly.edits import Edit, whole
from signature_connector.domain.assembly import Prepared, Unfit, Wish

DS = "http://www.w3.org/2000/09/xmldsig#"
XADES = "http://uri.etsi.org/01903/v1.3.2#"
_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED = f"{DS}enveloped-signature"
_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
_DIGESTS = {
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha384": "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
}
_MECHANISMS = {
    "rsassa_pkcs1v15": "http://www.w3.org/2001/04/xmldsig-more#rsa-{}",
    "rsassa_pss": "http://www.w3.org/2007/05/xmldsig-more#{}-rsa-MGF1",
    "ecdsa": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-{}",
}
_NAMES = {"ds": DS, "xades": XADES}


def prepare(content: bytes, wish: Wish) -> tuple[Prepared, None]:
    """What is to be signed (SignedInfo, canonical) for a document, which stays as it is.

    Raises:
        Unfit: no XML that can be signed, or the certificate cannot sign as it is wished.
    """
    raw.certificate_of(wish)
    document = _read(content)
    if next(document.iter(f"{{{DS}}}Signature"), None) is not None:
        raise Unfit("signed-xml")
    signature = _signature(wish, document)
    to_sign = _canonical(signature[0])
    facts = {
        "certificate": b64encode(wish.certificate).decode(),
        "digest_algorithm": wish.digest_algorithm,
        "mechanism": wish.mechanism,
        "signature": etree.tostring(signature, encoding="unicode"),
        "document_digest": hashlib.sha256(content).hexdigest(),
    }
    digest = hashlib.new(wish.digest_algorithm, to_sign).digest()
    return Prepared("xades", b"", to_sign, digest, facts), None


def finish(content: bytes, prepared: Prepared, signature: bytes) -> Edit:
    """The document with the signature as its root's last element, once that has been verified.

    Raises:
        Unfit: it is not one by the certificate over what was to be signed, or the document is not
            the one that was prepared.
    """
    facts = prepared.facts
    certificate, digest_algorithm = b64decode(facts["certificate"]), facts["digest_algorithm"]
    salt = raw.salt_of(
        certificate, facts["mechanism"], digest_algorithm, prepared.to_sign, signature
    )
    raw.check_salt(digest_algorithm, salt)
    if hashlib.sha256(content).hexdigest() != facts["document_digest"]:
        raise Unfit("other-document")
    if facts["mechanism"] == "ecdsa":
        signature = raw.plain(certificate, signature)
    document = _read(content)
    element = _read(facts["signature"].encode()).getroot()
    element[1].text = b64encode(signature).decode()
    document.getroot().append(element)
    if _canonical(element[0]) != prepared.to_sign:
        raise Unfit("unreadable", "namespaces")
    return whole(etree.tostring(document, encoding="UTF-8", xml_declaration=True))


def _read(content: bytes) -> etree._ElementTree:
    """A document without a document type: entities may be bombs, and show readers other things."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        document = etree.ElementTree(etree.fromstring(content, parser))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Unfit("not-xml") from error
    if document.docinfo.internalDTD is not None:
        raise Unfit("not-xml", "DOCTYPE")
    return document


def _signature(wish: Wish, document: etree._ElementTree) -> etree._Element:
    name = f"id-{uuid4().hex}"
    algorithm = wish.digest_algorithm
    signature = etree.Element(f"{{{DS}}}Signature", nsmap=_NAMES, Id=name)
    info = _ds(signature, "SignedInfo")
    _ds(info, "CanonicalizationMethod", Algorithm=_C14N)
    _ds(info, "SignatureMethod", Algorithm=_MECHANISMS[wish.mechanism].format(algorithm))
    _ds(signature, "SignatureValue", Id=f"value-{name}")
    carried = _ds(_ds(signature, "KeyInfo"), "X509Data")
    for der in _carried(wish):
        _ds(carried, "X509Certificate", b64encode(der).decode())
    properties = _properties(signature, wish, name)
    whole_document = _reference(info, algorithm, "", [_ENVELOPED, _C14N], _canonical(document))
    whole_document.set("Id", f"document-{name}")
    signed = _reference(
        info, algorithm, f"#{properties.get('Id')}", [_C14N], _canonical(properties)
    )
    signed.set("Type", _PROPERTIES)
    return signature


def _properties(signature: etree._Element, wish: Wish, name: str) -> etree._Element:
    """What a B-B signature signs beside the document (EN 319 132-1 section 6.3)."""
    qualifying = _xades(_ds(signature, "Object"), "QualifyingProperties", Target=f"#{name}")
    properties = _xades(qualifying, "SignedProperties", Id=f"properties-{name}")
    own = _xades(properties, "SignedSignatureProperties")
    moment = wish.claimed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _xades(own, "SigningTime", moment)
    digest = _xades(_xades(_xades(own, "SigningCertificateV2"), "Cert"), "CertDigest")
    _ds(digest, "DigestMethod", Algorithm=_DIGESTS[wish.digest_algorithm])
    found = hashlib.new(wish.digest_algorithm, wish.certificate).digest()
    _ds(digest, "DigestValue", b64encode(found).decode())
    about = _xades(properties, "SignedDataObjectProperties")
    kind = _xades(about, "DataObjectFormat", ObjectReference=f"#document-{name}")
    _xades(kind, "MimeType", "text/xml")
    return properties


def _reference(
    info: etree._Element, algorithm: str, uri: str, transforms: list[str], octets: bytes
) -> etree._Element:
    reference = _ds(info, "Reference", URI=uri)
    steps = _ds(reference, "Transforms")
    for transform in transforms:
        _ds(steps, "Transform", Algorithm=transform)
    _ds(reference, "DigestMethod", Algorithm=_DIGESTS[algorithm])
    digest = hashlib.new(algorithm, octets).digest()
    _ds(reference, "DigestValue", b64encode(digest).decode())
    return reference


def _carried(wish: Wish) -> list[bytes]:
    chain: list[asn1_x509.Certificate] = [load_certificate(one) for one in wish.chain]
    return [wish.certificate, *(one.dump() for one in chain if one.issuer != one.subject)]


def _canonical(part: etree._Element | etree._ElementTree) -> bytes:
    octets: bytes = etree.tostring(part, method="c14n", exclusive=True, with_comments=False)
    return octets


def _ds(parent: etree._Element, name: str, text: str | None = None, **how: str) -> etree._Element:
    return _child(parent, f"{{{DS}}}{name}", text, how)


def _xades(
    parent: etree._Element, name: str, text: str | None = None, **how: str
) -> etree._Element:
    return _child(parent, f"{{{XADES}}}{name}", text, how)


def _child(
    parent: etree._Element, name: str, text: str | None, how: dict[str, str]
) -> etree._Element:
    element = etree.SubElement(parent, name, how)
    element.text = text
    return element
