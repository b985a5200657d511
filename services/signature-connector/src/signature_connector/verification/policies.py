"""Whom to believe, as data with dates: versions of trust policies, each with its roots.

A bundle is a folder of JSON files, one per version of a policy, beside the PEM files that they
name::

    {
      "name": "vn-public",
      "version": "2026-1",
      "effective_from": "2026-01-01",
      "source": "…",
      "confidence": "…",
      "roots": [
        {"file": "root.pem", "from": "2019-05-01", "to": null, "source": "…", "confidence": "…"}
      ],
      "issuers": [{"file": "issuing.pem"}]
    }

A version counts from its day until the next version's; a root, for what is proven to have been
signed from its first to its last day. What was known before stays as it is, so that the past is
judged as it was. A single PEM file is a bundle too: one policy, without dates.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from asn1crypto import x509

from signature_connector.verification.bundle import TrustError, read_bundle

_DEFAULT = "bundle"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A root certificate and when it is believed.

    Attributes:
        der: the certificate.
        since, until: first and last day (UTC); None: without such a bound.
        source, confidence: where it is from, and how sure that is.
    """

    der: bytes = field(repr=False)
    since: date | None = None
    until: date | None = None
    source: str = ""
    confidence: str = ""

    def believed(self, moment: datetime) -> bool:
        """Whether it counts for something that was proven to be there at a moment."""
        day = moment.astimezone(UTC).date()
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a trust policy.

    Attributes:
        effective_from: its first day.
        anchors: roots.
        issuers: DER of issuing CAs, known so that chains can be built.
    """

    name: str
    version: str
    effective_from: date
    source: str
    confidence: str
    anchors: tuple[Anchor, ...]
    issuers: tuple[bytes, ...] = field(default=(), repr=False)

    def digest(self) -> bytes:
        """SHA-256 over what the version says, so that reports by it can be told from others."""
        said = repr((self.name, self.version, self.effective_from, self.anchors))
        ders = b"".join((*(one.der for one in self.anchors), *self.issuers))
        return hashlib.sha256(said.encode() + ders).digest()

    def body(self) -> dict[str, str]:
        """For reports."""
        return {
            "name": self.name,
            "version": self.version,
            "date": self.effective_from.isoformat(),
            "source": self.source,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True)
class Policies:
    """Every version of every policy, the default policy first."""

    all: tuple[Policy, ...]

    @classmethod
    def of(cls, certificates: Iterable[bytes]) -> "Policies":
        """One policy without dates: self-issued DER certificates are its roots."""
        ders = tuple(certificates)
        roots = tuple(Anchor(der) for der in ders if _self_issued(der))
        issuers = tuple(der for der in ders if not _self_issued(der))
        version = hashlib.sha256(b"".join(sorted(ders))).hexdigest()[:12]
        bundle = Policy(_DEFAULT, version, date(1970, 1, 1), "PEM bundle", "", roots, issuers)
        return cls((bundle,))

    def at(self, moment: datetime, name: str | None = None) -> Policy | None:
        """The version of a policy that counts at a moment; None: there is none.

        Args:
            name: of the policy; None: the default one.
        """
        wanted = name or self.all[0].name
        day = moment.astimezone(UTC).date()
        versions = [one for one in self.all if one.name == wanted and one.effective_from <= day]
        return max(versions, key=lambda one: one.effective_from, default=None)

    def certificates(self) -> list[bytes]:
        """Every certificate of every policy, each once."""
        found = [
            der
            for one in self.all
            for der in (*(anchor.der for anchor in one.anchors), *one.issuers)
        ]
        return list(dict.fromkeys(found))


def read_policies(path: Path) -> Policies:
    """Read a bundle: a folder, or a PEM file.

    Raises:
        TrustError: it cannot be read, breaks its form, or holds no root.
    """
    if not path.is_dir():
        return Policies.of(read_bundle(path))
    files = sorted(one for one in path.glob("*.json") if not one.name.startswith("."))
    if not files:
        raise TrustError(f"the trust bundle {path.name} holds no policy")
    found = [_policy(path, one) for one in files]
    keys = {(one.name, one.effective_from) for one in found}
    if len(keys) != len(found):
        raise TrustError("two versions of a policy begin on the same day")
    # The default policy: the first by name that the bundle has.
    return Policies(tuple(sorted(found, key=lambda one: (one.name, one.effective_from))))


def _policy(folder: Path, file: Path) -> Policy:
    try:
        given: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
        policy = Policy(
            name=_text(given["name"]),
            version=_text(given["version"]),
            effective_from=date.fromisoformat(given["effective_from"]),
            source=_text(given["source"]),
            confidence=_text(given["confidence"]),
            anchors=tuple(anchor for root in given["roots"] for anchor in _anchors(folder, root)),
            issuers=tuple(
                der for one in given.get("issuers", ()) for der in _ders(folder, one["file"])
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, TrustError):
            raise
        raise TrustError(f"{file.name}: {type(error).__name__}: {error}") from error
    if not policy.anchors:
        raise TrustError(f"{file.name}: a policy without roots")
    return policy


def _anchors(folder: Path, root: Mapping[str, Any]) -> Iterable[Anchor]:
    since, until = root.get("from"), root.get("to")
    for der in _ders(folder, root["file"]):
        yield Anchor(
            der,
            date.fromisoformat(since) if since else None,
            date.fromisoformat(until) if until else None,
            _text(root["source"]),
            _text(root["confidence"]),
        )


def _ders(folder: Path, name: str) -> list[bytes]:
    if Path(name).name != name:
        raise TrustError(f"{name}: files of a bundle stand beside its policies")
    found = read_bundle(folder / name)
    for der in found:
        x509.Certificate.load(der, strict=True).public_key.native  # noqa: B018 - parses all of it
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TrustError(f"a text is missing: {value!r}")
    return value


def _self_issued(der: bytes) -> bool:
    certificate = x509.Certificate.load(der)
    return bool(certificate.issuer == certificate.subject)
