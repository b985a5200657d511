"""Signatures in CMS (RFC 5652) and CAdES (EN 319 122-1), attached or detached."""

import hashlib
from collections.abc import Iterator

from asn1crypto import cms, core, crl, ocsp

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, warning
from signature_connector.domain.verification import Material
from signature_connector.verification.chains import Chains
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

_OCSP = "1.3.6.1.5.5.7.16.2"  # RFC 5940
_REVOCATION_VALUES = "1.2.840.113549.1.9.16.2.24"
_ARCHIVE = ("0.4.0.1733.2.4", "1.2.840.113549.1.9.16.2.48")


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
    if any(attribute(signer, name, signed=False) for name in _ARCHIVE):
        found.findings.append(warning("timestamp-unchecked", "archive"))


def _digest(algorithm: str, content: bytes) -> bytes:
    try:
        return hashlib.new(algorithm, content).digest()
    except ValueError as error:
        raise Refusal("weak-algorithm", algorithm) from error


def carried_by(signed: cms.SignedData, signer: cms.SignerInfo) -> ValidationData:
    """Revocation data in the message and among the signature's unsigned attributes."""
    ocsps, crls = [], []
    for choice in signed["crls"] or ():
        if choice.name == "crl":
            crls.append(choice.chosen.untag().dump())
        elif choice.chosen["other_rev_info_format"].dotted == _OCSP:
            ocsps.append(choice.chosen["other_rev_info"].dump())
    for value in attribute(signer, _REVOCATION_VALUES, signed=False):
        more_ocsps, more_crls = _revocation_values(value.dump())
        ocsps += more_ocsps
        crls += more_crls
    return ValidationData((), tuple(ocsps), tuple(crls))


class _CRLs(core.SequenceOf):  # type: ignore[misc]  # asn1crypto has no types
    _child_spec = crl.CertificateList


class _OCSPs(core.SequenceOf):  # type: ignore[misc]  # asn1crypto has no types
    _child_spec = ocsp.BasicOCSPResponse


class _RevocationValues(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """RFC 5126, 6.3.4."""

    _fields = (
        ("crl_vals", _CRLs, {"explicit": 0, "optional": True}),
        ("ocsp_vals", _OCSPs, {"explicit": 1, "optional": True}),
        ("other_rev_vals", core.Any, {"explicit": 2, "optional": True}),
    )


def _revocation_values(der: bytes) -> tuple[list[bytes], list[bytes]]:
    values = _RevocationValues.load(der)
    ocsps = [response(one.dump()) for one in (values["ocsp_vals"] or ())]
    crls = [one.dump() for one in (values["crl_vals"] or ())]
    return ocsps, crls


def response(basic: bytes) -> bytes:
    """A BasicOCSPResponse as the OCSPResponse that carries it."""
    return bytes(
        ocsp.OCSPResponse(
            {
                "response_status": "successful",
                "response_bytes": {
                    "response_type": "basic_ocsp_response",
                    "response": ocsp.BasicOCSPResponse.load(basic),
                },
            }
        ).dump()
    )
