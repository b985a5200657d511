"""Whom the auditor trusts: time-stamping authorities, and the keys of the log.

Both come from outside the export. The keys that it brings along are only found by their ids.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response
from rfc3161_client.verify import SHA256_OID

from backbone.log_verification.archive import Refused
from gateway.domain.log_export import Malformed
from gateway.domain.proof import canonical

LARGEST_TOKEN = 64 * 1024
_MOST_KEYS = 1000
_LARGEST_FILE = 4 * 1024 * 1024
_COORDINATE = 32


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a time-stamping authority certified: when, and who it is."""

    at: datetime
    authority: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the log.

    Attributes:
        trusted: the auditor says that it is the log's.
        begins, ends: the validity of its certificate, where it was trusted by one.
    """

    public: ec.EllipticCurvePublicKey
    trusted: bool
    begins: datetime | None = None
    ends: datetime | None = None

    def signed(self, signature: bytes, content: bytes) -> bool:
        """Whether this is its ES256 signature (RFC 7518 section 3.4)."""
        if len(signature) != 2 * _COORDINATE:
            return False
        r, s = (
            int.from_bytes(part, "big")
            for part in (signature[:_COORDINATE], signature[_COORDINATE:])
        )
        try:
            self.public.verify(encode_dss_signature(r, s), content, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    def valid_at(self, at: datetime) -> bool:
        """Whether its certificate was valid then; without one there is no such question."""
        return (self.begins is None or self.begins <= at) and (self.ends is None or at <= self.ends)


class Trust:
    """What the auditor brought along.

    Args:
        certificates: PEM files: roots of time-stamping authorities, certificates of the log's keys.
        keys: PEM public keys or JWK Sets of the log.

    Raises:
        Refused: a file cannot be read as such.
    """

    def __init__(self, certificates: Sequence[Path], keys: Sequence[Path] = ()) -> None:
        self._roots: list[x509.Certificate] = []
        self._keys: dict[bytes, Key] = {}
        for path in certificates:
            for certificate in _certificates(path):
                self._take(certificate)
        for path in keys:
            for public in _public_keys(path):
                self._keys.setdefault(_spki(public), Key(public, trusted=True))

    def _take(self, certificate: x509.Certificate) -> None:
        if _is_authority(certificate):
            self._roots.append(certificate)
            return
        public = certificate.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
            self._keys[_spki(public)] = Key(
                public,
                True,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
            )

    def keys(self, key_set: bytes) -> dict[str, Key]:
        """The keys of an export by their ids, each known to be trusted or not.

        Raises:
            Malformed: it is no set of keys as exports have it.
        """
        found: dict[str, Key] = {}
        for identifier, public in _jwks(key_set):
            found[identifier] = self._keys.get(_spki(public), Key(public, trusted=False))
        return found

    def stamp(self, token: bytes, digest: bytes) -> Stamp | None:
        """What the token certifies of the digest; None unless a trusted authority made it for it.

        Args:
            token: RFC 3161 TimeStampToken (DER), of whoever.
            digest: SHA-256.
        """
        if not self._roots or len(token) > LARGEST_TOKEN:
            return None
        try:
            answer = decode_timestamp_response(_granted(token))
            builder = VerifierBuilder(roots=list(self._roots))
            builder.build().verify(answer, digest)
            info = answer.tst_info
            if info.message_imprint.hash_algorithm.dotted_string != SHA256_OID:
                return None
            signed = answer.signed_data
            (signer,) = signed.signer_infos
            certificates = [x509.load_der_x509_certificate(one) for one in signed.certificates]
            subject = next(
                one.subject.rfc4514_string()
                for one in certificates
                if one.issuer == signer.issuer and one.serial_number == signer.serial_number
            )
            return Stamp(info.gen_time.astimezone(UTC), subject)
        except (VerificationError, ValueError, TypeError, OverflowError, StopIteration):
            return None


def _granted(token: bytes) -> bytes:
    """The token as an authority's answer has it (RFC 3161 section 2.4.2): after ``granted``."""
    content = b"\x30\x03\x02\x01\x00" + token
    length = len(content)
    if length < 0x80:
        return bytes([0x30, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x30, 0x80 | len(size)]) + size + content


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_content(path))
    except ValueError as error:
        raise Refused(
            f"{path.name} không chứa chứng thư PEM", f"{path.name} has no certificates in PEM"
        ) from error


def _public_keys(path: Path) -> list[ec.EllipticCurvePublicKey]:
    content = _content(path)
    try:
        if content.lstrip().startswith(b"{"):
            return [public for _, public in _jwks(canonical(json.loads(content)))]
        public = load_pem_public_key(content)
    except ValueError as error:
        raise Refused(
            f"{path.name} không chứa khóa công khai", f"{path.name} has no public keys"
        ) from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise Refused(f"{path.name}: không phải khóa EC", f"{path.name}: not an EC key")
    return [public]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise Refused(f"không đọc được {path.name}", f"cannot read {path.name}") from error
    if len(content) > _LARGEST_FILE:
        raise Refused(f"{path.name} quá lớn", f"{path.name} is too large")
    return content


def _jwks(content: bytes) -> list[tuple[str, ec.EllipticCurvePublicKey]]:
    try:
        members = json.loads(content)
        if canonical(members) != content or members.keys() != {"keys"}:
            raise Malformed("keys: not in canonical form")
        if len(members["keys"]) > _MOST_KEYS:
            raise Malformed("keys: too many")
        found = [(_text(one, "kid"), _point(one)) for one in members["keys"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Malformed("keys: not a set of EC keys on P-256") from error
    if len({identifier for identifier, _ in found}) != len(found):
        raise Malformed("keys: two of one id")
    return found


def _point(jwk: dict[str, object]) -> ec.EllipticCurvePublicKey:
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise Malformed("not an EC key on P-256")
    x, y = (
        int.from_bytes(base64.urlsafe_b64decode(_text(jwk, name) + "=="), "big")
        for name in ("x", "y")
    )
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _text(members: dict[str, object], name: str) -> str:
    value = members[name]
    if not isinstance(value, str):
        raise Malformed(f"{name} is no text")
    return value


def _spki(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
