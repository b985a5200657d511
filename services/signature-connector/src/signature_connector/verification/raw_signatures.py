"""Signature values outside of CMS: one key, one algorithm, one string of bytes."""

from dataclasses import dataclass
from typing import Literal

from asn1crypto import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from signature_connector.domain.findings import Refusal
from signature_connector.verification.algorithms import key_allowed

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to sign.

    Attributes:
        digest: a key of ``HASHES``.
    """

    mechanism: Literal["rsassa_pss", "rsassa_pkcs1v15", "ecdsa"]
    digest: str

    def __str__(self) -> str:
        return f"{self.mechanism} {self.digest}"


def check_value(certificate: x509.Certificate, scheme: Scheme, value: bytes, signed: bytes) -> None:
    """Check a signature value; of ECDSA, the two numbers side by side (RFC 7518, XMLDSig).

    Raises:
        Refusal: it is not by the certificate's key, or the key is too weak.
    """
    allowed = key_allowed(certificate.public_key)
    if not allowed:
        raise Refusal("weak-algorithm", allowed.failure_reason)
    key = serialization.load_der_public_key(certificate.public_key.dump())
    digest = HASHES[scheme.digest]()
    try:
        if scheme.mechanism == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            size = (key.key_size + 7) // 8
            if len(value) != 2 * size:
                raise Refusal("bad-signature")
            r, s = int.from_bytes(value[:size]), int.from_bytes(value[size:])
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))
        elif scheme.mechanism == "rsassa_pss" and isinstance(key, rsa.RSAPublicKey):
            salt = padding.PSS(padding.MGF1(digest), digest.digest_size)
            key.verify(value, signed, salt, digest)
        elif scheme.mechanism == "rsassa_pkcs1v15" and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, signed, padding.PKCS1v15(), digest)
        else:
            raise Refusal("bad-signature", "kind of key")
    except InvalidSignature as error:
        raise Refusal("bad-signature") from error
