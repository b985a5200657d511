"""What was added to a signature in XML after it was made: timestamps and data for validation
(XAdES, EN 319 132-1, 5.3 to 5.5)."""

import hashlib
from collections.abc import Callable, Iterator

from asn1crypto import ocsp, x509
from lxml import etree  # has no types of its own

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal
from signature_connector.verification.signature import Found, Stamped, check_count, read_so_far
from signature_connector.verification.xml_parts import (
    DS,
    XADES,
    XADES141,
    Element,
    canonical,
    decoded,
    one_child,
    qualifying,
)

Referenced = Callable[[Element, Element | None], bytes]
"""What a reference leads to, canonicalised by a method where the reference does not say."""


def certificate_values(signature: Element) -> list[x509.Certificate]:
    """Further certificates that came with a signature."""
    unsigned = _unsigned(signature)
    if unsigned is None:
        return []
    values = f"{XADES}CertificateValues/{XADES}EncapsulatedX509Certificate"
    return [
        x509.Certificate.load(decoded(one), strict=True)
        for place in (unsigned, *unsigned.iterfind(f"{XADES141}TimeStampValidationData"))
        for one in place.iterfind(values)
    ]


def read_unsigned(found: Found, signature: Element, referenced: Referenced) -> None:
    """Timestamps and revocation data, in the order in which they were added."""
    ocsps: list[bytes] = []
    crls: list[bytes] = []
    unsigned = _unsigned(signature)
    for part in unsigned if unsigned is not None else ():
        if part.tag == f"{XADES}SignatureTimeStamp":
            _add_stamps(found, part, _imprint(signature, part))
        elif part.tag == f"{XADES141}ArchiveTimeStamp" and _implicit(part):
            so_far = read_so_far(ocsps, crls)
            _add_stamps(found, part, _archive_imprint(signature, part, referenced), so_far)
        elif part.tag in (f"{XADES}ArchiveTimeStamp", f"{XADES141}ArchiveTimeStamp"):
            found.named_only()
        elif part.tag in (f"{XADES}RevocationValues", f"{XADES141}TimeStampValidationData"):
            _read_revocation(part, ocsps, crls)
    found.carried = ValidationData((), tuple(ocsps), tuple(crls))


def _unsigned(signature: Element) -> Element | None:
    return signature.find(
        f"{DS}Object/{XADES}QualifyingProperties/{XADES}UnsignedProperties/"
        f"{XADES}UnsignedSignatureProperties"
    )


def _add_stamps(
    found: Found,
    part: Element,
    imprint: Callable[[str], bytes],
    archived: Callable[[], ValidationData] | None = None,
) -> None:
    """Tokens of one container are over the same, and not over one another."""
    before = range(len(found.stamps))
    for token in part.iterfind(f"{XADES}EncapsulatedTimeStamp"):
        check_count(len(found.stamps) + 1)
        found.stamps.append(
            Stamped(decoded(token), imprint)
            if archived is None
            else Stamped(decoded(token), imprint, "archive", before, archived)
        )


def _imprint(signature: Element, stamp: Element) -> Callable[[str], bytes]:
    value = one_child(signature, "SignatureValue")
    method = stamp.find(f"{DS}CanonicalizationMethod")

    def imprint(algorithm: str) -> bytes:
        return hashlib.new(algorithm, canonical(value, method)).digest()

    return imprint


def _archive_imprint(
    signature: Element, stamp: Element, referenced: Referenced
) -> Callable[[str], bytes]:
    """Over all that was there before it (EN 319 132-1, 5.5.2.2)."""

    def imprint(algorithm: str) -> bytes:
        digest = hashlib.new(algorithm)
        for octets in _archived(signature, stamp, referenced):
            digest.update(octets)
        return digest.digest()

    return imprint


def _archived(signature: Element, stamp: Element, referenced: Referenced) -> Iterator[bytes]:
    """What the references lead to, what XMLDSig made, what was added before, the objects."""
    method = stamp.find(f"{DS}CanonicalizationMethod")
    if len(signature.findall(f"{DS}Object/{XADES}QualifyingProperties")) != 1:
        raise Refusal("reference-ambiguous", "qualifying properties")
    info = one_child(signature, "SignedInfo")
    for reference in info.findall(f"{DS}Reference"):
        yield referenced(reference, method)
    yield canonical(info, method)
    yield canonical(one_child(signature, "SignatureValue"), method)
    if signature.find(f"{DS}KeyInfo") is not None:
        yield canonical(one_child(signature, "KeyInfo"), method)
    for before in reversed(list(stamp.itersiblings(etree.Element, preceding=True))):
        yield canonical(before, method)
    for one in signature.findall(f"{DS}Object"):
        if not qualifying(one):
            yield canonical(one, method)


def _implicit(stamp: Element) -> bool:
    """Whether it is over everything before it, rather than over what it lists itself."""
    known = (f"{DS}CanonicalizationMethod", f"{XADES}EncapsulatedTimeStamp")
    return all(one.tag in known for one in stamp.iterchildren(etree.Element))


def _read_revocation(part: Element, ocsps: list[bytes], crls: list[bytes]) -> None:
    name = f"{XADES}RevocationValues"
    for place in [part] if part.tag == name else part.iterfind(name):
        told = place.iterfind(f"{XADES}OCSPValues/{XADES}EncapsulatedOCSPValue")
        ocsps += [der for one in told if _is_ocsp(der := decoded(one))]
        lists = place.iterfind(f"{XADES}CRLValues/{XADES}EncapsulatedCRLValue")
        crls += [decoded(one) for one in lists]


def _is_ocsp(der: bytes) -> bool:
    return bool(ocsp.OCSPResponse.load(der)["response_status"].native == "successful")
