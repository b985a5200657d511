"""Verification of signed documents of every kind: what the service tells others."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Finding, Refusal, Report
from signature_connector.domain.verification import INDICATIONS, Kind, Material
from signature_connector.verification import (
    cms_signatures,
    jws_signatures,
    pdf_signatures,
    xml_signatures,
)
from signature_connector.verification.algorithms import POLICY
from signature_connector.verification.chains import Chains
from signature_connector.verification.documents import LIBRARIES
from signature_connector.verification.etsi_report import written
from signature_connector.verification.policies import Policies
from signature_connector.verification.signature import Judged, overall, plain

_FORMATS: Mapping[Kind, Callable[[Material, Chains], Iterator[Judged]]] = {
    "pdf": pdf_signatures.verify,
    "cms": cms_signatures.verify,
    "xml": xml_signatures.verify,
    "jws": jws_signatures.verify,
}


def verify(material: Material, policies: Policies, fetched: ValidationData) -> Report:
    """Verify every signature of a document.

    Args:
        fetched: revocation data that was looked up; nothing is fetched here.

    Returns:
        A report whose facts are the body of the answer; ``unchecked`` among them lists chains
        (DER) that revocation data should be looked up for, ``xml`` is the ETSI report.
    """
    until = material.at or material.moment
    findings: list[Finding] = []
    judged: list[Judged] = []
    unchecked: list[list[bytes]] = []
    policy = policies.at(until, material.policy)
    try:
        if policy is None:
            raise Refusal("policy-unknown")
        chains = Chains(policy, fetched, until)
        unchecked = chains.unchecked
        judged.extend(_FORMATS[material.kind](material, chains))
    except Refusal as refusal:
        findings.append(refusal.finding)
    except Exception as error:  # hostile bytes make parsers raise nearly anything
        findings.append(Refusal("signature-unreadable", type(error).__name__).finding)
    indication, sub = overall(judged, findings)
    facts: dict[str, Any] = {
        "indication": str(indication),
        "sub_indication": sub,
        "signatures": [plain(one.body(names=material.names)) for one in judged],
        "policy": policy.body() if policy else None,
        "algorithm_policy": POLICY,
        "at": until.isoformat(),
        "libraries": LIBRARIES,
        "unchecked": unchecked,
    }
    if material.xml:
        facts["xml"] = written(judged, (indication, sub), policy, material)
    return Report(tuple(findings), facts)


__all__ = ["INDICATIONS", "verify"]
