"""Revocation data that a CMS message brings along."""

from collections.abc import Callable

from asn1crypto import cms, core, crl, ocsp

from signature_connector.domain.assembly import ValidationData
from signature_connector.verification.signature import attribute

_OCSP = "1.3.6.1.5.5.7.16.2"  # RFC 5940
_BASIC_OCSP = "1.3.6.1.5.5.7.48.1.1"  # EN 319 122-1, 5.4.2.2
_REVOCATION_VALUES = "1.2.840.113549.1.9.16.2.24"


def _any(_: bytes) -> bool:
    return True


def carried_by(
    signed: cms.SignedData,
    signer: cms.SignerInfo,
    choices: Callable[[bytes], bool] = _any,
    values: Callable[[bytes], bool] = _any,
) -> ValidationData:
    """Revocation data in the message and among the signature's unsigned attributes.

    Args:
        choices: which of the message's count, by their DER.
        values: which values of unsigned attributes count, by ``value_octets``.
    """
    ocsps, crls = [], []
    for choice in signed["crls"] or ():
        if not choices(choice.dump()):
            continue
        if choice.name == "crl":
            crls.append(choice.chosen.untag().dump())
        elif choice.chosen["other_rev_info_format"].dotted == _OCSP:
            ocsps.append(choice.chosen["other_rev_info"].dump())
        elif choice.chosen["other_rev_info_format"].dotted == _BASIC_OCSP:
            ocsps.append(response(choice.chosen["other_rev_info"].dump()))
    for value in attribute(signer, _REVOCATION_VALUES, signed=False):
        if values(value_octets(_REVOCATION_VALUES, value.dump())):
            more_ocsps, more_crls = _revocation_values(value.dump())
            ocsps += more_ocsps
            crls += more_crls
    return ValidationData((), tuple(ocsps), tuple(crls))


def value_octets(kind: str, value: bytes) -> bytes:
    """A value (DER) of an unsigned attribute with its type (dotted) before it, as an archive
    timestamp's index digests it (EN 319 122-1, 5.5.2)."""
    return bytes(core.ObjectIdentifier(kind).dump() + value)


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
