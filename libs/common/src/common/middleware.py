"""What every request passes: size limit, request id, span, count, and headers of every answer."""

import re
import time

from opentelemetry.trace import SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.identifiers import new_id
from common.problems import BodyTooLarge, request_id, unexpected
from common.telemetry import Telemetry

__all__ = ["BrokenOff", "Requests", "request_id"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


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
        identifier = given if _REQUEST_ID.fullmatch(given) else str(new_id())
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        token = request_id.set(identifier)
        status = 0
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

        async def run() -> None:
            try:
                await self._app(scope, bounded, answer)
            except Exception as error:
                failed = unexpected(error)
                if status:  # too late for another answer: the server breaks the connection off
                    raise BrokenOff from None
                await failed(scope, receive, answer)

        bounded = _Bounded(receive, self._limit(scope["path"]), headers)
        try:
            if scope["path"] in _UNTRACED:
                await run()
                return
            parent = headers.get("traceparent")
            with self._telemetry.span(method, SpanKind.SERVER, parent) as span:
                await run()
                span.update_name(f"{method} {_route(scope)}")
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
        finally:
            request_id.reset(token)
            if scope["path"] not in _UNTRACED:
                seconds = time.perf_counter() - started
                self._telemetry.request(_route(scope), method, status or 500, seconds)

    def _limit(self, path: str) -> int:
        for prefix, limit in self._limits.items():
            if path.startswith(prefix):
                return limit
        return self._body_limit


class BrokenOff(Exception):
    """An error after the answer had begun; it was logged where it happened."""


class _Bounded:
    """Receives a body up to its limit; a longer one ends in a 413 problem."""

    def __init__(self, receive: Receive, limit: int, headers: Headers) -> None:
        self._receive = receive
        self._left = limit
        self._limit = limit
        declared = headers.get("content-length", "")
        self._too_large = declared.isdecimal() and int(declared) > limit

    async def __call__(self) -> Message:
        if self._too_large:
            raise BodyTooLarge(self._limit)
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._too_large = True
                raise BodyTooLarge(self._limit)
        return message


def _route(scope: Scope) -> str:
    """The route's template: bounded in number, and without codes or identifiers."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
