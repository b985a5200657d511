"""Client systems with keys and certificates, and an outside issuer of tokens, for tests."""

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import Receive, Scope, Send

from common.identifiers import new_id
from tests.support.gateway import AGENCY, OTHER, PROVINCE, SCOPES, SECRET

ISSUER, AUDIENCE = "https://sso.province.example", "lienthong"
TOKEN_ISSUER = "urn:lienthong:gateway"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PROXY, STRANGER = "10.77.0.5", "10.78.0.5"
PROXIES = ["10.77.0.0/16"]


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: Any, kid: str) -> dict[str, Any]:
    return {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


def certificate(days: tuple[int, int] = (-1, 30)) -> bytes:
    """A self-signed certificate (DER), valid between these days from now."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "one-stop")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def thumbprint(der: bytes) -> str:
    """RFC 8705 ``x5t#S256``."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def shown(der: bytes) -> dict[str, str]:
    """The header in which a proxy tells of it (RFC 9440)."""
    return {"client-cert": f":{base64.b64encode(der).decode()}:"}


KEY, SPARE_KEY = new_key(), new_key()
RSA_KEY, ED_KEY = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
CERTIFICATE, OTHER_CERTIFICATE = certificate(), certificate()
CLIENTS = (
    {
        "client_id": "signer",
        "scopes": SCOPES,
        "agencies": [PROVINCE],
        "keys": [
            public_jwk(KEY, "k1"),
            public_jwk(SPARE_KEY, "k2"),
            {
                **jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True),
                "kid": "r1",
            },
            {
                **jwt.algorithms.OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True),
                "kid": "e1",
            },
        ],
    },
    {
        "client_id": "carded",
        "secret": SECRET + "-carded",
        "scopes": SCOPES,
        "agencies": [PROVINCE],
        "certificates": [thumbprint(CERTIFICATE)],
    },
    {
        "client_id": "outsider",
        "scopes": ["dossiers:read"],
        "agencies": [OTHER],
        "external": [ISSUER, "system-7"],
    },
)


def clients() -> str:
    """The setting."""
    return json.dumps(CLIENTS)


def assertion(
    key: Any = KEY, header: dict[str, Any] | None = None, alg: str = "ES256", **changes: Any
) -> str:
    """A signed assertion of ``signer``; ``...`` leaves a claim out."""
    claims = {
        "iss": "signer",
        "sub": "signer",
        "aud": TOKEN_ISSUER,
        "exp": int(time.time()) + 120,
        "jti": str(new_id()),
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(claims, key, alg, headers={"kid": "k1", **(header or {})})


def asserting(token: str, **more: str) -> dict[str, str]:
    """The form with an assertion."""
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": token,
        **more,
    }


@dataclass
class OutsideIssuer:
    """Publishes its keys and signs tokens; also what an attacker runs who wants to be one."""

    keys: dict[str, Any] = field(default_factory=lambda: {"o1": new_key()})
    asked: int = 0
    more: list[dict[str, Any]] = field(default_factory=list)
    """Further members of its JWKS."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Its JWKS (ASGI)."""
        self.asked += 1
        told = [public_jwk(key, kid) for kid, key in self.keys.items()]
        body = json.dumps({"keys": told + self.more}).encode()
        headers = [(b"content-type", b"application/jwk-set+json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def token(self, kid: str = "o1", header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token that names ``system-7``; ``...`` leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "system-7",
            "iat": now,
            "exp": now + 300,
            "scope": "dossiers:read dossiers:write audit operations",
            "agencies": ["*", AGENCY],
            "procedures": ["*"],
            "client_id": "one-stop",
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not ...}
        return jwt.encode(claims, self.keys[kid], "ES256", headers={"kid": kid, **(header or {})})
