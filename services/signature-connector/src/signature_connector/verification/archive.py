"""The newest timestamp of a signed PDF: who made it, until when that can be judged, and whether the
document carries what is needed for it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from asn1crypto import cms, x509
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko_certvalidator import CertificateValidator, ValidationContext

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Finding, Refusal, Report, warning
from signature_connector.domain.timestamps import CLOCKS_APART
from signature_connector.verification.algorithms import AlgorithmPolicy
from signature_connector.verification.chains import Chain, Chains
from signature_connector.verification.documents import read_strictly
from signature_connector.verification.pdf_signatures import check_range, security_store
from signature_connector.verification.policies import Policy
from signature_connector.verification.signature import (
    Found,
    Stamped,
    judge_token,
    signature_stamps,
)


def examine_newest_stamp(
    content: bytes, policy: Policy | None, moment: datetime, data: ValidationData
) -> Report:
    """What is to be known of the newest timestamp of a document with a signature.

    Args:
        content: a PDF.
        policy: whose roots count.
        moment: now; the authority's clock may be ahead by as much as a token may be.
        data: revocation data that was looked up.

    Returns:
        A report whose facts are ``signer`` (DER of the last signature's certificate), ``archive``
        (whether the timestamp is over the whole document), ``time``, ``chain`` (DER, the
        authority's certificate first), ``ends`` (when the first certificate of it below the root
        does) and ``embedded`` (whether the document carries what the status of this chain is known
        by). A finding says what is known of that status: ``not-revoked``;
        ``authority-status-unnamed``, where some of these certificates name nobody who would tell,
        and all others are known; ``revocation-unchecked``. A refusal where there is no
        timestamp, or it is not good.
    """
    try:
        if policy is None:
            raise Refusal("policy-unknown")
        finding, facts = _examined(content, policy, moment + CLOCKS_APART, data)
    except Refusal as refusal:
        return Report((refusal.finding,))
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        return Report((Refusal("timestamp-bad", type(error).__name__).finding,))
    return Report((finding,), facts)


def _examined(
    content: bytes, policy: Policy, moment: datetime, data: ValidationData
) -> tuple[Finding, dict[str, Any]]:
    reader = read_strictly(content)
    signatures: list[EmbeddedPdfSignature] = list(reader.embedded_regular_signatures)
    if not signatures:
        raise Refusal("no-signature")
    newest: EmbeddedPdfSignature = list(reader.embedded_signatures)[-1]
    archive = newest.sig_object_type == "/DocTimeStamp"
    stamp = _over_document(newest, content) if archive else _over_signature(newest)
    found = Found("", "pades", carried=security_store(reader))
    time, chain = judge_token(stamp, found, Chains(policy, data, moment), moment, {})
    status = chain.findings[0]
    if not chain.checked and _all_named_is_known(chain, policy, moment, (found.carried, data)):
        status = warning("authority-status-unnamed")
    below_root = chain.certificates[:-1] or chain.certificates
    facts = {
        "signer": signatures[-1].signer_cert.dump(),
        "archive": archive,
        "time": time,
        "chain": [one.dump() for one in chain.certificates],
        "ends": min(one.not_valid_after for one in below_root),
        "embedded": chain.embedded,
    }
    return status, facts


def _over_document(stamp: EmbeddedPdfSignature, content: bytes) -> Stamped:
    def imprint(algorithm: str) -> bytes:
        check_range(stamp, content)
        return bytes(stamp.compute_digest(algorithm))

    token = cms.ContentInfo({"content_type": "signed_data", "content": stamp.signed_data})
    return Stamped(token.dump(), imprint, "archive")


def _over_signature(signature: EmbeddedPdfSignature) -> Stamped:
    stamps = signature_stamps(signature.signer_info)
    if not stamps:
        raise Refusal("timestamp-bad", "none")
    return stamps[-1]


def _all_named_is_known(
    chain: Chain, policy: Policy, moment: datetime, told: Sequence[ValidationData]
) -> bool:
    """Whether every certificate that names somebody who would tell of its revocation is known not
    to be revoked."""
    context = ValidationContext(
        trust_roots=[x509.Certificate.load(one.der) for one in policy.anchors],
        other_certs=chain.certificates[1:],
        moment=moment,
        allow_fetching=False,
        crls=[crl for one in told for crl in one.crls],
        ocsps=[ocsp for one in told for ocsp in one.ocsps],
        revocation_mode="hard-fail",  # asks for a status where a certificate says who tells it
        retroactive_revinfo=True,
        algorithm_usage_policy=AlgorithmPolicy(),
    )
    validator = CertificateValidator(chain.certificates[0], validation_context=context)
    try:
        asyncio.run(validator.async_validate_path())
    except Exception:  # hostile bytes make the parser raise nearly anything
        return False
    return True
