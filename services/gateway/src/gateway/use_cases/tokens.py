"""Access tokens: signed here, checked by every service (RFC 9068, ES256)."""

import base64
import hashlib
import math
import time
from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from common.auth import Principal, TokenKeys
from common.identifiers import new_id
from gateway.domain.clients import Client

_COORDINATE_BYTES = 32
_MOST_AHEAD_SECONDS = 2
_INNER_SECONDS = 90
_INNER_REUSED_SECONDS = 45.0
_MOST_INNER = 5000


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
        self.issuer = issuer
        self.audience = audience
        self._inner: dict[tuple[object, ...], tuple[float, str]] = {}

    def issue(
        self, client: Client, scopes: Sequence[str], *, certificate: str | None = None
    ) -> str:
        """A token with these of the client's scopes.

        Args:
            certificate: SHA-256 thumbprint (base64url) of the certificate that must come with it
                (RFC 8705 §3.1).
        """
        now = int(time.time())
        # A token of the second in which earlier ones were made void must not look like those.
        now = max(now, min(math.floor(client.stale_until) + 1, now + _MOST_AHEAD_SECONDS))
        claims: dict[str, Any] = {
            "client_id": client.client_id,
            "scope": " ".join(scopes),
            "agencies": list(client.agencies),
            "procedures": list(client.procedures),
        }
        if client.sandbox:
            claims["sandbox"] = True
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": certificate}
        return self._signed(claims, now, self.seconds)

    def inner(self, principal: Principal) -> str:
        """A token for the services behind, with the rights that this caller has now.

        Whatever token came in stays at the gateway, which alone can check some of them: those
        bound to a certificate, those of other issuers, those that were revoked just now.
        """
        rights = (
            principal.client_id,
            principal.scopes,
            principal.agencies,
            principal.procedures,
            principal.sandbox,
        )
        now = time.monotonic()
        until, token = self._inner.get(rights, (0.0, ""))
        if until <= now:
            claims: dict[str, Any] = {
                "client_id": principal.client_id,
                "scope": " ".join(sorted(principal.scopes)),
                "agencies": list(principal.agencies),
                "procedures": sorted(principal.procedures),
                "inner": True,
            }
            if principal.sandbox:
                claims["sandbox"] = True
            token = self._signed(claims, int(time.time()), _INNER_SECONDS)
            if len(self._inner) >= _MOST_INNER:
                self._inner.clear()
            self._inner[rights] = (now + _INNER_REUSED_SECONDS, token)
        return token

    def _signed(self, claims: dict[str, Any], now: int, seconds: int) -> str:
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": claims["client_id"],
            **claims,
            "iat": now,
            "exp": now + seconds,
            "jti": str(new_id()),
        }
        return jwt.encode(
            claims, self.key.private, "ES256", headers={"kid": self.key.id, "typ": "at+jwt"}
        )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
