"""Signatures in XML: XMLDSig (W3C) and XAdES (EN 319 132-1).

Against signature wrapping: what a reference leads to is looked for once, has to be one element
alone, is digested as it stands there, and is told in the report by its path. Unless that is the
whole document, the outcome is left to whoever asks: what stands elsewhere is not signed. Transforms
are an allow-list that cannot leave out anything but the signature itself.
"""

import base64
import copy
import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from asn1crypto import ocsp, x509
from lxml import etree  # has no types of its own

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, warning
from signature_connector.domain.verification import Material
from signature_connector.verification.chains import Chains
from signature_connector.verification.raw_signatures import HASHES, Scheme, check_value
from signature_connector.verification.signature import (
    MOST_SIGNATURES,
    Found,
    Judged,
    Stamped,
    check_count,
    judge,
    read_so_far,
)

DS = "{http://www.w3.org/2000/09/xmldsig#}"
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
XADES141 = "{http://uri.etsi.org/01903/v1.4.1#}"
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
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_C14N = {
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": (False, False),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments": (False, True),
    "http://www.w3.org/2006/12/xml-c14n11": (False, False),
    "http://www.w3.org/2006/12/xml-c14n11#WithComments": (False, True),
    _EXCLUSIVE: (True, False),
    f"{_EXCLUSIVE}WithComments": (True, True),
}
"""Exclusive, with comments. Of 1.1 the two differ only in ``xml:base`` and ``xml:id``."""
_DEFAULT_C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_IDS = ("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")
_MOST_REFERENCES = 100
_LONGEST_NAME = 200
_DEEPEST = 200

Element = Any  # lxml has no types


def verify(material: Material, chains: Chains) -> Iterator[Judged]:
    """Each signature of an XML document.

    Raises:
        Refusal: no XML, or none with signatures.
    """
    root = _parsed(material.content)
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
    before, after = _parsed(sent), _parsed(content)
    signatures = list(after.iter(f"{DS}Signature"))
    if not signatures:
        raise Refusal("unsigned")
    if len(signatures) > 1:
        raise Refusal("several-signatures", str(len(signatures)))
    (signature,) = signatures
    if signature.getparent() is None:
        raise Refusal("other-document", "enveloping")
    without = _without(after, signature, after)
    if _whole(before) != _whole(without):
        raise Refusal("other-document")
    if not all(_qualifying(one) for one in signature.findall(f"{DS}Object")):
        raise Refusal("extra-update", "Object")


def _whole(root: Element) -> bytes:
    return bytes(etree.tostring(root.getroottree(), method="c14n", with_comments=True))


