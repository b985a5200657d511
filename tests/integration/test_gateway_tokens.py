"""Getting a token, and what a token is."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from statistics import median
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text

from gateway.use_cases import credentials
from tests.support.databases import Databases
from tests.support.gateway import (
    PROVINCE,
    SCOPES,
    SECRET,
    RunningGateway,
    gateway_database,
    running_gateway,
    submission,
)

GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


async def ask(
    gateway: RunningGateway,
    form: dict[str, str] | bytes = GRANT,
    auth: Any = ("one-stop", SECRET),
    **headers: str,
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(form, bytes):
        named.setdefault("content-type", "application/x-www-form-urlencoded")
        return await gateway.http.post("/oauth/token", content=form, headers=named, auth=auth)
    return await gateway.http.post("/oauth/token", data=form, headers=named, auth=auth)


def fault(answer: httpx.Response) -> str:
    """The error of RFC 6749 §5.2, after looking at what every one has."""
    body = answer.json()
    assert set(body) == {"error", "error_description", "error_description_vi"}
    assert body["error_description"].isascii()
    assert answer.headers["cache-control"] == "no-store"
    return str(body["error"])


async def test_a_token_is_what_its_client_may_do(gateway: RunningGateway) -> None:
    answer = await ask(gateway)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
    assert body["scope"] == " ".join(SCOPES)
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    jwks = (await gateway.http.get("/.well-known/jwks.json")).json()
    header = jwt.get_unverified_header(body["access_token"])
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    (key,) = [key for key in jwt.PyJWKSet.from_dict(jwks).keys if key.key_id == header["kid"]]
    claims = jwt.decode(
        body["access_token"],
        key,
        algorithms=["ES256"],
        audience="urn:lienthong:backbone",
        issuer="urn:lienthong:gateway",
    )
    assert claims["exp"] - claims["iat"] == 900
    assert {name: claims[name] for name in ("sub", "client_id", "scope", "agencies")} == {
        "sub": "one-stop",
        "client_id": "one-stop",
        "scope": " ".join(SCOPES),
        "agencies": [PROVINCE],
    }
    other = jwt.decode(
        (await ask(gateway)).json()["access_token"], options={"verify_signature": False}
    )
    assert other["jti"] != claims["jti"]


async def test_the_private_key_is_not_published(gateway: RunningGateway) -> None:
    (key,) = (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


async def test_a_token_opens_the_door(gateway: RunningGateway) -> None:
    token = (await ask(gateway)).json()["access_token"]
    answer = await gateway.http.post(
        "/v1/dossiers", json=submission(), headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 202


async def test_credentials_may_stand_in_the_form(gateway: RunningGateway) -> None:
    form = {**GRANT, "client_id": "one-stop", "client_secret": SECRET}
    assert (await ask(gateway, form, auth=None)).status_code == 200


async def test_credentials_in_the_header_are_form_encoded(databases: Databases, tmp_path) -> None:
    """RFC 6749 §2.3.1"""
    secret = "đặc biệt: +%&= 0123456789"
    clients = [{"client_id": "odd", "secret": secret, "scopes": ["a"], "agencies": ["*"]}]
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=json.dumps(clients)) as gateway:
        pair = f"odd:{quote(secret, safe='')}".encode()
        header = "Basic " + base64.b64encode(pair).decode()
        assert (await ask(gateway, auth=None, authorization=header)).status_code == 200


async def test_fewer_scopes_may_be_asked_for_but_no_more(gateway: RunningGateway) -> None:
    answer = await ask(gateway, {**GRANT, "scope": "dossiers:read"})
    assert answer.json()["scope"] == "dossiers:read"
    more = await ask(gateway, {**GRANT, "scope": "dossiers:read events:history"})
    assert (more.status_code, fault(more)) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("client_id", "secret"),
    [
        ("one-stop", SECRET + "x"),
        ("one-stop", SECRET[:-1]),
        ("one-stop", SECRET + "-2"),
        ("one-stop", ""),
        ("one-stop", "x" * 5000),
        ("nobody", SECRET),
        ("", SECRET),
        ("retired", SECRET + "-5"),
        ("one-stop\x00", SECRET),
    ],
)
async def test_whoever_is_not_a_client_hears_one_and_the_same(
    gateway: RunningGateway, client_id: str, secret: str
) -> None:
    answer = await ask(gateway, auth=(client_id, secret))
    assert (answer.status_code, fault(answer)) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.json()["error_description"] == "Unknown client or wrong secret"


async def test_unknown_client_and_wrong_secret_take_the_same_work(
    gateway: RunningGateway, monkeypatch
) -> None:
    checks = []
    verify = credentials._verify

    def counting(stored: Sequence[str], secret: str) -> bool:
        checks.append(stored)
        return verify(stored, secret)

    monkeypatch.setattr(gateway.app.state.gateway.credentials, "_verify", counting)
    took: dict[str, list[float]] = {"one-stop": [], "nobody": [], "retired": []}
    for number in range(5):
        for client_id, times in took.items():
            started = time.perf_counter()
            await ask(gateway, auth=(client_id, f"wrong-{number}"))
            times.append(time.perf_counter() - started)
    assert len(checks) == 15
    parameters = {one.rsplit("$", 2)[0] for stored in checks for one in stored}
    assert len(parameters) == 1
    middle = {client_id: median(times) for client_id, times in took.items()}
    assert max(middle.values()) < 3 * min(middle.values())


async def test_a_storm_of_requests_costs_one_check(gateway: RunningGateway, monkeypatch) -> None:
    checks = 0
    verify = credentials._verify

    def counting(stored: Sequence[str], secret: str) -> bool:
        nonlocal checks
        checks += 1
        return verify(stored, secret)

    monkeypatch.setattr(gateway.app.state.gateway.credentials, "_verify", counting)
    answers = await asyncio.gather(*(ask(gateway) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await ask(gateway)).status_code == 200
    assert checks == 1


async def test_checking_secrets_does_not_hold_the_loop_up(
    gateway: RunningGateway, monkeypatch
) -> None:
    def slow(stored: Sequence[str], secret: str) -> bool:
        time.sleep(1)
        return False

    monkeypatch.setattr(gateway.app.state.gateway.credentials, "_verify", slow)
    checking = asyncio.ensure_future(ask(gateway, auth=("one-stop", "wrong")))
    longest, last = 0.0, time.perf_counter()
    while not checking.done():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    assert longest < 0.9
    assert (await checking).status_code == 401


async def test_too_many_checks_are_put_off(gateway: RunningGateway, monkeypatch) -> None:
    monkeypatch.setattr(credentials, "_MOST_WAITING", 3)
    answers = await asyncio.gather(
        *(ask(gateway, auth=("one-stop", f"wrong-{number}")) for number in range(20))
    )
    assert {answer.status_code for answer in answers} == {401, 503}
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert busy.json()["type"] == "urn:lienthong:problem:busy"


async def test_a_changed_secret_is_effective_at_once(gateway: RunningGateway) -> None:
    assert (await ask(gateway)).status_code == 200
    async with gateway.core.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE client SET secret_hash = (SELECT secret_hash FROM client AS o "
                "WHERE o.client_id = 'other') WHERE client_id = 'one-stop'"
            )
        )
    assert (await ask(gateway)).status_code == 401
    assert (await ask(gateway, auth=("one-stop", SECRET + "-2"))).status_code == 200


async def test_a_client_that_is_switched_off_gets_no_more_tokens(gateway: RunningGateway) -> None:
    assert (await ask(gateway)).status_code == 200
    async with gateway.core.database.transaction() as connection:
        await connection.execute(
            text("UPDATE client SET active = false WHERE client_id = 'one-stop'")
        )
    assert (await ask(gateway)).status_code == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        (b"grant_type=client_credentials&scope=a&scope=b", "invalid_request"),
        (b"grant_type=client_credentials&client_secret=x", "invalid_request"),
        (b"grant_type=client_credentials&client_id=other", "invalid_request"),
        (b"grant_type=client_credentials&scope=%ff", "invalid_request"),
        (b"grant_type=client_credentials\xff", "invalid_request"),
        (b"&".join(b"a%d=1" % number for number in range(30)), "invalid_request"),
        (b'{"grant_type":"client_credentials"}', "invalid_request"),
    ],
)
async def test_other_requests_are_refused(gateway: RunningGateway, form: Any, error: str) -> None:
    answer = await ask(gateway, form)
    assert (answer.status_code, fault(answer)) == (400, error)


async def test_a_form_is_a_form(gateway: RunningGateway) -> None:
    answer = await ask(gateway, b"grant_type=client_credentials", content_type="text/plain")
    assert (answer.status_code, fault(answer)) == (400, "invalid_request")


async def test_a_long_form_is_cut_off(gateway: RunningGateway) -> None:
    answer = await ask(gateway, b"grant_type=client_credentials&x=" + b"a" * 20_000)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ", "Basic !!!", "Basic eHg=", "Bearer abc", "Basic /////w==", "x"]
)
async def test_a_header_that_is_not_basic_is_no_client(gateway: RunningGateway, header) -> None:
    answer = await ask(gateway, auth=None, authorization=header)
    assert (answer.status_code, fault(answer)) == (401, "invalid_client")


async def test_the_registry_is_brought_up_to_date_at_start(databases: Databases, tmp_path) -> None:
    url = await gateway_database(databases)
    changed = {"client_id": "one-stop", "secret": SECRET, "scopes": ["a:b"], "agencies": ["H10"]}
    async with running_gateway(url, tmp_path) as gateway:
        (before,) = await gateway.rows("SELECT * FROM client WHERE client_id = 'one-stop'")
        assert SECRET not in before.secret_hash
        assert before.secret_hash.startswith("$argon2id$")
    async with running_gateway(url, tmp_path, clients=json.dumps([changed])) as gateway:
        (after,) = await gateway.rows("SELECT * FROM client WHERE client_id = 'one-stop'")
        assert (after.scopes, after.agencies) == (["a:b"], ["H10"])
        assert after.secret_hash == before.secret_hash
        assert len(await gateway.rows("SELECT 1 FROM client")) == 5
    anew = json.dumps([{**changed, "secret": "another-secret-altogether"}])
    async with running_gateway(url, tmp_path, clients=anew) as gateway:
        assert (await ask(gateway)).status_code == 401
        assert (await ask(gateway, auth=("one-stop", "another-secret-altogether"))).is_success


def forged(claims: dict[str, Any], key: Any, algorithm: str, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers=header)


def confused(claims: dict[str, Any], public: str, kid: str) -> str:
    """Signed by HMAC, with what everybody knows as its key."""
    parts = ({"alg": "HS256", "typ": "JWT", "kid": kid}, claims)
    text = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts
    )
    signature = hmac.digest(public.encode(), text, "sha256")
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def test_forged_tokens_do_not_open_the_door(gateway: RunningGateway) -> None:
    token = (await ask(gateway)).json()["access_token"]
    kid = jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(token, options={"verify_signature": False})
    jwks = (await gateway.http.get("/.well-known/jwks.json")).json()
    other_key = ec.generate_private_key(ec.SECP256R1())
    own_key = gateway.app.state.gateway.tokens.key.private
    head, payload, signature = token.split(".")
    public_pem = (
        own_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
    attempts = [
        forged(claims, other_key, "ES256", kid=kid),
        forged(claims, other_key, "ES256", kid="unknown"),
        forged(claims, other_key, "ES256", kid="../../etc/passwd"),
        forged(claims, other_key, "ES256", kid=kid, jku="https://evil.example/jwks"),
        forged(claims, None, "none", kid=kid),
        confused(claims, json.dumps(jwks["keys"][0]), kid),
        confused(claims, public_pem, kid),
        forged({**claims, "aud": "another"}, own_key, "ES256", kid=kid),
        forged({**claims, "iss": "another"}, own_key, "ES256", kid=kid),
        forged({**claims, "exp": 1}, own_key, "ES256", kid=kid),
        forged({**claims, "iat": time.time() + 3600}, own_key, "ES256", kid=kid),
        forged({k: v for k, v in claims.items() if k != "client_id"}, own_key, "ES256", kid=kid),
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{base64.urlsafe_b64encode(b'{}').decode()}.{signature}",
        token[:-1],
        "..",
        "a.b.c",
    ]
    for attempt in attempts:
        answer = await gateway.http.get(
            "/v1/submissions", headers={"authorization": f"Bearer {attempt}"}
        )
        assert answer.status_code == 401, attempt
    own = await gateway.http.get("/v1/submissions", headers={"authorization": f"Bearer {token}"})
    assert own.status_code == 200
