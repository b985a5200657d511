"""Trust roots, and whether a certificate may sign, before anybody is asked to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from asn1crypto import x509
from pyhanko_certvalidator import ValidationContext

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import (
    Finding,
    Refusal,
    Report,
    passed,
    warning,
)
from signature_connector.verification.algorithms import AlgorithmPolicy
from signature_connector.verification.chains import NOTHING, SIGNING, Chains, check_fitness
from signature_connector.verification.holders import holder_matches
from signature_connector.verification.policies import Anchor, Policies, Policy

USAGE = SIGNING


@dataclass(frozen=True)
class Trust:
    """Certificates from the configured bundle.

    Attributes:
        roots: self-issued: where every chain has to end.
        issuers: the others, known so that chains can be built.
    """

    roots: tuple[x509.Certificate, ...]
    issuers: tuple[x509.Certificate, ...]

    @classmethod
    def at(cls, policies: Policies, moment: datetime) -> "Trust":
        """What the default policy believes at a moment."""
        policy = policies.at(moment)
        if policy is None:
            return cls((), ())
        roots = [one.der for one in policy.anchors if one.believed(moment)]
        return cls(
            tuple(x509.Certificate.load(der) for der in roots),
            tuple(x509.Certificate.load(der) for der in policy.issuers),
        )

    def policy(self) -> Policy:
        """The same as a policy without dates."""
        roots = tuple(Anchor(one.dump()) for one in self.roots)
        issuers = tuple(one.dump() for one in self.issuers)
        return Policy("bundle", "", date(1970, 1, 1), "", "", roots, issuers)

    @classmethod
    def of(cls, certificates: Iterable[bytes]) -> "Trust":
        """Sort DER certificates into roots and issuers."""
        loaded = [x509.Certificate.load(der) for der in certificates]
        return cls(
            tuple(one for one in loaded if one.issuer == one.subject),
            tuple(one for one in loaded if one.issuer != one.subject),
        )

    def context(self, moment: datetime) -> ValidationContext:
        """For validation at a moment; nothing is fetched, revocation is not known."""
        return ValidationContext(
            trust_roots=list(self.roots),
            other_certs=list(self.issuers),
            moment=moment,
            allow_fetching=False,
            revocation_mode="soft-fail",
            algorithm_usage_policy=AlgorithmPolicy(),
        )


def describe(certificate: x509.Certificate) -> dict[str, Any]:
    """What the evidence may hold of a person's certificate: no name, no number of the person."""
    validity = certificate["tbs_certificate"]["validity"]
    own = certificate.issuer == certificate.subject  # then the issuer is the person
    return {
        "serial_number": format(certificate.serial_number, "x"),
        "sha256": certificate.sha256.hex(),
        "issuer": "self-issued" if own else certificate.issuer.human_friendly,
        "not_before": validity["not_before"].native.isoformat(),
        "not_after": validity["not_after"].native.isoformat(),
        "key": f"{certificate.public_key.algorithm} {certificate.public_key.bit_size}",
    }


def examine_certificate(
    der: bytes,
    serial_told: str,
    moment: datetime,
    trust: Trust,
    *,
    chain: Sequence[bytes] = (),
    data: ValidationData = NOTHING,
    user: str | None = None,
) -> Report:
    """Whether a certificate may sign at a moment.

    Args:
        der: the certificate.
        serial_told: its serial number as the provider names it, hexadecimal.
        moment: now, or when the signature was made.
        chain: DER certificates above it, as far as the provider gave them.
        data: what was looked up of revocation; with nothing of use in it there is a warning.
        user: the number of the person who is asked to sign; None: the holder is not compared.
    """
    facts: dict[str, Any] = {}
    found: list[Finding] = [passed("certificate-usable")]
    try:
        certificate = x509.Certificate.load(der, strict=True)
        facts["certificate"] = describe(certificate)
        told = serial_told.replace(":", "").replace(" ", "").lower().lstrip("0")
        if told != format(certificate.serial_number, "x"):
            raise Refusal("certificate-serial")
        check_fitness(certificate, moment)
        found += _judge_chain(certificate, chain, moment, trust, data)
        if user is not None:
            found.append(holder_matches(certificate, user))
    except Refusal as refusal:
        return Report((refusal.finding,), facts)
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        malformed = Refusal("certificate-malformed", type(error).__name__)
        return Report((malformed.finding,), facts)
    return Report(tuple(found), facts)


def _judge_chain(
    certificate: x509.Certificate,
    chain: Sequence[bytes],
    moment: datetime,
    trust: Trust,
    data: ValidationData,
) -> list[Finding]:
    above = [x509.Certificate.load(one, strict=True) for one in chain]
    brought = [x509.Certificate.load(one) for one in data.certificates]
    known = (*trust.roots, *trust.issuers, *above, *brought)
    if not any(one.subject == certificate.issuer for one in known):
        if certificate.issuer == certificate.subject:
            raise Refusal("certificate-untrusted", "self-issued")
        unknown = warning("issuer-unknown", certificate.issuer.human_friendly)
        return [unknown, warning("revocation-unchecked")]
    judged = Chains(trust.policy(), data, moment).judge(certificate, above, moment)
    return [passed("trusted"), *judged.findings]
