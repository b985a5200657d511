"""Access tokens: what is accepted, from whom, and for how long."""

import base64
import hmac
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any, Self

import httpx
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import Depends, FastAPI
from pydantic import SecretStr

from common import auth, problems
from common.auth import OwnToken, Principal, TokenChecker, TokenKeys, requires
from common.errors import NotReady, Unauthorised
from common.settings import ClientSettings, TokenSettings

SETTINGS = TokenSettings()
_EC = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("k1", "k2", "other")}
_RSA = rsa.generate_private_key(65537, 2048)


class Issuer:
    """An issuer of tokens with its JWKS, that can be away."""

    def __init__(self) -> None:
        self.published = {"k1": _EC["k1"]}
        self.asked = 0
        self.away = False
        self.keys = TokenKeys(self.jwks)
        self.checker = TokenChecker(SETTINGS, self.keys)

    async def jwks(self) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("refused")
        return {"keys": [_jwk(name, key) for name, key in self.published.items()]}

    def token(self, key: Any = None, alg: str = "ES256", kid: str = "k1", **changes: Any) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": SETTINGS.token_issuer,
            "aud": SETTINGS.token_audience,
            "iat": now,
            "exp": now + 300,
            "client_id": "province",
            "scope": "dossiers:read dossiers:write",
            "agencies": ["H10.15"],
            "procedures": ["*"],
        } | changes
        claims = {name: value for name, value in claims.items() if value is not ...}
        return jwt.encode(claims, key or _EC["k1"], alg, headers={"kid": kid})

    async def refused(self, token: str) -> None:
        with pytest.raises(Unauthorised):
            await self.checker.check(token)


