"""What every request passes: size limit, request id, span, count, and headers of every answer."""

import re
import time
from contextvars import ContextVar

import structlog
from opentelemetry.trace import SpanKind
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import TooLarge
from common.identifiers import new_id
from common.telemetry import Telemetry

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})

request_id: ContextVar[str] = ContextVar("request_id", default="")


class Requests:
    """Pure ASGI, since it stands on every path.

    Args:
        app: what follows.
        telemetry: counts and spans.
        body_limit: bytes; ``limits`` has other limits for paths that begin with a prefix.
    """

    def __init__(
        self,
        app: ASGIApp,
        telemetry: Telemetry,
        body_limit: int,
        limits: dict[str, int] | None = None,
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._body_limit = body_limit
        self._limits = limits or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identifier = given if _REQUEST_ID.match(given) else str(new_id())
        token = request_id.set(identifier)
        status = 500
        started = time.perf_counter()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = MutableHeaders(scope=message)
                answered["x-request-id"] = identifier
                answered["x-content-type-options"] = "nosniff"
                answered.setdefault("cache-control", "no-store")
            await send(message)

        try:
            bounded = _Bounded(receive, self._limit(scope["path"]), headers)
            if scope["path"] in _UNTRACED:
                await self._app(scope, bounded, answer)
            else:
                with self._telemetry.span(
                    f"{scope['method']}", SpanKind.SERVER, headers.get("traceparent")
                ) as span:
                    await self._app(scope, bounded, answer)
                    span.update_name(f"{scope['method']} {_route(scope)}")
                    span.set_attribute("http.response.status_code", status)
        finally:
            request_id.reset(token)
            if scope["path"] not in _UNTRACED:
                self._telemetry.request(
                    _route(scope),
                    scope["method"],
                    status,
                    time.perf_counter() - started,
                )

    def _limit(self, path: str) -> int:
        for prefix, limit in self._limits.items():
            if path.startswith(prefix):
                return limit
        return self._body_limit


class _Bounded:
    """Receives a body up to its limit; a longer one ends in a 413 problem."""

    def __init__(self, receive: Receive, limit: int, headers: Headers) -> None:
        self._receive = receive
        self._left = limit
        self._limit = limit
        declared = headers.get("content-length", "")
        self._too_large = declared.isdecimal() and int(declared) > limit

    async def __call__(self) -> Message:
        message = await self._receive() if not self._too_large else {"type": "http.request"}
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._too_large or self._left < 0:
                raise TooLarge(
                    f"Nội dung vượt giới hạn {self._limit} byte",
                    f"The body is above the limit of {self._limit} bytes",
                )
        return message


def _route(scope: Scope) -> str:
    """The route's template: bounded in number, and without codes or identifiers."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
