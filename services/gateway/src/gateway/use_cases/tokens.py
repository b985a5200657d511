"""Access tokens: signed here, checked by every service (RFC 9068, ES256)."""

import base64
import hashlib
import time
from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from common.auth import TokenKeys
from common.identifiers import new_id
from gateway.domain.clients import Client

_COORDINATE_BYTES = 32


class SigningKey:
    """The key that signs tokens.

    Args:
        pem: EC private key on P-256.

    Raises:
        ValueError: it is something else.
    """

    def __init__(self, pem: SecretStr) -> None:
        try:
            key = load_pem_private_key(pem.get_secret_value().encode(), password=None)
        except (ValueError, TypeError) as error:
            raise ValueError("not a private key in PEM without a password") from error
        match key:
            case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
                numbers = key.public_key().public_numbers()
            case _:
                raise ValueError("not an EC key on the curve P-256")
        x, y = (
            _base64url(number.to_bytes(_COORDINATE_BYTES, "big"))
            for number in (numbers.x, numbers.y)
        )
        # RFC 7638: the thumbprint of the required members, in this order and spelling.
        thumbprint = hashlib.sha256(
            f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()
        ).digest()
        self.private = key
        self.id = _base64url(thumbprint)
        self.public: dict[str, str] = {
            "kty": "EC",
            "crv": "P-256",
            "x": x,
            "y": y,
            "kid": self.id,
            "alg": "ES256",
            "use": "sig",
        }

    def published(self) -> dict[str, Any]:
        """The JWKS document."""
        return {"keys": [self.public]}

    def token_keys(self) -> TokenKeys:
        """For checking tokens in the process that signs them, without a call."""

        async def own() -> dict[str, Any]:
            return self.published()

        return TokenKeys(own)


class Tokens:
    """Issues access tokens.

    Args:
        key: signs.
        issuer, audience: the claims of these names.
        seconds: how long a token is valid.
    """

    def __init__(self, key: SigningKey, issuer: str, audience: str, seconds: int) -> None:
        self.key = key
        self.seconds = seconds
        self._issuer = issuer
        self._audience = audience

    def issue(self, client: Client, scopes: Sequence[str]) -> str:
        """A token with these of the client's scopes."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": client.client_id,
            "client_id": client.client_id,
            "scope": " ".join(scopes),
            "agencies": list(client.agencies),
            "procedures": list(client.procedures),
            "iat": now,
            "exp": now + self.seconds,
            "jti": str(new_id()),
        }
        if client.sandbox:
            claims["sandbox"] = True
        return jwt.encode(
            claims, self.key.private, "ES256", headers={"kid": self.key.id, "typ": "at+jwt"}
        )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