def _jwk(name: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    told = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return dict(told) | {"kid": name, "use": "sig", "alg": "ES256"}


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time that the keys are aged by."""
    ahead = 0.0
    real = time.monotonic

    def move(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead)
    return move


async def test_a_valid_token_tells_who_calls_and_what_they_may(issuer: Issuer) -> None:
    token = issuer.token()
    principal = await issuer.checker.check(token)
    assert principal == Principal(
        "province",
        frozenset({"dossiers:read", "dossiers:write"}),
        ("H10.15",),
        token,
        frozenset({"*"}),
    )
    assert principal.may_act_for("H10.15.01")
    assert not principal.may_act_for("H10")
    assert await issuer.checker.check(token) is principal
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("claim", "for_h10", "for_h11"),
    [
        ("*", True, True),
        (["*"], True, True),
        ("H10", True, False),
        (["H10", "H11"], True, True),
        ([], False, False),
        (..., False, False),
        (7, False, False),
        ({"H10": 1}, False, False),
        ([["H10"]], False, False),
    ],
)
async def test_agencies_may_be_a_list_or_one_text_and_anything_else_is_no_right(
    issuer: Issuer, claim: Any, for_h10: bool, for_h11: bool
) -> None:
    principal = await issuer.checker.check(issuer.token(agencies=claim))
    assert principal.may_act_for("H10.1") is for_h10
    assert principal.may_act_for("H11") is for_h11


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": time.time() - 31},
        {"exp": ...},
        {"exp": "soon"},
        {"iat": ...},
        {"iat": time.time() + 3600},
        {"nbf": time.time() + 3600},
        {"iss": "urn:somebody:else"},
        {"iss": ...},
        {"aud": "urn:somebody:else"},
        {"aud": ...},
        {"client_id": ...},
    ],
)
async def test_a_token_with_claims_that_do_not_fit_is_refused(
    issuer: Issuer, changes: dict[str, Any]
) -> None:
    await issuer.refused(issuer.token(**changes))


async def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    await issuer.checker.check(issuer.token(exp=time.time() - 10, iat=time.time() + 10))


async def test_a_token_that_was_accepted_is_refused_once_it_has_expired(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = issuer.token(exp=int(time.time()) + 100)
    await issuer.checker.check(token)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 140)
    monkeypatch.setattr("jwt.api_jwt.datetime", _Later)
    await issuer.refused(token)


class _Later(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time(), tz)


async def test_a_token_signed_by_another_key_is_refused(issuer: Issuer) -> None:
    await issuer.refused(issuer.token(_EC["other"]))


async def test_a_token_that_was_changed_is_refused(issuer: Issuer) -> None:
    header, claims, signature = issuer.token().split(".")
    other = issuer.token(agencies="*").split(".")[1]
    for forged in (
        f"{header}.{other}.{signature}",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        "",
        "x",
        "a.b.c",
        "ü.ü.ü",
    ):
        await issuer.refused(forged)


def forged(issuer: Issuer, alg: str, secret: bytes | None) -> str:
    """A token as an attacker writes it who knows what everybody may know."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    header = part(orjson.dumps({"alg": alg, "kid": "k1", "typ": "JWT"}))
    signed = f"{header}.{issuer.token(agencies='*').split('.')[1]}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256')) if secret else ''}"


async def test_the_algorithm_is_ours_to_choose(issuer: Issuer) -> None:
    """No signature at all, the public key taken for a shared secret, another kind of key."""
    public = _EC["k1"].public_key()
    for alg in ("none", "None", "NONE", ""):
        await issuer.refused(forged(issuer, alg, None))
    for encoding in (Encoding.DER, Encoding.PEM):
        known = public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        await issuer.refused(forged(issuer, "HS256", known))
        await issuer.refused(forged(issuer, "ES256", known))
    await issuer.refused(forged(issuer, "HS256", orjson.dumps(_jwk("k1", _EC["k1"]))))
    await issuer.refused(issuer.token(_RSA, alg="RS256"))
    await issuer.refused(issuer.token(_RSA, alg="PS256"))


async def test_a_key_that_is_not_known_is_asked_for_but_not_again_and_again(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    await issuer.checker.check(issuer.token())
    clock(10)
    for number in range(50):
        await issuer.refused(issuer.token(_EC["other"], kid=f"made up {number}"))
    assert issuer.asked == 2
    await issuer.checker.check(issuer.token(scope="x"))  # that hurt nobody else
    assert issuer.asked == 2


async def test_after_a_rotation_new_tokens_are_accepted_and_the_old_key_is_forgotten(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    await issuer.checker.check(issuer.token())
    issuer.published = {"k2": _EC["k2"]}
    clock(3)
    await issuer.checker.check(issuer.token(_EC["k2"], kid="k2"))
    assert issuer.asked == 2
    await issuer.refused(issuer.token(scope="another"))


async def test_a_key_that_was_withdrawn_is_forgotten_in_time(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    await issuer.checker.check(issuer.token())
    issuer.published = {"k2": _EC["k2"]}
    clock(301)
    await issuer.refused(issuer.token(scope="another"))


async def test_known_keys_serve_while_the_issuer_is_away(
    issuer: Issuer, clock: Callable[[float], None]
) -> None:
    await issuer.checker.check(issuer.token())
    issuer.away = True
    clock(1000)
    for number in range(20):
        await issuer.checker.check(issuer.token(scope=str(number)))
    assert issuer.asked == 2  # not once for every request
    clock(3)
    with pytest.raises(NotReady) as raised:
        await issuer.checker.check(issuer.token(_EC["k2"], kid="k2"))
    assert raised.value.headers["Retry-After"]
    issuer.away = False
    clock(31)
    await issuer.checker.check(issuer.token(scope="back"))
    assert issuer.asked == 4


async def test_without_keys_nobody_is_let_in(issuer: Issuer) -> None:
    issuer.published = {}
    await issuer.refused(issuer.token())
    issuer = Issuer()
    issuer.away = True
    with pytest.raises(NotReady):
        await issuer.checker.check(issuer.token())


async def test_routes_let_in_who_has_the_scope(issuer: Issuer) -> None:
    app = FastAPI()
    problems.install(app)
    app.state.core = type("Core", (), {"tokens": issuer.checker})

    @app.get("/dossiers", dependencies=[requires("dossiers:read")])
    async def dossiers() -> str:
        return "ok"

    @app.get("/who")
    async def who(principal: Principal = Depends(auth.principal_of)) -> str:  # noqa: B008
        return principal.client_id

    async def status(path: str, **headers: str) -> tuple[int, str]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://x"
        ) as http:
            answer = await http.get(path, headers=headers)
            return answer.status_code, answer.headers.get("www-authenticate", "")

    bearer = f"Bearer {issuer.token()}"
    assert await status("/dossiers") == (401, "Bearer")
    assert await status("/dossiers", authorization="Basic eDp5") == (401, "Bearer")
    assert await status("/dossiers", authorization="Bearer x") == (
        401,
        'Bearer error="invalid_token"',
    )
    assert await status("/dossiers", authorization=bearer) == (200, "")
    assert await status("/who", authorization=bearer) == (200, "")
    poor = f"Bearer {issuer.token(scope='dossiers:write')}"
    assert (await status("/dossiers", authorization=poor))[0] == 403


async def test_a_services_own_token_is_kept_until_a_minute_before_its_end(
    clock: Callable[[float], None],
) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": f"t{len(asked)}", "expires_in": 300})

    settings = ClientSettings(
        client_id="me", client_secret=SecretStr("secret"), token_url="http://gateway/oauth/token"
    )
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        own = OwnToken(settings, http)
        assert await own.headers() == {"Authorization": "Bearer t1"}
        clock(200)
        assert await own.headers() == {"Authorization": "Bearer t1"}
        clock(50)
        assert await own.headers() == {"Authorization": "Bearer t2"}
        assert await OwnToken(ClientSettings(), http).headers() == {}
    assert asked[0].headers["authorization"] == "Basic bWU6c2VjcmV0"
    assert asked[0].content == b"grant_type=client_credentials"
