"""Signatures in CMS (RFC 5652) and CAdES (EN 319 122-1), attached or detached."""

import hashlib
from collections.abc import Iterator

from asn1crypto import cms

from signature_connector.domain.findings import Refusal
from signature_connector.domain.verification import Material
from signature_connector.verification import cms_archives
from signature_connector.verification.chains import Chains
from signature_connector.verification.cms_data import carried_by
from signature_connector.verification.signature import (
    MOST_SIGNATURES,
    Found,
    Judged,
    attribute,
    certificates_of,
    check_cms,
    claimed_time,
    judge,
    mechanism_of,
    signature_stamps,
    signer_certificate,
)

_OLD_ARCHIVE = "1.2.840.113549.1.9.16.2.48"  # archive-time-stamp-v2 (TS 101 733)


def verify(material: Material, chains: Chains) -> Iterator[Judged]:
    """Each signature of a CMS message.

    Raises:
        Refusal: it is none.
    """
    content = cms.ContentInfo.load(material.content, strict=True)
    if content["content_type"].native != "signed_data":
        raise Refusal("no-signature")
    signed = content["content"]
    signers = list(signed["signer_infos"])
    if not signers:
        raise Refusal("no-signature")
    if len(signers) > MOST_SIGNATURES:
        raise Refusal("too-many-signatures", str(len(signers)))
    for number, signer in enumerate(signers, start=1):
        found = Found(str(number), "cms")

        def check(found: Found = found, signer: cms.SignerInfo = signer) -> None:
            _check(found, signed, signer, material.detached)

        yield judge(found, check, chains, material.at or material.moment)


def _check(
    found: Found, signed: cms.SignedData, signer: cms.SignerInfo, detached: bytes | None
) -> None:
    payload = signed["encap_content_info"]
    embedded = bytes(payload["content"]) if payload["content"].native is not None else None
    if embedded is not None and detached is not None:
        raise Refusal("content-twice")
    content = embedded if embedded is not None else detached
    if content is None:
        raise Refusal("content-missing")
    certificates = certificates_of(signed)
    found.certificate = signer_certificate(signer, certificates)
    found.others = certificates
    found.mechanism = mechanism_of(signer)
    found.value = signer["signature"].native
    found.claimed_at = claimed_time(signer)
    found.carried = carried_by(signed, signer)
    named = attribute(signer, "signing_certificate_v2") or attribute(signer, "signing_certificate")
    if named:
        found.form, found.advanced = "cades", True
    algorithm = str(signer["digest_algorithm"]["algorithm"].native)
    digest = _digest(algorithm, content)
    found.signed_digest = (algorithm, digest)
    check_cms(signer, found.certificate, str(payload["content_type"].native), digest)
    found.good("algorithms-allowed", found.mechanism)
    found.good("intact")
    found.good("covered")
    found.facts["covers"] = ["detached" if embedded is None else "content"]
    found.stamps = signature_stamps(signer)
    archives, unread = cms_archives.stamps(signed, signer, content, found.stamps)
    found.stamps += archives
    if unread or attribute(signer, _OLD_ARCHIVE, signed=False):
        found.named_only()


def _digest(algorithm: str, content: bytes) -> bytes:
    try:
        return hashlib.new(algorithm, content).digest()
    except ValueError as error:
        raise Refusal("weak-algorithm", algorithm) from error
