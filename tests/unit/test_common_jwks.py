"""Which public keys may check signatures."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from common.jwks import ASYMMETRIC, usable_key

_RSA = rsa.generate_private_key(65537, 2048)
_EC = ec.generate_private_key(ec.SECP256R1())
ALL = ("ES256", "EdDSA", "PS256", "RS256")


def ec_jwk(key: Any = _EC, **more: Any) -> dict[str, Any]:
    public = key.public_key() if hasattr(key, "sign") else key
    return {**jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True), **more}


def rsa_jwk(key: Any = _RSA, **more: Any) -> dict[str, Any]:
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}


def test_a_key_is_for_the_algorithm_of_its_kind() -> None:
    key = usable_key(ec_jwk(), ALL)
    assert key is not None
    assert key.algorithm_name == "ES256"
    ed = jwt.algorithms.OKPAlgorithm.to_jwk(
        ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True
    )
    assert usable_key(ed, ALL).algorithm_name == "EdDSA"  # type: ignore[union-attr]
    assert usable_key(rsa_jwk(), ALL).algorithm_name == "PS256"  # type: ignore[union-attr]
    assert usable_key(rsa_jwk(alg="RS256"), ALL).algorithm_name == "RS256"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "ES256"},
        ec_jwk(use="enc"),
        ec_jwk(alg="RS256"),
        ec_jwk(alg="HS256"),
        ec_jwk(alg="none"),
        ec_jwk(crv="P-384"),
        ec_jwk(crv="secp256k1"),
        ec_jwk(crv=["P-256"]),
        ec_jwk(x=None),
        ec_jwk(x="AAAA"),
        ec_jwk(kty=["EC"]),
        json.loads(jwt.algorithms.ECAlgorithm.to_jwk(_EC)),
        rsa_jwk(rsa.generate_private_key(65537, 1024)),
        rsa_jwk(alg="HS256"),
        {},
        None,
        "key",
        [],
    ],
)
def test_other_keys_are_none(jwk: object) -> None:
    assert usable_key(jwk, ALL) is None


def test_shared_secrets_are_never_allowed() -> None:
    assert not {name for name in ASYMMETRIC if name.startswith("HS") or name.lower() == "none"}
