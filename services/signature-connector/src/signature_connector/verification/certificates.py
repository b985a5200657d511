"""Trust roots, and whether a certificate may sign, before anybody is asked to."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import x509
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InvalidCertificateError

from signature_connector.domain.findings import (
    Refusal,
    Report,
    passed,
    warning,
)
from signature_connector.verification.algorithms import AlgorithmPolicy, key_allowed

# Either bit: content commitment (non-repudiation) is what signing wants, and certificates with
# only digitalSignature are issued for it too.
USAGE = KeyUsageConstraints(key_usage={"non_repudiation", "digital_signature"})


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

    def knows_issuer_of(self, certificate: x509.Certificate) -> bool:
        """Whether the bundle holds a certificate of the issuer's name."""
        known = (*self.roots, *self.issuers)
        return any(one.subject == certificate.issuer for one in known)


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


def examine_certificate(der: bytes, serial_told: str, moment: datetime, trust: Trust) -> Report:
    """Whether a certificate may sign at a moment.

    Args:
        der: the certificate.
        serial_told: its serial number as the provider names it, hexadecimal.
        moment: now, or when the signature was made.
    """
    facts: dict[str, Any] = {}
    try:
        certificate = x509.Certificate.load(der, strict=True)
        facts["certificate"] = describe(certificate)
        _check_fitness(certificate, serial_told, moment)
        chain = _check_chain(certificate, moment, trust)
    except Refusal as refusal:
        return Report((refusal.finding,), facts)
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        malformed = Refusal("certificate-malformed", type(error).__name__)
        return Report((malformed.finding,), facts)
    found = (passed("certificate-usable"), *chain, warning("revocation-unchecked"))
    return Report(found, facts)


def _check_fitness(certificate: x509.Certificate, serial_told: str, moment: datetime) -> None:
    told = serial_told.replace(":", "").replace(" ", "").lower().lstrip("0")
    if told != format(certificate.serial_number, "x"):
        raise Refusal("certificate-serial")
    validity = certificate["tbs_certificate"]["validity"]
    if moment < validity["not_before"].native:
        raise Refusal("certificate-not-yet-valid")
    if moment > validity["not_after"].native:
        raise Refusal("certificate-expired")
    try:
        USAGE.validate(certificate)
    except InvalidCertificateError as error:
        raise Refusal("certificate-usage") from error
    allowed = key_allowed(certificate.public_key)
    if not allowed:
        raise Refusal("weak-algorithm", allowed.failure_reason)


def _check_chain(certificate: x509.Certificate, moment: datetime, trust: Trust) -> tuple[Any, ...]:
    if not trust.knows_issuer_of(certificate):
        if certificate.issuer == certificate.subject:
            raise Refusal("certificate-untrusted", "self-issued")
        return (warning("issuer-unknown", certificate.issuer.human_friendly),)
    validator = CertificateValidator(certificate, validation_context=trust.context(moment))
    try:
        asyncio.run(validator.async_validate_path())
    except Exception as error:
        raise Refusal("certificate-untrusted", type(error).__name__) from error
    return (passed("trusted"),)
