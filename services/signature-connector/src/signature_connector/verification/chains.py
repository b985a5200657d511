"""Whether a certificate leads to a root that was believed, and what is known of its revocation.

The chain is built and judged by pyhanko-certvalidator at one moment (RFC 5280): the best time that
the signature is proven for. Revocation data may be younger than that moment: what was not revoked
later was not revoked then. (A hold that was lifted leaves no trace in it.)
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from asn1crypto import x509
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    InsufficientRevinfoError,
    InvalidCertificateError,
    NotYetValidError,
    PathBuildingError,
    RevokedError,
)
from pyhanko_certvalidator.path import ValidationPath

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Finding, Refusal, Report, passed, warning
from signature_connector.verification.algorithms import AlgorithmPolicy, key_allowed
from signature_connector.verification.policies import Policy

# Either bit: content commitment (non-repudiation) is what signing wants, and certificates with
# only digitalSignature are issued for it too.
SIGNING = KeyUsageConstraints(key_usage={"non_repudiation", "digital_signature"})
STAMPING = KeyUsageConstraints(
    key_usage=set(), extd_key_usage={"time_stamping"}, explicit_extd_key_usage_required=True
)
NOTHING = ValidationData()
_MOST_ABOVE, _MOST_OF_ONE_NAME, _MOST_BESIDE = 10, 3, 20


@dataclass(slots=True)
class Chain:
    """A chain that leads to a root.

    Attributes:
        certificates: from the certificate itself to the root.
        findings: what is known of revocation.
        embedded: whether what the document itself brought along was enough to know that.
        revoked_at: of the certificate, if that happened after the moment that counts.
    """

    certificates: list[x509.Certificate]
    findings: list[Finding] = field(default_factory=list)
    embedded: bool = False
    revoked_at: datetime | None = None

    @property
    def checked(self) -> bool:
        """Whether the revocation status is known."""
        return not any(one.code == "revocation-unchecked" for one in self.findings)


class Chains:
    """Judges chains by one policy.

    Args:
        policy: whose roots count.
        fetched: revocation data and certificates that were looked up.
        until: the moment of the whole validation: nothing later plays a role.

    Attributes:
        unchecked: chains (DER, from the certificate) whose revocation status is not known, or from
            the document alone although nothing proves its time: they are worth being looked up.
    """

    def __init__(self, policy: Policy, fetched: ValidationData, until: datetime) -> None:
        self._policy = policy
        self._fetched = fetched
        self._until = until
        self.unchecked: list[list[bytes]] = []

    def judge(
        self,
        certificate: x509.Certificate,
        others: Iterable[x509.Certificate],
        moment: datetime,
        carried: ValidationData = NOTHING,
        usage: KeyUsageConstraints = SIGNING,
    ) -> Chain:
        """Judge a certificate at a moment.

        Args:
            others: further certificates that came with it.
            moment: the best proven time.
            carried: revocation data that the document brought along.

        Raises:
            Refusal: it may not sign, leads to no root, was not valid, or was revoked.
        """
        check_fitness(certificate, moment, usage)
        known = list(others)
        attempt = _Attempt(self._policy, certificate, known, moment)
        # Without revocation first: whether there is a chain is another question.
        path = attempt.path("soft-fail", NOTHING)
        chain = Chain(_listed(path))
        both = carried.joined(self._fetched)
        if moment < self._until:
            ways = ((carried, True), (both, False))
        else:
            # Nothing proves when it was signed: who has a key that was revoked since could bring
            # along what was said before. It counts where nothing else is to be had.
            ways = ((self._fetched, False), (both, True))
        for data, embedded in ways:
            if not (data.ocsps or data.crls):
                continue
            try:
                attempt.path("require", data)
            except _Unknown:
                if later := attempt.revoked_later(data, self._until):
                    chain.revoked_at = later
                    chain.findings = [passed("revoked-later", later.isoformat())]
                    chain.embedded = embedded
                    return chain
                continue
            chain.findings = [passed("not-revoked")]
            chain.embedded = embedded
            if embedded and moment >= self._until:
                self.unchecked.append([one.dump() for one in chain.certificates])
            return chain
        if len(chain.certificates) == 1:  # a root itself: nobody could revoke it
            chain.findings, chain.embedded = [passed("not-revoked")], True
            return chain
        self.unchecked.append([one.dump() for one in chain.certificates])
        chain.findings = [warning("revocation-unchecked")]
        return chain

    def told_by(
        self,
        certificate: x509.Certificate,
        others: Iterable[x509.Certificate],
        moment: datetime,
        data: ValidationData,
    ) -> bool:
        """Whether this data alone is enough to know that a certificate was not revoked then.

        Raises:
            Refusal: it says that the certificate was.
        """
        if not (data.ocsps or data.crls):
            return False
        attempt = _Attempt(self._policy, certificate, list(others), moment)
        try:
            attempt.path("require", data)
        except _Unknown:
            return attempt.revoked_later(data, self._until) is not None
        return True


def check_fitness(
    certificate: x509.Certificate, moment: datetime, usage: KeyUsageConstraints = SIGNING
) -> None:
    """Refuse a certificate that was not valid at a moment, or is not for this use.

    Raises:
        Refusal: and which of it.
    """
    validity = certificate["tbs_certificate"]["validity"]
    if moment < validity["not_before"].native:
        raise Refusal("certificate-not-yet-valid")
    if moment > validity["not_after"].native:
        raise Refusal("certificate-expired")
    try:
        usage.validate(certificate)
    except InvalidCertificateError as error:
        raise Refusal("certificate-usage") from error
    allowed = key_allowed(certificate.public_key)
    if not allowed:
        raise Refusal("weak-algorithm", allowed.failure_reason)


class _Unknown(Exception):
    """The data does not say whether the chain was revoked."""


@dataclass(slots=True)
class _Attempt:
    policy: Policy
    certificate: x509.Certificate
    others: Sequence[x509.Certificate]
    moment: datetime

    def path(self, mode: str, data: ValidationData) -> ValidationPath:
        """The chain at the moment.

        Raises:
            Refusal: there is none, or a certificate of it was revoked.
            _Unknown: with mode "require", where the data does not say.
        """
        try:
            return self._validated(mode, data, self.moment)
        except InsufficientRevinfoError as error:
            raise _Unknown from error
        except RevokedError as error:
            raise Refusal("certificate-revoked", error.revocation_dt.date().isoformat()) from error
        except ExpiredError as error:
            raise Refusal("certificate-untrusted", "issuer expired") from error
        except NotYetValidError as error:
            raise Refusal("certificate-untrusted", "issuer not yet valid") from error
        except DisallowedAlgorithmError as error:
            raise Refusal("weak-algorithm", "chain") from error
        except PathBuildingError as error:
            own = self.certificate.issuer == self.certificate.subject
            raise Refusal("certificate-untrusted", "self-issued" if own else None) from error
        except Exception as error:  # hostile certificates make it raise nearly anything
            if mode == "require":
                raise _Unknown from error
            if self.certificate.issuer == self.certificate.subject:
                raise Refusal("certificate-untrusted", "self-issued") from error
            raise Refusal("chain-constraints", type(error).__name__) from error

    def revoked_later(self, data: ValidationData, until: datetime) -> datetime | None:
        """When it was revoked after the moment, as far as the data proves that."""
        try:
            self._validated("require", data, until)
        except RevokedError as error:
            at = error.revocation_dt.astimezone(UTC)
            return at if at > self.moment else None
        except Exception:
            return None
        return None

    def _validated(self, mode: str, data: ValidationData, moment: datetime) -> ValidationPath:
        roots = [
            x509.Certificate.load(one.der)
            for one in self.policy.anchors
            if one.believed(self.moment)
        ]
        issuers = [x509.Certificate.load(der) for der in self.policy.issuers]
        brought = [x509.Certificate.load(der) for der in data.certificates]
        context = ValidationContext(
            trust_roots=roots,
            other_certs=[*issuers, *_of_use(self.certificate, [*self.others, *brought])],
            moment=moment,
            allow_fetching=False,
            crls=list(data.crls),
            ocsps=list(data.ocsps),
            revocation_mode=mode,
            retroactive_revinfo=True,
            algorithm_usage_policy=AlgorithmPolicy(),
        )
        validator = CertificateValidator(self.certificate, validation_context=context)
        return asyncio.run(validator.async_validate_path())


def _of_use(
    certificate: x509.Certificate, others: Iterable[x509.Certificate]
) -> list[x509.Certificate]:
    """Of foreign certificates those that can stand above this one, and beside those (responders).

    The library tries every way from a certificate upwards, by names: ten certificates that issue
    one another are millions of ways. So few are taken of one name, few altogether, and none that is
    self-issued: roots come from the policy alone.
    """
    by_subject: dict[str, list[x509.Certificate]] = {}
    by_issuer: dict[str, list[x509.Certificate]] = {}
    for one in {other.sha256: other for other in others}.values():
        subject, issuer = _names(one)
        if subject != issuer:
            by_subject.setdefault(subject, []).append(one)
            by_issuer.setdefault(issuer, []).append(one)
    above: list[x509.Certificate] = []
    names = [certificate.issuer.hashable]
    for name in names:
        for one in by_subject.get(name, ())[:_MOST_OF_ONE_NAME]:
            if len(above) < _MOST_ABOVE:
                above.append(one)
                names += [one.issuer.hashable] if one.issuer.hashable not in names else []
    beside = [
        one
        for name in names
        for one in by_issuer.get(name, ())[:_MOST_BESIDE]
        if one.subject.hashable not in names
    ]
    return above + beside


def _names(certificate: x509.Certificate) -> tuple[str, str]:
    """Subject and issuer, to be compared; the same for what cannot be read."""
    try:
        return str(certificate.subject.hashable), str(certificate.issuer.hashable)
    except Exception:  # hostile bytes make the parser raise nearly anything
        return "", ""


def _listed(path: ValidationPath) -> list[x509.Certificate]:
    return list(reversed(list(path.iter_certs(include_root=True))))


def examine_chain(
    certificates: Sequence[bytes], policy: Policy | None, moment: datetime, data: ValidationData
) -> Report:
    """The chain of a certificate, and whether its revocation status is known.

    Args:
        certificates: DER, the certificate first; what is missing above it is taken from the
            policy.
        data: revocation data.

    Returns:
        A report whose fact ``chain`` is the DER from the certificate to the root; a refusal where
        there is no chain, or a certificate of it was revoked.
    """
    try:
        if policy is None:
            raise Refusal("policy-unknown")
        own, *above = (x509.Certificate.load(one, strict=True) for one in certificates)
        found = Chains(policy, data, moment).judge(own, above, moment)
    except Refusal as refusal:
        return Report((refusal.finding,))
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        return Report((Refusal("certificate-malformed", type(error).__name__).finding,))
    return Report(tuple(found.findings), {"chain": [one.dump() for one in found.certificates]})