def _parsed(content: bytes) -> Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_pis=False,
        collect_ids=False,
    )
    root = etree.fromstring(content, parser)
    if root.getroottree().docinfo.doctype:
        raise Refusal("unreadable", "document type declaration")
    depth, here = 0, 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        here += 1 if event == "start" else -1
        depth = max(depth, here)
    if depth > _DEEPEST:
        raise Refusal("unreadable", "depth")
    return root


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
        info = _one(signature, "SignedInfo")
        scheme = _scheme(_one(info, "SignatureMethod").get("Algorithm"))
        found.mechanism = str(scheme)
        found.value = _decoded(_one(signature, "SignatureValue"))
        self._read_properties()
        certificates = [
            x509.Certificate.load(_decoded(one), strict=True)
            for one in signature.findall(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate")
        ]
        found.others = [*certificates, *self._certificate_values()]
        found.certificate = self._signer(certificates)
        method = _one(info, "CanonicalizationMethod")
        signed = _canonical(info, method)
        check_value(found.certificate, scheme, found.value, signed)
        self._check_references(info)
        found.good("algorithms-allowed", found.mechanism)
        found.good("intact")
        self._unsigned_properties()

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
        method = _one(reference, "DigestMethod").get("Algorithm")
        algorithm = _DIGESTS.get(method)
        if algorithm is None or algorithm == "sha1":
            raise Refusal("weak-algorithm", algorithm or "digest")
        digest = hashlib.new(algorithm, self._octets(reference, target)).digest()
        if digest != _decoded(_one(reference, "DigestValue")):
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

    def _transformed(
        self, target: Element, transforms: list[Element], *, uri: str, method: Element | None
    ) -> bytes:
        canonical: Element | None = None
        without_signature = False
        for transform in transforms:
            algorithm = transform.get("Algorithm")
            if algorithm == _ENVELOPED and canonical is None:
                without_signature = True
            elif algorithm in _C14N and canonical is None:
                canonical = transform
            else:
                raise Refusal("transform-refused", "not on the list")
        if without_signature:
            target = _without(self._root, self._signature, target)
        # Of a whole document what stands beside the root counts as well.
        whole = target.getroottree() if uri == "" else target
        return _canonical(whole, method if canonical is None else canonical)

    def _is_whole(self, target: Element | None) -> bool:
        if target is None or target is self._root:
            return True
        if self._signature is not self._root:
            return False
        # An enveloping signature: its objects are what it is about.
        objects = [one for one in self._root.findall(f"{DS}Object") if not _qualifying(one)]
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
                algorithm = _DIGESTS.get(_one(cert, "DigestMethod").get("Algorithm"))
                return algorithm or "", _decoded(_one(cert, "DigestValue"))
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

    # What was added later.

    def _unsigned(self) -> Element | None:
        return self._signature.find(
            f"{DS}Object/{XADES}QualifyingProperties/{XADES}UnsignedProperties/"
            f"{XADES}UnsignedSignatureProperties"
        )

    def _certificate_values(self) -> list[x509.Certificate]:
        unsigned = self._unsigned()
        if unsigned is None:
            return []
        values = f"{XADES}CertificateValues/{XADES}EncapsulatedX509Certificate"
        return [
            x509.Certificate.load(_decoded(one), strict=True)
            for place in (unsigned, *unsigned.iterfind(f"{XADES141}TimeStampValidationData"))
            for one in place.iterfind(values)
        ]

    def _unsigned_properties(self) -> None:
        """Timestamps and revocation data, in the order in which they were added."""
        ocsps: list[bytes] = []
        crls: list[bytes] = []
        unsigned = self._unsigned()
        for part in unsigned if unsigned is not None else ():
            if part.tag == f"{XADES}SignatureTimeStamp":
                self._add_stamps(part, self._imprint(part))
            elif part.tag == f"{XADES141}ArchiveTimeStamp" and _implicit(part):
                so_far = read_so_far(ocsps, crls)
                self._add_stamps(part, self._archive_imprint(part), so_far)
            elif part.tag in (f"{XADES}ArchiveTimeStamp", f"{XADES141}ArchiveTimeStamp"):
                self._found.named_only()
            elif part.tag in (f"{XADES}RevocationValues", f"{XADES141}TimeStampValidationData"):
                _read_revocation(part, ocsps, crls)
        self._found.carried = ValidationData((), tuple(ocsps), tuple(crls))

    def _add_stamps(
        self,
        part: Element,
        imprint: Callable[[str], bytes],
        archived: Callable[[], ValidationData] | None = None,
    ) -> None:
        """Tokens of one container are over the same, and not over one another."""
        before = range(len(self._found.stamps))
        for token in part.iterfind(f"{XADES}EncapsulatedTimeStamp"):
            check_count(len(self._found.stamps) + 1)
            self._found.stamps.append(
                Stamped(_decoded(token), imprint)
                if archived is None
                else Stamped(_decoded(token), imprint, "archive", before, archived)
            )

    def _imprint(self, stamp: Element) -> Callable[[str], bytes]:
        value = _one(self._signature, "SignatureValue")
        method = stamp.find(f"{DS}CanonicalizationMethod")

        def imprint(algorithm: str) -> bytes:
            return hashlib.new(algorithm, _canonical(value, method)).digest()

        return imprint

    def _archive_imprint(self, stamp: Element) -> Callable[[str], bytes]:
        """Over all that was there before it (EN 319 132-1, 5.5.2.2)."""

        def imprint(algorithm: str) -> bytes:
            digest = hashlib.new(algorithm)
            for octets in self._archived(stamp):
                digest.update(octets)
            return digest.digest()

        return imprint

    def _archived(self, stamp: Element) -> Iterator[bytes]:
        """What the references lead to, what XMLDSig made, what was added before, the objects."""
        signature, method = self._signature, stamp.find(f"{DS}CanonicalizationMethod")
        if len(signature.findall(f"{DS}Object/{XADES}QualifyingProperties")) != 1:
            raise Refusal("reference-ambiguous", "qualifying properties")
        info = _one(signature, "SignedInfo")
        for reference in info.findall(f"{DS}Reference"):
            yield self._octets(reference, self._target(reference), method)
        yield _canonical(info, method)
        yield _canonical(_one(signature, "SignatureValue"), method)
        if signature.find(f"{DS}KeyInfo") is not None:
            yield _canonical(_one(signature, "KeyInfo"), method)
        for before in reversed(list(stamp.itersiblings(etree.Element, preceding=True))):
            yield _canonical(before, method)
        for one in signature.findall(f"{DS}Object"):
            if not _qualifying(one):
                yield _canonical(one, method)


def _implicit(stamp: Element) -> bool:
    """Whether it is over everything before it, rather than over what it lists itself."""
    known = (f"{DS}CanonicalizationMethod", f"{XADES}EncapsulatedTimeStamp")
    return all(one.tag in known for one in stamp.iterchildren(etree.Element))


def _read_revocation(part: Element, ocsps: list[bytes], crls: list[bytes]) -> None:
    name = f"{XADES}RevocationValues"
    for place in [part] if part.tag == name else part.iterfind(name):
        told = place.iterfind(f"{XADES}OCSPValues/{XADES}EncapsulatedOCSPValue")
        ocsps += [der for one in told if _is_ocsp(der := _decoded(one))]
        lists = place.iterfind(f"{XADES}CRLValues/{XADES}EncapsulatedCRLValue")
        crls += [_decoded(one) for one in lists]


def _is_ocsp(der: bytes) -> bool:
    return bool(ocsp.OCSPResponse.load(der)["response_status"].native == "successful")


def _qualifying(element: Element) -> bool:
    return element.find(f"{XADES}QualifyingProperties") is not None


def _one(parent: Element, name: str) -> Element:
    """The only child of a name."""
    found = parent.findall(f"{DS}{name}")
    if len(found) != 1:
        raise Refusal("signature-unreadable", name)
    return found[0]


def _decoded(element: Element) -> bytes:
    if len(element):
        raise Refusal("signature-unreadable", "base64")
    return base64.b64decode("".join((element.text or "").split()), validate=True)


def _scheme(algorithm: str | None) -> Scheme:
    scheme = _SCHEMES.get(algorithm or "")
    if scheme is None:
        raise Refusal("weak-algorithm", (algorithm or "").rpartition("#")[2][:40] or None)
    return scheme


def _canonical(node: Element, method: Element | None) -> bytes:
    algorithm = _DEFAULT_C14N if method is None else method.get("Algorithm")
    if algorithm not in _C14N:
        raise Refusal("transform-refused", "canonicalisation")
    exclusive, comments = _C14N[algorithm]
    prefixes = None
    if method is not None and exclusive:
        listed = method.find(f"{{{_EXCLUSIVE}}}InclusiveNamespaces")
        prefixes = listed.get("PrefixList", "").split() if listed is not None else None
    return bytes(
        etree.tostring(
            node,
            method="c14n",
            exclusive=exclusive,
            with_comments=comments,
            inclusive_ns_prefixes=prefixes,
        )
    )


def _without(root: Element, signature: Element, target: Element) -> Element:
    """The target in a copy of the document that lacks the signature."""
    tree = root.getroottree()
    own, wanted = tree.getelementpath(signature), tree.getelementpath(target)
    copied = copy.deepcopy(tree)
    removed, found = copied.find(own), copied.find(wanted)
    parent = removed.getparent()
    if parent is None or found is removed or removed in found.iterancestors():
        raise Refusal("transform-refused", "enveloped")
    before = removed.getprevious()
    tail = removed.tail or ""
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    parent.remove(removed)
    return found
