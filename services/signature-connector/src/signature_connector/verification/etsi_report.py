"""The report of a verification in XML, by ETSI TS 119 102-2."""

from collections.abc import Sequence
from datetime import UTC, datetime

from asn1crypto import x509
from pyhanko.generated.etsi import ts_11910202 as vr
from pyhanko.generated.etsi import xades
from pyhanko.generated.w3c import xmldsig_core as ds
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.models.datatype import XmlDateTime

from signature_connector.domain.verification import Indication, Material
from signature_connector.verification.policies import Policy
from signature_connector.verification.signature import Judged, signer_of

_URN = "urn:etsi:019102"
_DIGESTS = {
    "sha1": "http://www.w3.org/2000/09/xmldsig#sha1",
    "sha224": "http://www.w3.org/2001/04/xmldsig-more#sha224",
    "sha256": "http://www.w3.org/2001/04/xmlenc#sha256",
    "sha384": "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "sha512": "http://www.w3.org/2001/04/xmlenc#sha512",
    "sha3_256": "http://www.w3.org/2007/05/xmldsig-more#sha3-256",
    "sha3_384": "http://www.w3.org/2007/05/xmldsig-more#sha3-384",
    "sha3_512": "http://www.w3.org/2007/05/xmldsig-more#sha3-512",
}
_NAMESPACES = {
    "vr": "http://uri.etsi.org/19102/v1.2.1#",
    "XAdES": "http://uri.etsi.org/01903/v1.3.2#",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
_PROCESSES = {"B-B": "Basic", "B-T": "LTVM", "B-LT": "LTVM", "B-LTA": "LTA"}


def written(
    judged: Sequence[Judged],
    overall: tuple[Indication, str | None],
    policy: Policy | None,
    material: Material,
) -> bytes:
    """The report.

    Args:
        overall: what is said of a document without a signature that could be judged.

    Returns:
        XML in UTF-8. Certificates stand in it with their digests; in full, and with the signer's
        name, only where the report may name signers.
    """
    at = material.at or material.moment
    reports = tuple(_signature(one, policy, material, at) for one in judged)
    if not reports:
        reports = (
            vr.SignatureValidationReportType(
                validation_constraints_evaluation_report=_policy(policy),
                validation_time_info=vr.ValidationTimeInfoType(validation_time=_time(at)),
                signature_validation_status=_status(*overall),
            ),
        )
    certificates = {
        one.sha256: one
        for signature in judged
        for one in (
            *(signature.chain.certificates if signature.chain else ()),
            *([signature.found.certificate] if signature.found.certificate else ()),
        )
    }
    objects = tuple(_certificate(one, names=material.names) for one in certificates.values())
    report = vr.ValidationReport(
        signature_validation_report=reports,
        signature_validation_objects=(
            vr.ValidationObjectListType(validation_object=objects) if objects else None
        ),
    )
    text: str = XmlSerializer().render(report, ns_map=dict(_NAMESPACES))
    return text.encode("utf-8")


def _signature(
    one: Judged, policy: Policy | None, material: Material, at: datetime
) -> vr.SignatureValidationReportType:
    found = one.found
    poe = vr.POEType(poetime=_time(one.best_time), type_of_proof=f"{_URN}:poetype:validation")
    signer = None
    if found.certificate is not None:
        told = signer_of(found.certificate, names=material.names)
        signer = vr.SignerInformationType(
            signer_certificate=_reference(found.certificate), signer=_text(told["name"])
        )
    process = _PROCESSES.get(one.level or "", "Basic")
    return vr.SignatureValidationReportType(
        signature_identifier=_identifier(one),
        validation_constraints_evaluation_report=_policy(policy),
        validation_time_info=vr.ValidationTimeInfoType(
            validation_time=_time(at), best_signature_time=poe if one.proven else None
        ),
        signers_document=(
            vr.SignersDocumentType(digest_alg_and_value=_digest(*found.signed_digest))
            if found.signed_digest and found.signed_digest[0] in _DIGESTS
            else None
        ),
        signature_attributes=(
            vr.SignatureAttributesType(
                signing_time=(vr.SASigningTimeType(signed=True, time=_time(found.claimed_at)),)
            )
            if found.claimed_at
            else None
        ),
        signer_information=signer,
        signature_validation_process=vr.SignatureValidationProcessType(
            signature_validation_process_id=f"{_URN}:validationprocess:{process}"
        ),
        signature_validation_status=_status(one.indication, one.sub_indication, one),
    )


def _identifier(one: Judged) -> vr.SignatureIdentifierType | None:
    found = one.found
    if not found.value or not found.signed_digest or found.signed_digest[0] not in _DIGESTS:
        return None
    return vr.SignatureIdentifierType(
        digest_alg_and_value=_digest(*found.signed_digest),
        signature_value=ds.SignatureValue(found.value),
        hash_only=False,
        doc_hash_only=False,
    )


def _status(
    indication: Indication, sub: str | None, one: Judged | None = None
) -> vr.ValidationStatusType:
    chain = one.chain.certificates if one and one.chain else []
    data: tuple[vr.ValidationReportDataType, ...] = ()
    if chain:
        data = (
            vr.ValidationReportDataType(
                trust_anchor=_reference(chain[-1]),
                certificate_chain=vr.CertificateChainType(
                    signing_certificate=_reference(chain[0]),
                    intermediate_certificate=tuple(_reference(other) for other in chain[1:-1]),
                    trust_anchor=_reference(chain[-1]),
                ),
            ),
        )
    return vr.ValidationStatusType(
        main_indication=f"{_URN}:mainindication:{indication.lower()}",
        sub_indication=(f"{_URN}:subindication:{sub}",) if sub else (),
        associated_validation_report_data=data,
    )


def _policy(policy: Policy | None) -> vr.ValidationConstraintsEvaluationReportType | None:
    if policy is None:
        return None
    return vr.ValidationConstraintsEvaluationReportType(
        signature_validation_policy=vr.SignatureValidationPolicyType(
            signature_policy_identifier=xades.SignaturePolicyIdentifierType(
                signature_policy_id=xades.SignaturePolicyIdType(
                    sig_policy_id=xades.ObjectIdentifierType(
                        identifier=xades.IdentifierType(
                            value=f"urn:lienthong:trust-policy:{policy.name}:{policy.version}"
                        )
                    ),
                    sig_policy_hash=_digest("sha256", policy.digest()),
                )
            ),
            policy_name=f"{policy.name} {policy.version} ({policy.effective_from})",
        )
    )


def _certificate(one: x509.Certificate, *, names: bool) -> vr.ValidationObjectType:
    representation = (
        vr.ValidationObjectRepresentationType(base64=one.dump())
        if names or one.ca
        else vr.ValidationObjectRepresentationType(
            digest_alg_and_value=_digest("sha256", one.sha256)
        )
    )
    return vr.ValidationObjectType(
        id=_id(one),
        object_type=f"{_URN}:validationObject:certificate",
        validation_object_representation=representation,
    )


def _reference(one: x509.Certificate) -> vr.VOReferenceType:
    return vr.VOReferenceType(voreference=(_id(one),))


def _id(one: x509.Certificate) -> str:
    return f"vo-certificate-{one.sha256.hex()}"


def _digest(algorithm: str, value: bytes) -> xades.DigestAlgAndValueType:
    return xades.DigestAlgAndValueType(
        digest_method=ds.DigestMethod(algorithm=_DIGESTS[algorithm]),
        digest_value=ds.DigestValue(value),
    )


def _text(told: str | None) -> str | None:
    """Of characters that XML can hold: names in certificates are of any."""
    return told and "".join(one if one.isprintable() else "?" for one in told)


def _time(moment: datetime) -> XmlDateTime:
    return XmlDateTime.from_datetime(moment.astimezone(UTC))
