"""How client systems show who they are: keys, certificates, tokens of other issuers."""

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.auth import TokenChecker
from common.settings import TokenSettings
from gateway.use_cases.tokens import SigningKey
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    OTHER,
    SECRET,
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    listening,
    running_gateway,
    submission,
)
from tests.support.identity import (
    AUDIENCE,
    CERTIFICATE,
    ED_KEY,
    ISSUER,
    KEY,
    OTHER_CERTIFICATE,
    PROXIES,
    PROXY,
    RSA_KEY,
    SPARE_KEY,
    STRANGER,
    TOKEN_ISSUER,
    OutsideIssuer,
    asserting,
    assertion,
    certificate,
    clients,
    new_key,
    shown,
    thumbprint,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = {"grant_type": "client_credentials"}
CARDED = ("carded", SECRET + "-carded")


@dataclass
class World:
    """Two replicas of the gateway on one database, an outside issuer and a service behind."""

    one: RunningGateway
    two: RunningGateway
    issuer: OutsideIssuer
    behind: Upstream

    async def ask(
        self,
        form: dict[str, str],
        *,
        auth: Any = None,
        peer: str = PROXY,
        at: RunningGateway | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Ask for a token, from this address."""
        async with self.calling(peer, at) as http:
            return await http.post("/oauth/token", data=form, auth=auth, headers=headers)

    async def read(
        self, token: str, *, peer: str = PROXY, path: str = "/v1/submissions", **headers: str
    ) -> int:
        """The status of a read with this token."""
        async with self.calling(peer) as http:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            bearer = {"authorization": f"Bearer {token}"}
            return (await http.get(path, headers={**bearer, **named})).status_code

    def calling(self, peer: str, at: RunningGateway | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=(at or self.one).app, client=(peer, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    databases = Databases(postgres, f"t{secrets.token_hex(4)}")
    url = await gateway_database(databases)
    folder = tmp_path_factory.mktemp("identity")
    issuer, behind = OutsideIssuer(), Upstream()
    async with listening(issuer) as jwks_url, behind.serving():
        named = {"issuer": ISSUER, "jwks_url": f"{jwks_url}/keys", "audience": AUDIENCE}
        changed: dict[str, Any] = {
            "clients": clients(),
            "trusted_proxies": PROXIES,
            "external_issuers": [{**named, "algorithms": ["ES256"]}],
            "dossier_url": behind.url,
        }
        async with (
            running_gateway(url, folder, **changed) as one,
            running_gateway(url, folder, **changed) as two,
        ):
            yield World(one, two, issuer, behind)
    await databases.drop()


async def test_a_client_signs_who_it_is(world: World) -> None:
    for key, kid in ((KEY, "k1"), (SPARE_KEY, "k2")):
        answer = await world.ask(asserting(assertion(key, {"kid": kid})))
        assert answer.status_code == 200, answer.text
        assert await world.read(answer.json()["access_token"]) == 200
    for signer, name, alg in (
        (RSA_KEY, "r1", "PS256"),
        (RSA_KEY, "r1", "RS256"),
        (ED_KEY, "e1", "EdDSA"),
    ):
        answer = await world.ask(asserting(assertion(signer, {"kid": name}, alg)))
        assert answer.status_code == 200, answer.text
    no_kid = jwt.encode(jwt.decode(assertion(), options={"verify_signature": False}), KEY, "ES256")
    assert (await world.ask(asserting(no_kid, client_id="signer"))).status_code == 200


_RSA = rsa.generate_private_key(65537, 2048)


def _shared(secret: bytes) -> str:
    """An assertion by HMAC, with what everybody knows as its key."""
    header = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    claims = jwt.decode(assertion(), options={"verify_signature": False})
    text = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims)
    )
    signature = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return f"{text.decode()}.{signature.decode()}"


_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_CLAIMS = jwt.decode(assertion(), options={"verify_signature": False})


@pytest.mark.parametrize(
    "bad",
    [
        lambda: assertion(new_key()),
        lambda: assertion(SPARE_KEY),  # under the name of the other key
        lambda: assertion(header={"kid": "k3"}),
        lambda: assertion(new_key(), {"kid": "../../k1"}),
        lambda: assertion(aud="urn:somebody:else"),
        lambda: assertion(aud=[TOKEN_ISSUER, "https://elsewhere.example/token"]),
        lambda: assertion(aud=...),
        lambda: assertion(exp=...),
        lambda: assertion(exp=int(time.time()) - 40),
        lambda: assertion(exp=int(time.time()) + 3600),
        lambda: assertion(exp=1e300),
        lambda: assertion(nbf=int(time.time()) + 600),
        lambda: assertion(jti=...),
        lambda: assertion(jti=""),
        lambda: assertion(jti=7),
        lambda: assertion(jti="a\0b"),
        lambda: assertion(jti="x" * 300),
        lambda: assertion(iss="one-stop"),
        lambda: assertion(sub="one-stop"),
        lambda: assertion(sub="one-stop", iss="one-stop"),
        lambda: assertion(sub="nobody", iss="nobody"),
        lambda: assertion(sub=["signer"]),
        lambda: assertion(header={"typ": "at+jwt"}),
        lambda: jwt.encode(_CLAIMS, "", "none", headers={"kid": "k1"}),
        lambda: jwt.encode(_CLAIMS, _RSA, "RS256", headers={"kid": "k1"}),
        lambda: _shared(_PEM),
        lambda: assertion().rpartition(".")[0] + ".",
        lambda: "x",
        lambda: "",
        lambda: "a" * 9000,
        lambda: ".".join([jwt.utils.base64url_encode(b"[" * 2500).decode()] * 3),
    ],
)
async def test_an_assertion_that_is_not_right_is_refused(world: World, bad: Any) -> None:
    answer = await world.ask(asserting(bad()))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.json()["error_description"] == "Unknown client or wrong secret"


async def test_an_assertion_is_for_the_client_that_the_form_names(world: World) -> None:
    other = await world.ask(asserting(assertion(), client_id="one-stop"))
    assert other.status_code == 401


async def test_an_assertion_is_good_once_in_all_replicas(world: World) -> None:
    form = asserting(assertion())
    answers = await asyncio.gather(
        *(world.ask(form, at=at) for at in (world.one, world.two) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9


async def test_two_ways_at_once_are_refused(world: World) -> None:
    form = asserting(assertion())
    for refused in (
        await world.ask(form, auth=CARDED),
        await world.ask({**form, "client_secret": "x", "client_id": "signer"}),
        await world.ask({**GRANT, "client_secret": "x"}, auth=CARDED),
    ):
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    untyped = {name: value for name, value in form.items() if name != "client_assertion_type"}
    assert (await world.ask(untyped)).json()["error"] == "invalid_request"


async def test_a_certificate_is_enough_and_binds_the_token(world: World) -> None:
    """RFC 8705"""
    answer = await world.ask({**GRANT, "client_id": "carded"}, headers=shown(CERTIFICATE))
    assert answer.status_code == 200
    token = answer.json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["cnf"] == {"x5t#S256": thumbprint(CERTIFICATE)}
    assert await world.read(token, **shown(CERTIFICATE)) == 200
    assert await world.read(token) == 401
    assert await world.read(token, **shown(OTHER_CERTIFICATE)) == 401
    assert await world.read(token, client_cert="nonsense") == 401


async def test_a_secret_with_a_certificate_gives_a_bound_token(world: World) -> None:
    answer = await world.ask(GRANT, auth=CARDED, headers=shown(CERTIFICATE))
    token = answer.json()["access_token"]
    assert await world.read(token) == 401
    assert await world.read(token, **shown(CERTIFICATE)) == 200
    other = await world.ask(GRANT, auth=CARDED, headers=shown(OTHER_CERTIFICATE))
    assert other.status_code == 401
    plain = (await world.ask(GRANT, auth=CARDED)).json()["access_token"]
    assert await world.read(plain) == 200


async def test_a_certificate_counts_only_from_a_trusted_proxy(world: World) -> None:
    form = {**GRANT, "client_id": "carded"}
    bound = (await world.ask(form, headers=shown(CERTIFICATE))).json()["access_token"]
    for peer in (STRANGER, "127.0.0.1"):
        refused = await world.ask(form, peer=peer, headers=shown(CERTIFICATE))
        assert refused.status_code == 401
        assert await world.read(bound, peer=peer, **shown(CERTIFICATE)) == 401
        forwarded = {"x_forwarded_for": PROXY, "forwarded": f"for={PROXY}"}
        assert await world.read(bound, peer=peer, **shown(CERTIFICATE), **forwarded) == 401


@pytest.mark.parametrize("der", [OTHER_CERTIFICATE, certificate((-9, -1)), b"x"])
async def test_another_certificate_opens_nothing(world: World, der: bytes) -> None:
    refused = await world.ask({**GRANT, "client_id": "carded"}, headers=shown(der))
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    nobody = await world.ask({**GRANT, "client_id": "signer"}, headers=shown(CERTIFICATE))
    assert nobody.status_code == 401


async def test_a_token_that_shows_its_bond_is_refused_by_services_behind(world: World) -> None:
    answer = await world.ask({**GRANT, "client_id": "carded"}, headers=shown(CERTIFICATE))
    bound = answer.json()["access_token"]
    keys = SigningKey(world.one.core.settings.signing_key).token_keys()  # type: ignore[attr-defined]
    service = TokenChecker(TokenSettings(), keys)
    with pytest.raises(Exception, match="invalid"):
        await service.check(bound)
    status = await world.read(bound, path=f"/v1/dossiers/{dossier_code()}", **shown(CERTIFICATE))
    assert status == 200
    passed = world.behind.asked[-1].headers
    assert passed["authorization"] != f"Bearer {bound}"
    assert "client-cert" not in passed
    inner = passed["authorization"].removeprefix("Bearer ")
    principal = await service.check(inner)
    assert (principal.client_id, "dossiers:read" in principal.scopes) == ("carded", True)
    # What is meant for one call behind opens nothing at the door.
    assert await world.read(inner) == 401


async def test_another_issuers_token_names_a_client_and_gives_it_nothing(world: World) -> None:
    token = world.issuer.token()
    assert await world.read(token) == 200
    async with world.calling(PROXY) as http:
        bearer = {"authorization": f"Bearer {token}"}
        written = await http.post("/v1/dossiers", json=submission(), headers=bearer)
        assert written.status_code == 403
        await http.get(f"/v1/dossiers/{dossier_code(1, OTHER)}", headers=bearer)
    inner = world.behind.asked[-1].headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(inner, options={"verify_signature": False})
    assert (claims["client_id"], claims["scope"]) == ("outsider", "dossiers:read")
    assert claims["agencies"] == [OTHER]
    assert AGENCY not in claims["agencies"]


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "system-8"},
        {"sub": "outsider"},
        {"sub": ...},
        {"sub": 7},
        {"sub": ""},
        {"aud": "another"},
        {"aud": ...},
        {"exp": int(time.time()) - 60},
        {"exp": ...},
        {"iat": ...},
        {"nbf": int(time.time()) + 600},
        {"iss": "https://sso.province.example/"},
        {"iss": TOKEN_ISSUER},
        {"iss": TOKEN_ISSUER, "aud": "urn:lienthong:backbone", "client_id": "one-stop"},
        {"iss": [ISSUER]},
        {"cnf": {"jkt": "x"}},
        {"cnf": {"x5t#S256": thumbprint(CERTIFICATE)}},
    ],
)
async def test_an_outside_token_with_claims_that_do_not_fit_is_refused(
    world: World, changes: dict[str, Any]
) -> None:
    try:
        token = world.issuer.token(**changes)
    except TypeError:  # the library does not write such a claim
        claims = {"iss": changes["iss"], "aud": AUDIENCE, "sub": "system-7"}
        parts = [{"alg": "ES256", "kid": "o1"}, claims]
        token = ".".join(
            jwt.utils.base64url_encode(json.dumps(part).encode()).decode() for part in parts
        )
        token += ".AAAA"
    assert await world.read(token) == 401


async def test_clocks_of_issuers_may_differ_a_little(world: World) -> None:
    now = int(time.time())
    assert await world.read(world.issuer.token(exp=now - 15, iat=now - 100)) == 200
    assert await world.read(world.issuer.token(iat=now + 15, nbf=now + 15)) == 200


async def test_an_outside_issuer_changes_its_keys(world: World) -> None:
    world.issuer.keys["o2"] = new_key()
    await asyncio.sleep(2.1)  # not asked again and again for keys that are not known
    assert await world.read(world.issuer.token("o2")) == 200
    assert await world.read(world.issuer.token("o1")) == 200


async def test_keys_come_from_the_settings_alone(world: World) -> None:
    """SSRF and key injection: ``jku``, ``x5u``, ``jwk``, ``kid`` of a token lead nowhere."""
    attacker = OutsideIssuer({"o1": new_key(), "x1": new_key()})
    async with listening(attacker) as url:
        jwks = f"{url}/keys"
        own = jwt.algorithms.ECAlgorithm.to_jwk(attacker.keys["x1"].public_key(), as_dict=True)
        for header in (
            {"jku": jwks},
            {"x5u": jwks},
            {"jku": jwks, "kid": "x1"},
            {"jwk": own},
            {"jwk": own, "kid": "o1"},
            {"kid": jwks},
            {"kid": "../../../../dev/null"},
            {"kid": "' OR 1=1 --"},
            {"iss": ISSUER},
        ):
            for kid in ("o1", "x1"):
                for changes in (
                    {},
                    {"iss": TOKEN_ISSUER, "aud": "urn:lienthong:backbone"},
                    {"iss": url},
                ):
                    token = attacker.token(kid, header, **changes)
                    assert await world.read(token) == 401
            refused = await world.ask(asserting(assertion(attacker.keys["o1"], header)))
            assert refused.status_code == 401
    assert attacker.asked == 0


async def test_the_algorithm_is_the_keys_and_on_the_list(world: World) -> None:
    claims = jwt.decode(world.issuer.token(), options={"verify_signature": False})
    public = world.issuer.keys["o1"].public_key()
    world.issuer.more = [
        {**jwt.algorithms.RSAAlgorithm.to_jwk(_RSA.public_key(), as_dict=True), "kid": "r1"},
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode(), "kid": "s1"},
    ]
    await asyncio.sleep(2.1)
    attempts = [
        jwt.encode(claims, _RSA, "RS256", headers={"kid": "r1"}),  # not on this issuer's list
        jwt.encode(claims, b"s" * 32, "HS256", headers={"kid": "s1"}),
        jwt.encode(claims, "", "none", headers={"kid": "o1"}),
    ]
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):
        for alg in ("HS256", "ES256"):
            header = {"alg": alg, "kid": "o1"}
            text = b".".join(
                jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims)
            )
            signature = jwt.utils.base64url_encode(hmac.digest(secret, text, "sha256"))
            attempts.append(f"{text.decode()}.{signature.decode()}")
    for attempt in attempts:
        assert await world.read(attempt) == 401
    assert await world.read(world.issuer.token()) == 200


async def test_a_request_with_two_tokens_is_refused(world: World) -> None:
    good = world.one.bearer()["Authorization"]
    async with world.calling(PROXY) as http:
        twice = [("authorization", good), ("authorization", "Bearer x")]
        assert (await http.get("/v1/submissions", headers=twice)).status_code == 401
        assert (await http.get("/v1/submissions", headers=twice[::-1])).status_code == 401


async def test_a_receipt_is_no_access_token(world: World) -> None:
    """Even if the same key has signed it."""
    claims = jwt.decode(
        world.one.bearer()["Authorization"].removeprefix("Bearer "),
        options={"verify_signature": False},
    )
    key = SigningKey(world.one.core.settings.signing_key)  # type: ignore[attr-defined]
    for typ, status in (("at+jwt", 200), ("exchange-receipt+jwt", 401), ("JWT", 401)):
        token = jwt.encode(claims, key.private, "ES256", headers={"kid": key.id, "typ": typ})
        assert await world.read(token) == status
