"""Settings that would let somebody in are refused at start."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import ValidationError

from gateway.settings import Settings
from tests.support.gateway import settings
from tests.support.identity import KEY, public_jwk

GOOD = {"issuer": "https://sso.example", "jwks_url": "https://sso.example/jwks", "audience": "us"}
CLIENT = {"client_id": "one", "scopes": [], "agencies": [], "secret": "long-enough-to-be-one"}


def made(**changed: Any) -> Settings:
    return settings("postgresql+asyncpg://u:p@127.0.0.1/x", Path("/nowhere"), **changed)


def test_by_default_nobody_else_is_trusted() -> None:
    assert made().trusted_proxies == ()
    assert made().external_issuers == ()


@pytest.mark.parametrize(
    "url", ["https://sso.example/jwks", "http://127.0.0.1:80/j", "http://[::1]/j"]
)
def test_keys_of_issuers_come_safely(url: str) -> None:
    assert made(external_issuers=[{**GOOD, "jwks_url": url}]).external_issuers


@pytest.mark.parametrize(
    "changes",
    [
        {"jwks_url": "http://sso.example/jwks"},
        {"jwks_url": "http://127.0.0.1.sso.example/jwks"},
        {"jwks_url": "http://127.0.0.1@sso.example/jwks"},
        {"jwks_url": "https://me:secret@sso.example/jwks"},
        {"jwks_url": "file:///etc/passwd"},
        {"jwks_url": "https://"},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": ["ES256", "HS512"]},
        {"algorithms": []},
        {"issuer": ""},
        {"issuer": "urn:lienthong:gateway"},
        {"audience": ""},
        {"jku": "https://sso.example/other"},
    ],
)
def test_an_issuer_that_could_be_another_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(external_issuers=[{**GOOD, **changes}])


def test_an_issuer_is_named_once() -> None:
    with pytest.raises(ValidationError):
        made(external_issuers=[GOOD, {**GOOD, "audience": "them"}])


def _rsa(bits: int) -> dict[str, Any]:
    public = rsa.generate_private_key(65537, bits).public_key()
    return dict(RSAAlgorithm.to_jwk(public, as_dict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": [json.loads(ECAlgorithm.to_jwk(KEY))]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [_rsa(1024)]},
        {"keys": [public_jwk(KEY, "k")] * 11},
        {"keys": [{}]},
        {"certificates": ["AB:CD"]},
        {"secret": "short"},
        {"secret": None},
    ],
)
def test_a_client_without_a_safe_way_in_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(clients=json.dumps([{**CLIENT, **changes}]))


def test_a_client_may_do_without_a_secret() -> None:
    client = {**CLIENT, "secret": None, "keys": [public_jwk(KEY, "k"), _rsa(2048)]}
    assert made(clients=json.dumps([client])).client_seeds()[0].secret is None
