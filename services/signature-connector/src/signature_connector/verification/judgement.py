"""The verdict on a document that came back from signing."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel

from signature_connector.domain.findings import (
    Finding,
    Refusal,
    Report,
    passed,
    warning,
)
from signature_connector.verification.algorithms import POLICY, AlgorithmPolicy
from signature_connector.verification.certificates import USAGE, Trust, describe
from signature_connector.verification.changes import (
    judge_later_updates,
    judge_signing_update,
)
from signature_connector.verification.documents import (
    HEADER,
    LIBRARIES,
    read_strictly,
)

_END = b"%%EOF"
_END_ZONE = 1024  # bytes within which the end marker has to stand


@dataclass(frozen=True, slots=True)
class Returned:
    """A document that came back from signing.

    Attributes:
        sent: what was sent.
        content: what came back.
        certificate: DER of the certificate that was to sign.
        moment: when it came back; certificates are judged as of then.
    """

    sent: bytes
    content: bytes
    certificate: bytes
    moment: datetime


def judge(returned: Returned, trust: Trust) -> Report:
    """The verdict: accepted only if nothing speaks against it.

    Every check has a reason of its own; the first that fails ends the examination.
    """
    facts: dict[str, Any] = {"libraries": LIBRARIES, "algorithm_policy": POLICY}
    findings: list[Finding] = []
    try:
        _examine(returned, trust, findings, facts)
    except Refusal as refusal:
        findings.append(refusal.finding)
    except Exception as error:  # a hostile document makes the reader raise nearly anything
        findings.append(Refusal("unreadable", type(error).__name__).finding)
    return Report(tuple(findings), facts)


def _examine(
    returned: Returned, trust: Trust, findings: list[Finding], facts: dict[str, Any]
) -> None:
    sent, content = returned.sent, returned.content
    _check_bytes(sent, content)
    reader = read_strictly(content)
    revisions = _check_history(reader, sent)
    signature = _only_new_signature(reader, revisions)
    facts["signature"] = _facts_of(signature)
    if signature.signer_cert.dump() != returned.certificate:
        raise Refusal("wrong-certificate")
    findings.append(passed("signer-expected"))
    _check_algorithms(signature)
    findings.append(passed("algorithms-allowed", facts["signature"]["mechanism"]))
    end = _check_range(signature, sent, content)
    judge_signing_update(reader, revisions, signature.signed_revision, signature.field_name)
    findings.append(passed("content-kept"))
    status = _validate(signature, trust, returned.moment)
    facts["signature"]["issuers"] = _issuers(status)
    findings += [passed("intact"), passed("trusted"), passed("covered")]
    if end < len(content):
        _check_rest(signature, reader, content)
        findings.append(passed("validation-data-added"))
    findings += _warnings(signature, status, reader)


def _check_bytes(sent: bytes, content: bytes) -> None:
    if not content.startswith(HEADER):
        raise Refusal("not-a-pdf")
    if content == sent:
        raise Refusal("unsigned")
    if sent.startswith(content):
        raise Refusal("truncated")
    if not content.startswith(sent):
        raise Refusal("other-document")
    if _END not in content[len(sent) :][-_END_ZONE:]:
        raise Refusal("truncated")


def _check_history(reader: PdfFileReader, sent: bytes) -> int:
    """How many revisions were sent; the returned document has to build upon them.

    The sent bytes may stand at its beginning and yet play no part, where the cross-references
    that were added do not lead back to them.
    """
    before = read_strictly(sent)
    count = before.total_revisions
    if reader.total_revisions < count or any(
        reader.xrefs.get_startxref_for_revision(number)
        != before.xrefs.get_startxref_for_revision(number)
        for number in range(count)
    ):
        raise Refusal("other-document", "cross-references")
    return int(count)


def _only_new_signature(reader: PdfFileReader, revisions: int) -> EmbeddedPdfSignature:
    new = [one for one in reader.embedded_regular_signatures if one.signed_revision >= revisions]
    if not new:
        raise Refusal("unsigned")
    if len(new) > 1:
        raise Refusal("several-signatures", str(len(new)))
    signature: EmbeddedPdfSignature = new[0]
    return signature


def _check_algorithms(signature: EmbeddedPdfSignature) -> None:
    policy = AlgorithmPolicy()
    signer = signature.signer_info
    key = signature.signer_cert.public_key
    for allowed in (
        policy.digest_algorithm_allowed(signer["digest_algorithm"], None),
        policy.signature_algorithm_allowed(signer["signature_algorithm"], None, key),
    ):
        if not allowed:
            raise Refusal("weak-algorithm", allowed.failure_reason)


def _check_range(signature: EmbeddedPdfSignature, sent: bytes, content: bytes) -> int:
    """Where the signed bytes end; all before has to be signed but the signature value itself.

    The library compares lengths only where a signature seems to reach the end of the file; a
    range that leaves a gap elsewhere and overlaps itself has the same length.
    """
    numbers = [int(number) for number in signature.byte_range]
    if len(numbers) != 4 or numbers[0] != 0:
        raise Refusal("not-covered", "byte range")
    _, gap, after, rest = numbers
    value = content[gap:after]
    if (
        gap < len(sent)
        or after + rest > len(content)
        or value[:1] + value[-1:] != b"<>"
        or bytes.fromhex(value[1:-1].decode("ascii")) != signature.pkcs7_content
    ):
        raise Refusal("not-covered", "byte range")
    return after + rest


def _check_rest(signature: EmbeddedPdfSignature, reader: PdfFileReader, content: bytes) -> None:
    """What follows the signed bytes has to be updates that say what they are."""
    coverage = signature.evaluate_signature_coverage()
    if (
        coverage < SignatureCoverageLevel.ENTIRE_REVISION
        or reader.total_revisions == signature.signed_revision + 1
    ):
        raise Refusal("not-covered", "bytes after the signed revision")
    judge_later_updates(reader, signature.signed_revision)
    if not content.rstrip().endswith(_END):
        raise Refusal("extra-update", "bytes after the last revision")


def _validate(
    signature: EmbeddedPdfSignature, trust: Trust, moment: datetime
) -> PdfSignatureStatus:
    try:
        status = asyncio.run(
            async_validate_pdf_signature(
                signature,
                trust.context(moment),
                key_usage_settings=USAGE,
                skip_diff=True,
                algorithm_policy=AlgorithmPolicy(),
            )
        )
    except SignatureValidationError as error:
        raise Refusal("bad-signature", error.ades_subindication.standard_name) from error
    if not status.intact:
        raise Refusal("digest-mismatch")
    if not status.valid:
        raise Refusal("bad-signature")
    if not status.trusted:
        problem = status.trust_problem_indic
        raise Refusal("untrusted", problem.standard_name if problem is not None else None)
    return status


def _warnings(
    signature: EmbeddedPdfSignature, status: PdfSignatureStatus, reader: PdfFileReader
) -> Iterator[Finding]:
    yield warning("revocation-unchecked")
    if signature.sig_object.get("/SubFilter") != "/ETSI.CAdES.detached":
        yield warning("not-pades")
    if signature.signer_info["signature_algorithm"].signature_algo == "rsassa_pkcs1v15":
        yield warning("pkcs1-padding")
    stamped = status.timestamp_validity
    if (stamped and not stamped.trusted) or reader.embedded_timestamp_signatures:
        yield warning("timestamp-unchecked")


def _issuers(status: PdfSignatureStatus) -> list[dict[str, str]]:
    """The chain above the person, from the root."""
    path = status.validation_path
    above = list(path.iter_certs(include_root=True))[:-1] if path is not None else []
    return [{"subject": one.subject.human_friendly, "sha256": one.sha256.hex()} for one in above]


def _facts_of(signature: EmbeddedPdfSignature) -> dict[str, Any]:
    signer = signature.signer_info
    mechanism = signer["signature_algorithm"]["algorithm"].native
    told = signature.self_reported_timestamp
    return {
        **describe(signature.signer_cert),
        "mechanism": f"{mechanism} {signature.md_algorithm}",
        "signed_at": told.isoformat() if told and told.tzinfo else None,
    }
