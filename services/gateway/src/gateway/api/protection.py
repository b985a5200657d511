"""What stands before every route of the gateway, and what it adds to every answer.

Strangers are counted by address before anything is done for them; clients are counted once their
token is known (``admission``). Every answer tells a client what it may still ask for, and every
refusal is put down. Pages of other origins reach nothing, unless the settings name them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.auth import Principal
from common.errors import NotReady, Problem
from common.identifiers import new_id
from common.middleware import route_of
from common.problems import answer, request_id
from gateway.api.parts import Gateway
from gateway.domain.refusals import AUDITED, OTHER, Refusal, type_of
from gateway.domain.submissions import Submission
from gateway.use_cases.limits import Limits

_UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})
_TOKEN_DOORS = ("/oauth/", "/exchange/v1/token")
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_TYPE_MEMBERS = ("type", "code", "error")
_LONGEST_REFUSAL = 16 * 1024
_FROM_SANDBOX = b"x-sandbox"
_EXPOSED = b"ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Purpose",
    ),
    (b"access-control-max-age", b"600"),
    (b"content-length", b"0"),
)

Headers_ = list[tuple[bytes, bytes]]


def admission(limits: Limits) -> Callable[[Principal], Awaitable[None]]:
    """Counts a client's request as soon as its token is known (see ``common.auth.admit``)."""

    async def admitted(principal: Principal) -> None:
        await limits.request(principal.client_id)

    return admitted


async def token_asked(request: Request, gateway: Gateway, client_id: str) -> None:
    """Somebody asks for a token of a client and has not proved yet to be it.

    Raises:
        RateExceeded: too often.
    """
    request.state.claimed = client_id
    await gateway.limits.token(client_id, gateway.addresses.mark(request.scope))


def token_given(request: Request, gateway: Gateway, client_id: str) -> None:
    """It was the client."""
    gateway.limits.token_given(client_id, gateway.addresses.mark(request.scope))


@asynccontextmanager
async def counted(
    limits: Limits, client_id: str
) -> AsyncIterator[Callable[[Submission], Submission]]:
    """Count one submission of a client's day; what is refused or repeated does not count.

    Yields what looks at the submission that came of it.

    Raises:
        QuotaExceeded, NotReady: see ``Limits.submissions``.
    """
    await limits.submissions(client_id)

    def taken(submission: Submission) -> Submission:
        if submission.repeated:
            limits.give_back(client_id)
        return submission

    try:
        yield taken
    except NotReady:  # it may have been taken in all the same
        raise
    except Problem:
        limits.give_back(client_id)
        raise


class Protection:
    """Pure ASGI, within ``common.middleware.Requests``.

    Args:
        app: what follows.
        origins: of pages that may call from a browser (CORS); usually none.
        hsts_seconds: how long browsers are to keep to TLS; 0 where TLS does not end here.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], hsts_seconds: int) -> None:
        self._app = app
        self._origins = frozenset(origin.encode("latin-1") for origin in origins)
        self._every: Headers_ = []
        if hsts_seconds:
            self._every.append((b"strict-transport-security", b"max-age=%d" % hsts_seconds))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNCOUNTED:
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        gateway: Gateway = scope["app"].state.gateway
        headers = Headers(scope=scope)
        told = _Told(scope, send, gateway, [*self._every, *self._cors(headers)])
        try:
            if "authorization" not in headers or scope["path"].startswith(_TOKEN_DOORS):
                gateway.limits.stranger(gateway.addresses.of(scope))
        except Problem as problem:
            await answer(problem)(scope, receive, told.send)
            return
        if self._is_preflight(scope, headers):
            start = {"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT)}
            await told.send(start)
            await told.send({"type": "http.response.body"})
            return
        await self._app(scope, receive, told.send)

    def _cors(self, headers: Headers) -> Headers_:
        if not self._origins:
            return []
        vary = [(b"vary", b"Origin")]
        origin = headers.get("origin", "").encode("latin-1")
        if origin not in self._origins:
            return vary
        return [
            *vary,
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
        ]

    def _is_preflight(self, scope: Scope, headers: Headers) -> bool:
        return (
            scope["method"] == "OPTIONS"
            and "access-control-request-method" in headers
            and headers.get("origin", "").encode("latin-1") in self._origins
        )


class _Told:
    """An answer on its way out."""

    def __init__(self, scope: Scope, send: Send, gateway: Gateway, headers: Headers_) -> None:
        self._scope = scope
        self._send = send
        self._gateway = gateway
        self._headers = headers
        self._refused = 0
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), *self._headers]
            principal: Principal | None = self._scope["state"].get("principal")
            if principal is not None:
                fields = self._gateway.limits.fields(principal.client_id)
                if fields is not None:
                    headers.append((b"ratelimit-policy", fields[0].encode()))
                    headers.append((b"ratelimit", fields[1].encode()))
            if message["status"] in AUDITED and all(name != _FROM_SANDBOX for name, _ in headers):
                self._refused = message["status"]
            message["headers"] = headers
        elif self._refused:
            if len(self._body) < _LONGEST_REFUSAL:
                self._body += message.get("body", b"")
            if not message.get("more_body", False):
                self._gateway.refusals.add(self._refusal(principal_of=self._scope["state"]))
                self._refused = 0
        await self._send(message)

    def _refusal(self, principal_of: dict[str, Any]) -> Refusal:
        scope, principal = self._scope, principal_of.get("principal")
        return Refusal(
            id=new_id(),
            at=datetime.now(UTC),
            client_id=principal.client_id if principal else None,
            claimed=None if principal else principal_of.get("claimed"),
            address=self._gateway.addresses.told(scope),
            method=scope["method"] if scope["method"] in _METHODS else "OTHER",
            route=route_of(scope),
            status=self._refused,
            type=self._type(),
            request_id=request_id.get(),
        )

    def _type(self) -> str:
        try:
            body = orjson.loads(self._body)
        except orjson.JSONDecodeError:
            return OTHER
        if not isinstance(body, dict):
            return OTHER
        return next((type_of(body[name]) for name in _TYPE_MEMBERS if name in body), OTHER)
