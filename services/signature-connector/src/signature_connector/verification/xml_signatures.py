"""Signatures in XML: XMLDSig (W3C) and XAdES (EN 319 132-1).

Against signature wrapping: what a reference leads to is looked for once, has to be one element
alone, is digested as it stands there, and is told in the report by its path. Unless that is the
whole document, the outcome is left to whoever asks: what stands elsewhere is not signed. Transforms
are an allow-list that cannot leave out anything but the signature itself.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime

from asn1crypto import x509
from lxml import etree  # has no types of its own

from signature_connector.domain.findings import Refusal, warning
from signature_connector.domain.verification import Material
from signature_connector.verification.chains import Chains
from signature_connector.verification.raw_signatures import HASHES, Scheme, check_value
from signature_connector.verification.signature import MOST_SIGNATURES, Found, Judged, judge
from signature_connector.verification.xml_parts import (
    C14N,
    DS,
    XADES,
    Element,
    canonical,
    decoded,
    one_child,
    parsed,
    qualifying,
    without_signature,
)
from signature_connector.verification.xml_unsigned import certificate_values, read_unsigned

_PROPERTIES = "http://uri.etsi.org/01903#SignedProperties"
_MANIFEST = "http://www.w3.org/2000/09/xmldsig#Manifest"
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_MORE, _MORE07 = (
    "http://www.w3.org/2001/04/xmldsig-more#",
    "http://www.w3.org/2007/05/xmldsig-more#",
)
_ENC = "http://www.w3.org/2001/04/xmlenc#"
_DIGESTS = {
    f"{_ENC}sha256": "sha256",
    f"{_MORE}sha384": "sha384",
    f"{_ENC}sha512": "sha512",
    "http://www.w3.org/2000/09/xmldsig#sha1": "sha1",
}
_SCHEMES = {
    **{f"{_MORE}rsa-{one}": Scheme("rsassa_pkcs1v15", one) for one in HASHES},
    **{f"{_MORE07}{one}-rsa-MGF1": Scheme("rsassa_pss", one) for one in HASHES},
    **{f"{_MORE}ecdsa-{one}": Scheme("ecdsa", one) for one in HASHES},
}
_IDS = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")
_MOST_REFERENCES = 100
_LONGEST_NAME = 200


def verify(material: Material, chains: Chains) -> Iterator[Judged]:
    """Each signature of an XML document.

    Raises:
        Refusal: no XML, or none with signatures.
    """
    root = parsed(material.content)
    signatures = list(root.iter(f"{DS}Signature"))
    if not signatures:
        raise Refusal("no-signature")
    if len(signatures) > MOST_SIGNATURES:
        raise Refusal("too-many-signatures", str(len(signatures)))
    named = _named(root)
    for number, signature in enumerate(signatures, start=1):
        found = Found((signature.get("Id") or str(number))[:_LONGEST_NAME], "xmldsig")

        def check(found: Found = found, signature: Element = signature) -> None:
            _Signature(found, root, signature, material.detached, named).check()

        yield judge(found, check, chains, material.at or material.moment)


def _named(root: Element) -> dict[str, list[Element]]:
    """The elements that references name, by identifier: looked through once for all of them."""
    wanted = {one.get("URI", "")[1:] for one in root.iter(f"{DS}Reference")}
    found: dict[str, list[Element]] = {}
    for one in root.iter(etree.Element):
        for identifier in wanted.intersection(one.get(name) for name in _IDS):
            found.setdefault(identifier, []).append(one)
    return found


def check_only_signed(sent: bytes, content: bytes) -> None:
    """Refuse a document that is not the one sent with one signature in it, and nothing else.

    Comments, processing instructions and declared namespaces are compared too, whatever the
    signature leaves out; what a parser cannot see (quotes, order of attributes) is not.

    Raises:
        Refusal: it is another, it is not signed, or more was added.
    """
    before, after = parsed(sent), parsed(content)
    signatures = list(after.iter(f"{DS}Signature"))
    if not signatures:
        raise Refusal("unsigned")
    if len(signatures) > 1:
        raise Refusal("several-signatures", str(len(signatures)))
    (signature,) = signatures
    if signature.getparent() is None:
        raise Refusal("other-document", "enveloping")
    rest = without_signature(after, signature, after)
    if _whole(before) != _whole(rest):
        raise Refusal("other-document")
    if not all(qualifying(one) for one in signature.findall(f"{DS}Object")):
        raise Refusal("extra-update", "Object")


def _whole(root: Element) -> bytes:
    return bytes(etree.tostring(root.getroottree(), method="c14n", with_comments=True))


class _Signature:
    """One signature of a document."""

    def __init__(
        self,
        found: Found,
        root: Element,
        signature: Element,
        detached: bytes | None,
        named: dict[str, list[Element]],
    ) -> None:
        self._found = found
        self._root = root
        self._signature = signature
        self._detached = detached
        self._named = named
        self._properties: Element | None = None

    def check(self) -> None:
        """Find out whether it fits its content; see ``signature.judge``."""
        found, signature = self._found, self._signature
        info = one_child(signature, "SignedInfo")
        scheme = _scheme(one_child(info, "SignatureMethod").get("Algorithm"))
        found.mechanism = str(scheme)
        found.value = decoded(one_child(signature, "SignatureValue"))
        self._read_properties()
        certificates = [
            x509.Certificate.load(decoded(one), strict=True)
            for one in signature.findall(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
        ]
        found.others = [*certificates, *certificate_values(signature)]
        found.certificate = self._signer(certificates)
        method = one_child(info, "CanonicalizationMethod")
        signed = canonical(info, method)
        check_value(found.certificate, scheme, found.value, signed)
        self._check_references(info)
        found.good("algorithms-allowed", found.mechanism)
        found.good("intact")
        read_unsigned(found, signature, self._referenced)

    # What is signed.

    def _check_references(self, info: Element) -> None:
        references = info.findall(f"{DS}Reference")
        if not 0 < len(references) <= _MOST_REFERENCES:
            raise Refusal("signature-unreadable", "references")
        covers: list[str] = []
        whole, properties = False, False
        for reference in references:
            kind = reference.get("Type")
            if kind == _MANIFEST:
                raise Refusal("signature-unsupported", "manifest")
            target = self._target(reference)
            self._check_digest(reference, target)
            if kind == _PROPERTIES or (
                target is not None and target.tag == f"{XADES}SignedProperties"
            ):
                if target is not self._properties:
                    raise Refusal("reference-ambiguous", "signed properties")
                properties = True
                continue
            if target is not None and self._within_key_info(target):
                continue
            covers.append(self._told(reference, target))
            whole = whole or self._is_whole(target)
        if not covers:
            raise Refusal("not-covered", "no reference to content")
        if self._properties is not None and not properties:
            raise Refusal("not-covered", "signed properties")
        self._found.advanced = properties and self._named_certificate() is not None
        self._found.form = "xades" if self._properties is not None else "xmldsig"
        self._found.facts["covers"] = covers
        if whole:
            self._found.good("covered")
        else:
            self._found.findings.append(warning("part-signed"))

    def _target(self, reference: Element) -> Element | None:
        """The element that a reference leads to; None: what was given beside the document."""
        uri = reference.get("URI")
        if uri == "":
            return self._root
        if uri is None or not uri.startswith("#"):
            if self._detached is None:
                raise Refusal("content-missing")
            return None
        if not uri[1:] or uri.startswith("#xpointer"):
            raise Refusal("signature-unsupported", "xpointer")
        hits = self._named.get(uri[1:], [])
        if len(hits) != 1:
            raise Refusal("reference-ambiguous", str(len(hits)))
        return hits[0]

    def _check_digest(self, reference: Element, target: Element | None) -> None:
        method = one_child(reference, "DigestMethod").get("Algorithm")
        algorithm = _DIGESTS.get(method)
        if algorithm is None or algorithm == "sha1":
            raise Refusal("weak-algorithm", algorithm or "digest")
        digest = hashlib.new(algorithm, self._octets(reference, target)).digest()
        if digest != decoded(one_child(reference, "DigestValue")):
            raise Refusal("digest-mismatch")
        if self._found.signed_digest is None:
            self._found.signed_digest = (algorithm, digest)

    def _octets(
        self, reference: Element, target: Element | None, method: Element | None = None
    ) -> bytes:
        """What a reference leads to.

        Args:
            method: how elements are canonicalised where the reference does not say.
        """
        transforms = reference.findall(f"{DS}Transforms/{DS}Transform")
        if target is not None:
            uri = reference.get("URI")
            return self._transformed(target, transforms, uri=uri, method=method)
        if transforms:
            raise Refusal("transform-refused", "detached")
        return self._detached or b""

    def _referenced(self, reference: Element, method: Element | None) -> bytes:
        return self._octets(reference, self._target(reference), method)

    def _transformed(
        self, target: Element, transforms: list[Element], *, uri: str, method: Element | None
    ) -> bytes:
        listed: Element | None = None
        enveloped = False
        for transform in transforms:
            algorithm = transform.get("Algorithm")
            if algorithm == _ENVELOPED and listed is None:
                enveloped = True
            elif algorithm in C14N and listed is None:
                listed = transform
            else:
                raise Refusal("transform-refused", "not on the list")
        if enveloped:
            target = without_signature(self._root, self._signature, target)
        # Of a whole document what stands beside the root counts as well.
        whole = target.getroottree() if uri == "" else target
        return canonical(whole, method if listed is None else listed)

    def _is_whole(self, target: Element | None) -> bool:
        if target is None or target is self._root:
            return True
        if self._signature is not self._root:
            return False
        # An enveloping signature: its objects are what it is about.
        objects = [one for one in self._root.findall(f"{DS}Object") if not qualifying(one)]
        return len(objects) == 1 and (
            target is objects[0] or (len(objects[0]) == 1 and target is objects[0][0])
        )

    def _within_key_info(self, target: Element) -> bool:
        info = self._signature.find(f"{DS}KeyInfo")
        return info is not None and target is info

    def _told(self, reference: Element, target: Element | None) -> str:
        if target is None:
            return "detached"
        path: str = target.getroottree().getpath(target)
        return "document" if target is self._root else path

    # Who signed.

    def _read_properties(self) -> None:
        found = self._signature.findall(
            f"{DS}Object/{XADES}QualifyingProperties/{XADES}SignedProperties"
        )
        if len(found) > 1:
            raise Refusal("reference-ambiguous", "signed properties")
        self._properties = found[0] if found else None
        if self._properties is None:
            return
        time = self._properties.findtext(f"{XADES}SignedSignatureProperties/{XADES}SigningTime")
        if time:
            claimed = datetime.fromisoformat(time.strip())
            self._found.claimed_at = claimed if claimed.tzinfo else None

    def _named_certificate(self) -> tuple[str, bytes] | None:
        if self._properties is None:
            return None
        own = self._properties.find(f"{XADES}SignedSignatureProperties")
        for name in ("SigningCertificateV2", "SigningCertificate"):
            if own is None:
                return None
            cert = own.find(f"{XADES}{name}/{XADES}Cert/{XADES}CertDigest")
            if cert is not None:
                algorithm = _DIGESTS.get(one_child(cert, "DigestMethod").get("Algorithm"))
                return algorithm or "", decoded(one_child(cert, "DigestValue"))
        return None

    def _signer(self, certificates: list[x509.Certificate]) -> x509.Certificate:
        if not certificates:
            raise Refusal("signer-certificate-missing")
        named = self._named_certificate()
        if named is None:
            issuers = {one.issuer.hashable for one in certificates if one.issuer != one.subject}
            leaves = [one for one in certificates if one.subject.hashable not in issuers]
            return leaves[0] if leaves else certificates[0]
        algorithm, digest = named
        for one in certificates:
            if algorithm and hashlib.new(algorithm, one.dump()).digest() == digest:
                return one
        raise Refusal("signer-certificate-swapped")


def _scheme(algorithm: str | None) -> Scheme:
    scheme = _SCHEMES.get(algorithm or "")
    if scheme is None:
        raise Refusal("weak-algorithm", (algorithm or "").rpartition("#")[2][:40] or None)
    return scheme
