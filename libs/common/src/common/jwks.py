"""Public keys as JWK (RFC 7517): which of them may check signatures, and of which algorithm."""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_LEAST_RSA_BITS = 2048
_MOST_RSA_BITS = 8192
_FITTING = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("RSA", None): ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512"),
}
ASYMMETRIC = frozenset(name for names in _FITTING.values() for name in names)
"""Algorithms that may be allowed at all: nothing with a shared secret, and not ``none``."""


def usable_key(jwk: object, algorithms: Sequence[str]) -> jwt.PyJWK | None:
    """The key for one of these algorithms, or None where it is good for none of them.

    Its kind, and its ``alg`` where it has one, say which; never the header of a token. Symmetric
    and private keys, short RSA keys and keys for encryption are no keys here.

    Args:
        jwk: as found in a JWKS.
        algorithms: that are allowed, the most wanted first.
    """
    if not isinstance(jwk, Mapping) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    kind = jwk.get("kty")
    curve = jwk.get("crv") if kind in ("EC", "OKP") else None
    if not (isinstance(kind, str) and (curve is None or isinstance(curve, str))):
        return None
    fitting = _FITTING.get((kind, curve), ())
    wanted = [name for name in algorithms if name in fitting and jwk.get("alg", name) == name]
    if not wanted:
        return None
    told: dict[str, Any] = dict(jwk)
    try:
        key = jwt.PyJWK.from_dict(told, wanted[0])
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if isinstance(key.key, RSAPublicKey) and not (
        _LEAST_RSA_BITS <= key.key.key_size <= _MOST_RSA_BITS
    ):
        return None
    return key
