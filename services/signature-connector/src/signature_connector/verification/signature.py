"""What all kinds of signatures have in common: certificate, timestamps, chain, level, outcome.

A format finds its signatures, checks that each fits its content, and hands over what it found as
``Found``. Timestamps are judged from the last one: a valid archive timestamp proves that the tokens
which it covers were there at its time, so each is judged as of the earliest such proof, and the
signer's certificate in the end as of the earliest proven time (EN 319 102-1, 5.6). A timestamp of
the signature proves the signature alone, no other token.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import new as hash_of
from typing import Any, Literal

from asn1crypto import cms, tsp, x509
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import validate_sig_integrity

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Finding, Level, Refusal, passed, warning
from signature_connector.domain.verification import INDICATIONS, ORDER, Indication
from signature_connector.verification.algorithms import AlgorithmPolicy
from signature_connector.verification.certificates import describe
from signature_connector.verification.chains import NOTHING, STAMPING, Chain, Chains

MOST_SIGNATURES = 50
"""In one document."""
MOST_TOKENS = 20
"""Timestamps of one signature."""


def _nothing() -> ValidationData:
    return NOTHING


@dataclass(frozen=True, slots=True)
class Stamped:
    """A timestamp of a signature.

    Attributes:
        token: DER of the CMS ContentInfo.
        imprint: what its digest has to be, by name of the algorithm; refuses where what it covers
            is not what it has to cover.
        kind: of the signature itself, or (an archive's) of what came with it too.
        covers: places among the signature's timestamps of those that an archive's covers.
        data: reads the data for validation that an archive's covers.
    """

    token: bytes = field(repr=False)
    imprint: Callable[[str], bytes]
    kind: Literal["signature", "archive"] = "signature"
    covers: Container[int] = ()
    data: Callable[[], ValidationData] = _nothing


@dataclass(slots=True)
class Found:
    """A signature that fits its content; a format fills it in as far as it gets.

    Attributes:
        name: of the field, or its place in the document.
        form: "pades", "cades", "xades", "jades", or the plain one below it.
        advanced: whether it has the signed attributes that a level (AdES) needs.
        others: further certificates that came with it.
        stamps: in the order in which they were made.
        carried: data for validation that came with it.
    """

    name: str
    form: str
    advanced: bool = False
    certificate: x509.Certificate | None = None
    others: list[x509.Certificate] = field(default_factory=list)
    claimed_at: datetime | None = None
    mechanism: str | None = None
    value: bytes = b""
    signed_digest: tuple[str, bytes] | None = None
    stamps: list[Stamped] = field(default_factory=list)
    carried: ValidationData = NOTHING
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def named_only(self) -> None:
        """There is an archive timestamp of a kind that is not verified; told once."""
        said = warning("timestamp-unchecked", "archive")
        if said not in self.findings:
            self.findings.append(said)

    def good(self, code: str, detail: str | None = None) -> None:
        """Something is as it should be."""
        self.findings.append(passed(code, detail))


@dataclass(slots=True)
class Judged:
    """What is said of one signature."""

    found: Found
    indication: Indication
    sub_indication: str | None
    level: str | None
    best_time: datetime
    proven: bool
    chain: Chain | None
    timestamps: list[dict[str, Any]]

    def body(self, *, names: bool) -> dict[str, Any]:
        """For the JSON report."""
        found = self.found
        certificate = found.certificate
        codes = {one.code for one in found.findings}
        return {
            "name": found.name,
            "format": found.form,
            "level": self.level,
            "indication": self.indication,
            "sub_indication": self.sub_indication,
            "signer": signer_of(certificate, names=names) if certificate else None,
            "issuer": describe(certificate)["issuer"] if certificate else None,
            "certificate": describe(certificate) if certificate else None,
            "chain": [
                {"subject": one.subject.human_friendly, "sha256": one.sha256.hex()}
                for one in (self.chain.certificates[1:] if self.chain else ())
            ],
            "claimed_at": found.claimed_at,
            "proven_at": self.best_time if self.proven else None,
            "judged_at": self.best_time,
            "mechanism": found.mechanism,
            "intact": "intact" in codes,
            "revocation": _revocation(codes),
            "modifications": found.facts.get("modifications"),
            "covers": found.facts.get("covers"),
            "timestamps": self.timestamps,
            "findings": [one.body() for one in found.findings],
        }


def _revocation(codes: set[str]) -> str:
    for code, said in (
        ("certificate-revoked", "revoked"),
        ("revoked-later", "revoked-later"),
        ("not-revoked", "good"),
    ):
        if code in codes:
            return said
    return "unknown"


def signer_of(certificate: x509.Certificate, *, names: bool) -> dict[str, str | None]:
    """The holder: in clear, or as initials and the last three digits."""
    subject = certificate.subject.native
    name = _first(subject.get("common_name"))
    number = _first(subject.get("user_id")) or _first(subject.get("serial_number"))
    organisation = _first(subject.get("organization_name"))
    if names:
        return {"name": name, "identifier": number, "organisation": organisation}
    initials = " ".join(f"{part[:1]}." for part in name.split()) if name else None
    return {
        "name": initials,
        "identifier": f"***{number[-3:]}" if number else None,
        "organisation": organisation,
    }


def _first(value: Any) -> str | None:
    if isinstance(value, list):
        value = value[0] if value else None
    return str(value) if value else None


def judge(found: Found, check: Callable[[], None], chains: Chains, until: datetime) -> Judged:
    """Judge a signature.

    Args:
        found: filled in by ``check``.
        check: finds out whether it fits its content; raises ``Refusal`` where it does not.
        until: the moment of the validation.
    """
    best, proven, level, chain = until, False, None, None
    timestamps: list[dict[str, Any]] = []
    try:
        try:
            check()
        except Refusal:
            raise
        except Exception as error:  # hostile bytes make parsers raise nearly anything
            raise Refusal("signature-unreadable", type(error).__name__) from error
        certificate = found.certificate
        if certificate is None:
            raise Refusal("signer-certificate-missing")
        accepted = _accepted(found, chains, until, timestamps)
        best, proven = min((until, *accepted.values())), bool(accepted)
        level = "B-B" if found.advanced else None
        if found.advanced and proven:
            level = "B-T"
        chain = chains.judge(certificate, found.others, best, found.carried)
        found.good("trusted")
        found.findings += chain.findings
        if level == "B-T" and chain.embedded and len(chain.certificates) > 1:
            archives = (found.stamps[at] for at in accepted if found.stamps[at].kind == "archive")
            kept = any(
                chains.told_by(certificate, found.others, best, one.data()) for one in archives
            )
            level = "B-LTA" if kept else "B-LT"
    except Refusal as refusal:
        found.findings.append(refusal.finding)
    except Exception as error:
        found.findings.append(Refusal("signature-unreadable", type(error).__name__).finding)
    if found.certificate is not None and not _tellable(found.certificate):
        found.certificate = None
        found.findings.append(Refusal("certificate-malformed").finding)
    indication, sub = outcome(found.findings)
    return Judged(found, indication, sub, level, best, proven, chain, timestamps)


def _tellable(certificate: x509.Certificate) -> bool:
    """Whether a report can name it: parts of a certificate are parsed when they are asked for."""
    try:
        describe(certificate)
        signer_of(certificate, names=True)
        bool(certificate.ca)
    except Exception:  # hostile bytes make the parser raise nearly anything
        return False
    return True


def outcome(findings: Sequence[Finding]) -> tuple[Indication, str | None]:
    """The worst of what the findings mean, and the first of that kind."""
    worst: tuple[Indication, str | None] = (Indication.PASSED, None)
    for one in findings:
        if one.level is Level.PASSED:
            continue
        unnamed: tuple[Indication, str | None] = (
            (Indication.FAILED, "FORMAT_FAILURE")
            if one.level is Level.REFUSED
            else (Indication.PASSED, None)
        )
        meant = INDICATIONS.get(one.code, unnamed)
        if ORDER.index(meant[0]) > ORDER.index(worst[0]):
            worst = meant
    return worst


def _accepted(
    found: Found, chains: Chains, until: datetime, told: list[dict[str, Any]]
) -> dict[int, datetime]:
    """The times of valid timestamps, by their place among the signature's."""
    accepted: dict[int, datetime] = {}
    check_count(len(found.stamps))
    for place, stamp in reversed(list(enumerate(found.stamps))):
        entry: dict[str, Any] = {"kind": stamp.kind, "time": None, "issuer": None}
        told.insert(0, entry)
        over = (time for at, time in accepted.items() if place in found.stamps[at].covers)
        try:
            time, chain = judge_token(stamp, found, chains, min((until, *over)), entry)
        except Refusal as refusal:
            found.findings.append(warning("timestamp-bad", _reason(refusal.finding)))
            entry["accepted"] = False
            continue
        except Exception as error:
            found.findings.append(warning("timestamp-bad", type(error).__name__))
            entry["accepted"] = False
            continue
        entry["accepted"] = True
        found.good("timestamp-good", time.isoformat())
        found.findings += [one for one in chain.findings if one.level is not Level.PASSED]
        accepted[place] = time
    return accepted


def _reason(finding: Finding) -> str:
    return f"{finding.code}: {finding.detail}" if finding.detail else finding.code


def read_so_far(ocsps: list[bytes], crls: list[bytes]) -> Callable[[], ValidationData]:
    """What has been read of revocation data up to here, while more is being added."""
    some, more = len(ocsps), len(crls)
    return lambda: ValidationData((), tuple(ocsps[:some]), tuple(crls[:more]))


def check_count(timestamps: int) -> None:
    """Refuse more timestamps than are judged at once.

    Raises:
        Refusal: there are.
    """
    if timestamps > MOST_TOKENS:
        raise Refusal("too-many-signatures", "timestamps")


def judge_token(
    stamp: Stamped, found: Found, chains: Chains, moment: datetime, entry: dict[str, Any]
) -> tuple[datetime, Chain]:
    """Judge a timestamp token (RFC 3161) at a moment.

    Raises:
        Refusal: it is about something else, is not intact, or its authority is not trusted.
    """
    content = cms.ContentInfo.load(stamp.token, strict=True)
    if content["content_type"].native != "signed_data":
        raise Refusal("signature-unreadable", "token")
    signed = content["content"]
    payload = signed["encap_content_info"]
    info = payload["content"].parsed
    if not isinstance(info, tsp.TSTInfo) or payload["content_type"].native != "tst_info":
        raise Refusal("signature-unreadable", "token")
    time = info["gen_time"].native.astimezone(UTC)
    entry["time"] = time
    imprint = info["message_imprint"]
    algorithm = str(imprint["hash_algorithm"]["algorithm"].native)
    allowed = AlgorithmPolicy().digest_algorithm_allowed(imprint["hash_algorithm"], None)
    if not allowed:
        raise Refusal("weak-algorithm", algorithm)
    if imprint["hashed_message"].native != stamp.imprint(algorithm):
        raise Refusal("digest-mismatch")
    if time > moment:
        raise Refusal("certificate-not-yet-valid", "time of the timestamp")
    certificates = certificates_of(signed)
    (signer,) = signed["signer_infos"]
    certificate = signer_certificate(signer, certificates)
    entry["issuer"] = certificate.subject.human_friendly
    digest = hash_of(str(signer["digest_algorithm"]["algorithm"].native))
    digest.update(bytes(payload["content"]))
    check_cms(signer, certificate, "tst_info", digest.digest())
    carried = ValidationData(found.carried.certificates, found.carried.ocsps, found.carried.crls)
    others = [*certificates, *found.others]
    return time, chains.judge(certificate, others, moment, carried, STAMPING)


def certificates_of(signed: cms.SignedData) -> list[x509.Certificate]:
    """The certificates in a CMS signature."""
    return [
        one.chosen.untag() for one in (signed["certificates"] or ()) if one.name == "certificate"
    ]


def signer_certificate(
    signer: cms.SignerInfo, certificates: Sequence[x509.Certificate]
) -> x509.Certificate:
    """The certificate that a signer names.

    Raises:
        Refusal: it is not among them.
    """
    sid = signer["sid"]
    for one in certificates:
        if sid.name == "issuer_and_serial_number":
            fits = (
                one.issuer == sid.chosen["issuer"]
                and one.serial_number == sid.chosen["serial_number"].native
            )
        else:
            fits = one.key_identifier == sid.chosen.native
        if fits:
            return one
    raise Refusal("signer-certificate-missing")


def check_cms(
    signer: cms.SignerInfo, certificate: x509.Certificate, content_type: str, digest: bytes
) -> None:
    """Check algorithms, digest and value of a CMS signature.

    Raises:
        Refusal: what does not hold.
    """
    if not signer["signed_attrs"]:
        raise Refusal("signature-unsupported", "no signed attributes")
    policy = AlgorithmPolicy()
    for allowed in (
        policy.digest_algorithm_allowed(signer["digest_algorithm"], None),
        policy.signature_algorithm_allowed(
            signer["signature_algorithm"], None, certificate.public_key
        ),
    ):
        if not allowed:
            raise Refusal("weak-algorithm", allowed.failure_reason)
    try:
        intact, valid = validate_sig_integrity(signer, certificate, content_type, digest)
    except SignatureValidationError as error:
        name = error.ades_subindication.standard_name
        if name == "NO_SIGNING_CERTIFICATE_FOUND":
            raise Refusal("signer-certificate-swapped") from error
        raise Refusal("signature-unreadable", name) from error
    if not intact:
        raise Refusal("digest-mismatch")
    if not valid:
        raise Refusal("bad-signature")


def attribute(signer: cms.SignerInfo, name: str, *, signed: bool = True) -> list[Any]:
    """The values of an attribute, by its name or dotted identifier."""
    attributes = signer["signed_attrs" if signed else "unsigned_attrs"] or ()
    return [
        value
        for one in attributes
        if name in (one["type"].native, one["type"].dotted)
        for value in one["values"]
    ]


def mechanism_of(signer: cms.SignerInfo) -> str:
    """Signature and digest algorithm, for the report."""
    name = signer["signature_algorithm"]["algorithm"].native
    return f"{name} {signer['digest_algorithm']['algorithm'].native}"


def claimed_time(signer: cms.SignerInfo) -> datetime | None:
    """When the signer says to have signed."""
    told = attribute(signer, "signing_time")
    time = told[0].native if told else None
    return time if isinstance(time, datetime) and time.tzinfo else None


def signature_stamps(signer: cms.SignerInfo) -> list[Stamped]:
    """The timestamps of a CMS signature's value (RFC 3161, appendix A)."""
    value = signer["signature"].native

    def imprint(algorithm: str) -> bytes:
        return hash_of(algorithm, value).digest()

    return [
        Stamped(token.dump(), imprint)
        for token in attribute(signer, "signature_time_stamp_token", signed=False)
    ]


def overall(judged: Sequence[Judged], findings: Sequence[Finding]) -> tuple[Indication, str | None]:
    """The worst of all signatures and of what is said of the document."""
    outcomes = [(one.indication, one.sub_indication) for one in judged] + [outcome(findings)]
    return max(outcomes, key=lambda one: ORDER.index(one[0]))


def plain(value: Any) -> Any:
    """JSON values of a report: moments as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Indication):
        return str(value)
    # Half of a pair of UTF-16 can stand in JSON, and nowhere else.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
