"""Asking producers for missed events."""

import httpx
from pydantic import SecretStr

from common.auth import OwnToken
from common.history import HttpHistory
from common.settings import ClientSettings


async def test_a_token_that_is_refused_is_not_used_again() -> None:
    """Keys and clocks change: what was issued for the next quarter of an hour may be worth nothing
    a moment later."""
    issued: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth/token":
            issued.append(f"token-{len(issued) + 1}")
            return httpx.Response(200, json={"access_token": issued[-1], "expires_in": 900})
        if request.headers["authorization"] == "Bearer token-1":
            return httpx.Response(401)
        return httpx.Response(200, content=b"one\ntwo")

    settings = ClientSettings(
        client_id="dossier", client_secret=SecretStr("x"), token_url="http://gateway/oauth/token"
    )
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        own = OwnToken(settings, http)
        history = HttpHistory({"catalog": "http://catalog"}, http, own.headers, own.forget)
        assert await history.events("catalog", 1, "x", 1, 2) == []
        assert await history.events("catalog", 1, "x", 1, 2) == [b"one", b"two"]
    assert issued == ["token-1", "token-2"]
