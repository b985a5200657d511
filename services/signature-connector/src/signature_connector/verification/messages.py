"""The verdict on a signed document that is no PDF: CAdES, XAdES, JAdES.

The verification that others are served by judges the signature; here it is held against what was
asked: one signature, by the chosen certificate, over the document that was sent, at the level
that was reached.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from asn1crypto import cms

from signature_connector.domain.assembly import Format, Level
from signature_connector.domain.findings import (
    Finding,
    Refusal,
    Report,
    passed,
    warning,
)
from signature_connector.domain.findings import Level as Weight
from signature_connector.domain.profiles import Profile
from signature_connector.domain.verification import Kind, Material
from signature_connector.verification import cms_signatures, jws_signatures, xml_signatures
from signature_connector.verification.algorithms import POLICY
from signature_connector.verification.certificates import Trust, describe
from signature_connector.verification.chains import NOTHING, Chains
from signature_connector.verification.documents import LIBRARIES
from signature_connector.verification.judgement import Returned
from signature_connector.verification.signature import Judged, attribute

_LEVELS = get_args(Level)
_FORMATS: Mapping[Format, tuple[Kind, Callable[[Material, Chains], Iterator[Judged]]]] = {
    "cades": ("cms", cms_signatures.verify),
    "xades": ("xml", xml_signatures.verify),
    "jades": ("jws", jws_signatures.verify),
}


def judge(returned: Returned, trust: Trust, profile: Profile) -> Report:
    """The verdict: accepted only if nothing speaks against it.

    Args:
        returned: what was sent, and what came of it; timestamps count up to its moment.
        profile: the format, and the level that the document is said to have.
    """
    facts: dict[str, Any] = {"libraries": LIBRARIES, "algorithm_policy": POLICY}
    findings: list[Finding] = []
    try:
        _examine(returned, trust, profile, findings, facts)
    except Refusal as refusal:
        findings.append(refusal.finding)
    except Exception as error:  # hostile bytes make parsers raise nearly anything
        findings.append(Refusal("signature-unreadable", type(error).__name__).finding)
    return Report(tuple(findings), facts)


def _examine(
    returned: Returned,
    trust: Trust,
    profile: Profile,
    findings: list[Finding],
    facts: dict[str, Any],
) -> None:
    if returned.content == returned.sent:
        raise Refusal("unsigned")
    if profile.format == "xades":
        xml_signatures.check_only_signed(returned.sent, returned.content)
    judged = _only_signature(returned, trust, profile.format)
    found = judged.found
    if found.certificate is not None:
        facts["signature"] = _facts_of(judged)
        if found.certificate.dump() != returned.certificate:
            raise Refusal("wrong-certificate")
        findings.append(passed("signer-expected"))
    if profile.format != "xades" and found.signed_digest is not None:
        algorithm, digest = found.signed_digest
        if hashlib.new(algorithm, returned.sent).digest() != digest:
            raise Refusal("other-document")
    if profile.format == "cades":
        _check_countersigned(returned.content)
    findings += [one for one in found.findings if one.level is not Weight.REFUSED]
    for one in found.findings:
        if one.level is Weight.REFUSED:
            raise Refusal(one.code, one.detail)
    codes = {one.code for one in found.findings}
    if not {"intact", "covered", "trusted"} <= codes:
        raise Refusal("not-covered", next(iter(found.facts.get("covers", ())), None))
    findings.append(passed("content-kept"))
    _check_level(judged, profile)
    if str(facts["signature"]["key"]).startswith("rsa") and "pss" not in (found.mechanism or ""):
        findings.append(warning("pkcs1-padding"))


def _only_signature(returned: Returned, trust: Trust, form: Format) -> Judged:
    kind, verify = _FORMATS[form]
    material = Material(kind, returned.content, returned.moment)
    chains = Chains(trust.policy(), NOTHING, returned.moment)
    try:
        judged = list(verify(material, chains))
    except Refusal as refusal:
        if refusal.finding.code == "no-signature":
            raise Refusal("unsigned") from refusal
        raise
    if len(judged) != 1:
        raise Refusal("several-signatures", str(len(judged)))
    return judged[0]


def _check_countersigned(content: bytes) -> None:
    (signer,) = cms.ContentInfo.load(content)["content"]["signer_infos"]
    if attribute(signer, "counter_signature", signed=False):
        raise Refusal("several-signatures", "countersignature")


def _check_level(judged: Judged, profile: Profile) -> None:
    """Form and level, or a higher one."""
    reached = (judged.level or "").lower()
    if (
        judged.found.form != profile.format
        or reached not in _LEVELS
        or _LEVELS.index(reached) < _LEVELS.index(profile.level)
    ):
        raise Refusal("level-differs", f"{judged.found.form} {judged.level or ''}".strip())


def _facts_of(judged: Judged) -> dict[str, Any]:
    certificate, told = judged.found.certificate, judged.found.claimed_at
    above = judged.chain.certificates[1:] if judged.chain else ()
    return {
        **(describe(certificate) if certificate is not None else {}),
        "mechanism": judged.found.mechanism,
        "signed_at": told.isoformat() if told else None,
        "level": judged.level,
        "issuers": [
            {"subject": one.subject.human_friendly, "sha256": one.sha256.hex()}
            for one in reversed(above)
        ],
    }
