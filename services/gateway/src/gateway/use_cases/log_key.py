"""The key that signs the message log: blocks of records, and receipts."""

from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import SecretStr

from gateway.use_cases.tokens import SigningKey

_NUMBER_BYTES = 32
_ES256 = ec.ECDSA(SHA256())


class LogKey:
    """Signs with ES256.

    Args:
        pem: EC private key on P-256.

    Raises:
        ValueError: it is something else.
    """

    def __init__(self, pem: SecretStr) -> None:
        key = SigningKey(pem)
        self._private = key.private
        self.id = key.id
        """Its RFC 7638 thumbprint."""
        self.public: dict[str, Any] = key.public
        """As a JWK."""

    def sign(self, content: bytes) -> bytes:
        """The signature in the form of JWS: r and s, 32 bytes each (RFC 7518 section 3.4)."""
        r, s = decode_dss_signature(self._private.sign(content, _ES256))
        return r.to_bytes(_NUMBER_BYTES, "big") + s.to_bytes(_NUMBER_BYTES, "big")

    def token(self, claims: Mapping[str, Any], kind: str) -> str:
        """Signed claims as compact JWS (RFC 7515); ``kind`` is its ``typ``."""
        return jwt.encode(
            dict(claims), self._private, "ES256", headers={"kid": self.id, "typ": kind}
        )
