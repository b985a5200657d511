"""Tokens that are void before their end, at services that check tokens themselves."""

import asyncio
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from common.auth import TokenChecker, TokenKeys
from common.errors import Unauthorised
from common.revocations import Revocations, mark
from common.settings import TokenSettings

SETTINGS = TokenSettings(revocations_url="http://gateway/oauth/revoked")
_KEY = ec.generate_private_key(ec.SECP256R1())


async def _keys() -> dict[str, Any]:
    public = jwt.algorithms.ECAlgorithm.to_jwk(_KEY.public_key(), as_dict=True)
    return {"keys": [{**public, "kid": "k1"}]}


class Publisher:
    """The gateway, as far as it tells of revoked tokens."""

    def __init__(self) -> None:
        self.document: Any = {"clients": {}, "tokens": []}
        self.status = 200
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        tag = f'"{hash(str(self.document))}"'
        if request.headers.get("if-none-match") == tag:
            return httpx.Response(304)
        return httpx.Response(self.status, json=self.document, headers={"etag": tag})


class Service:
    """A service with its checker."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.publisher))
        self.revocations = Revocations(http, SETTINGS.revocations_url, 15)
        self.checker = TokenChecker(SETTINGS, TokenKeys(_keys), self.revocations)

    async def accepts(self, token: str) -> bool:
        try:
            await self.checker.check(token)
        except Unauthorised:
            return False
        return True


def token(header: dict[str, Any] | None = None, **changes: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": SETTINGS.token_issuer,
        "aud": SETTINGS.token_audience,
        "iat": now - 10,
        "exp": now + 300,
        "jti": "t1",
        "client_id": "province",
        **changes,
    }
    return jwt.encode(claims, _KEY, "ES256", headers={"kid": "k1", **(header or {})})


@pytest.fixture
def service() -> Service:
    return Service()


async def test_a_revoked_token_is_refused_although_it_was_accepted_before(service: Service) -> None:
    given, other = token(), token(jti="t2")
    assert await service.accepts(given)
    service.publisher.document = {"clients": {}, "tokens": [mark("token", "t1")]}
    await service.revocations.refresh()
    assert not await service.accepts(given)
    assert await service.accepts(other)


async def test_tokens_from_before_a_clients_rights_changed_are_refused(service: Service) -> None:
    at = time.time() - 5
    service.publisher.document = {"clients": {mark("client", "province"): at}, "tokens": []}
    await service.revocations.refresh()
    assert not await service.accepts(token())
    assert await service.accepts(token(iat=int(at) + 1))
    assert await service.accepts(token(client_id="another"))


async def test_what_was_told_last_stays_while_the_gateway_is_away(service: Service) -> None:
    service.publisher.document = {"clients": {}, "tokens": [mark("token", "t1")]}
    await service.revocations.refresh()
    for document, status in (({}, 200), ([], 200), ({"clients": [], "tokens": []}, 200), ({}, 503)):
        service.publisher.document, service.publisher.status = document, status
        with pytest.raises((ValueError, httpx.HTTPError)):
            await service.revocations.refresh()
        assert not await service.accepts(token())


async def test_an_unchanged_document_is_not_sent_again(service: Service) -> None:
    await service.revocations.refresh()
    await service.revocations.refresh()
    assert "if-none-match" not in service.publisher.asked[0].headers
    assert service.publisher.asked[1].headers["if-none-match"]


async def test_the_gateways_own_token_for_a_call_is_not_touched(service: Service) -> None:
    """It says what the registry says now."""
    service.publisher.document = {
        "clients": {mark("client", "province"): time.time() + 60},
        "tokens": [],
    }
    await service.revocations.refresh()
    assert await service.accepts(token(inner=True))
    assert not await service.accepts(token(inner="yes"))


async def test_a_token_bound_to_a_certificate_is_good_at_the_gateway_alone(
    service: Service,
) -> None:
    assert not await service.accepts(token(cnf={"x5t#S256": "x"}))
    assert not await service.accepts(token(cnf=None))


@pytest.mark.parametrize(
    "typ", ["exchange-receipt+jwt", "client-authentication+jwt", "JOSE", "", "logout+jwt"]
)
async def test_what_the_same_key_signs_for_other_ends_is_no_access_token(
    service: Service, typ: str
) -> None:
    assert not await service.accepts(token({"typ": typ or "x"}))
    assert await service.accepts(token({"typ": "at+jwt"}))


async def test_a_deep_or_long_token_is_just_invalid(service: Service) -> None:
    deep = b"[" * 9000
    for part in (deep, b'{"a":' * 2000):
        text = jwt.utils.base64url_encode(part).decode()
        assert not await service.accepts(f"{text}.{text}.AAAA")
        header = token().split(".")[0]
        assert not await service.accepts(f"{header}.{text}.AAAA")
    assert not await service.accepts(token(scope="x" * 20_000))


async def test_a_service_asks_by_itself_and_again_after_a_failure() -> None:
    publisher = Publisher()
    http = httpx.AsyncClient(transport=httpx.MockTransport(publisher))
    revocations = Revocations(http, SETTINGS.revocations_url, 0.01)
    publisher.status = 503
    asking = asyncio.create_task(revocations.run())
    while len(publisher.asked) < 3:
        await asyncio.sleep(0.01)
    publisher.status, publisher.document = 200, {"clients": {}, "tokens": [mark("token", "t1")]}
    async with asyncio.timeout(5):
        while not revocations.voids("", mark("token", "t1"), time.time()):
            await asyncio.sleep(0.01)
    asking.cancel()


async def test_without_an_address_nobody_is_asked() -> None:
    publisher = Publisher()
    http = httpx.AsyncClient(transport=httpx.MockTransport(publisher))
    asking = asyncio.create_task(Revocations(http, None, 0.01).run())
    await asyncio.sleep(0.05)
    assert (publisher.asked, asking.done()) == ([], False)
    asking.cancel()


def test_a_service_may_not_ask_so_seldom_that_thirty_seconds_pass() -> None:
    with pytest.raises(ValidationError):
        TokenSettings(revocations_seconds=21)
