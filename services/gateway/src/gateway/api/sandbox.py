"""Clients that are marked sandbox: their requests go on, as they came, to another installation.

That one is made of the same services and of simulators, with databases of its own, so that nothing
a client tries out can meet what is real. Only the token is another one, made here: it names the
client to an installation that knows us as an outside issuer (see docs/api/sandbox.md).
"""

from collections.abc import AsyncIterator

import httpx
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.auth import Principal, admit
from common.errors import Problem
from common.http import http_client
from common.middleware import request_id
from common.problems import answer
from gateway.errors import SandboxAway

_BEARER = b"bearer "
_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""RFC 9110 section 7.6.1."""
_OURS = frozenset({b"authorization", b"host", b"client-cert", b"forwarded", b"x-request-id"})
MARK = "x-sandbox"
"""Header of every answer that the sandbox gave."""


class SandboxDoor:
    """Sends sandbox clients' requests to the sandbox; all others pass.

    Args:
        app: what follows.
        url: the sandbox's gateway; without one such clients are told that there is none.
        seconds: how long to wait for a part of its answer.
    """

    def __init__(self, app: ASGIApp, url: str | None, seconds: float) -> None:
        self._app = app
        self._url = url.rstrip("/") if url else None
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = await _sandboxed(scope)
        if principal is None:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = principal
        try:
            await admit(scope["app"].state, principal)
            await self._pass_on(scope, receive, send, principal)
        except Problem as problem:
            await answer(problem)(scope, receive, send)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, principal: Principal
    ) -> None:
        if self._url is None:
            raise SandboxAway("Chưa có môi trường thử nghiệm", "There is no sandbox here")
        target = self._url + scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        token = scope["app"].state.gateway.tokens.inner(principal)
        began = False
        # A connection of its own: what a client does slowly holds up nobody else.
        async with http_client(timeout=self._seconds, connections=1) as http:
            try:
                async with http.stream(
                    scope["method"],
                    target,
                    headers=_passed(scope["headers"], token),
                    content=_body(receive) if _has_body(scope) else None,
                    follow_redirects=False,
                ) as told:
                    began = True
                    await send(_start(told))
                    async for part in told.aiter_raw():
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                    await send({"type": "http.response.body", "body": b""})
            except httpx.HTTPError as error:
                if began:
                    raise
                raise SandboxAway(
                    "Môi trường thử nghiệm tạm thời không phản hồi",
                    "The sandbox does not respond now",
                    headers={"Retry-After": "30"},
                ) from error


async def _sandboxed(scope: Scope) -> Principal | None:
    """The caller, if its token is good and its client is marked sandbox."""
    if scope["type"] != "http" or not scope["raw_path"].startswith(b"/"):
        return None
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1 or given[0][: len(_BEARER)].lower() != _BEARER:
        return None
    token = given[0][len(_BEARER) :].strip().decode("latin-1")
    try:
        principal = await scope["app"].state.core.tokens.admit(Request(scope), token)
    except Problem:
        return None  # the route says what is wrong with it
    return principal if principal.sandbox else None


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


def _passed(headers: list[tuple[bytes, bytes]], token: str) -> list[tuple[bytes, bytes]]:
    kept = [pair for pair in headers if pair[0] not in _HOP_BY_HOP | _OURS]
    return [
        *kept,
        (b"authorization", f"Bearer {token}".encode()),
        (b"x-request-id", request_id.get().encode()),
    ]


def _start(told: httpx.Response) -> Message:
    headers = [
        (name.lower(), value)
        for name, value in told.headers.raw
        if name.lower() not in _HOP_BY_HOP | _OURS
    ]
    headers.append((MARK.encode(), b"true"))
    return {"type": "http.response.start", "status": told.status_code, "headers": headers}
