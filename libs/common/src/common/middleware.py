"""What every request passes: limits of size, time and number, request id, span, count, and headers
of every answer."""

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from opentelemetry.trace import SpanKind, StatusCode
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.errors import Busy, TimedOut
from common.identifiers import new_id
from common.problems import BodyTooLarge, BodyTooSlow, answer, request_id, unexpected
from common.settings import ServerSettings
from common.telemetry import Telemetry

__all__ = ["BrokenOff", "RequestLimits", "Requests", "request_id", "route_of"]

T = TypeVar("T")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_LONGEST_NUMBER = 18
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""Of every answer that does not say otherwise."""


@dataclass(frozen=True)
class RequestLimits:
    """How much of everything one request may take.

    Attributes:
        body: bytes; ``bodies`` has other limits for paths that begin with a prefix.
        seconds: for all of it; ``times`` likewise.
        least_rate: bytes a second of its body, on average, after ``grace`` seconds.
        at_once: requests under way.
    """

    body: int
    seconds: float
    least_rate: int
    grace: float
    at_once: int
    bodies: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        settings: ServerSettings,
        bodies: Mapping[str, int] | None = None,
        times: Mapping[str, float] | None = None,
    ) -> "RequestLimits":
        """As the settings say."""
        return cls(
            body=settings.body_limit,
            seconds=settings.request_seconds,
            least_rate=settings.body_least_rate,
            grace=settings.body_grace_seconds,
            at_once=settings.requests_at_once,
            bodies=_longest_first(bodies or {}),
            times=_longest_first(times or {}),
        )


class Requests:
    """Pure ASGI, since it stands on every path.

    Args:
        app: what follows.
        telemetry: counts and spans.
        limits: of every request.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, limits: RequestLimits) -> None:
        self._app = app
        self._telemetry = telemetry
        self._limits = limits
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        identifier = _identifier(headers)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        token = request_id.set(identifier)
        status = 0
        started = time.perf_counter()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _headers(message.get("headers", ()), identifier)
            await send(message)

        async def run() -> None:
            deadline = asyncio.timeout(_for(path, limits.times, limits.seconds))
            try:
                async with deadline:
                    await self._app(scope, bounded, send_on)
            except Exception as error:
                failed = _late() if deadline.expired() else unexpected(error)
                if status:  # too late for another answer: the server breaks the connection off
                    raise BrokenOff from None
                await failed(scope, receive, send_on)

        path, limits = scope["path"], self._limits
        bounded = _Bounded(receive, _for(path, limits.bodies, limits.body), headers, limits)
        try:
            if path in _UNTRACED:
                await run()
                return
            if self._running >= limits.at_once:
                await answer(Busy(headers={"Retry-After": "1"}))(scope, receive, send_on)
                return
            parent = headers.get("traceparent")
            with self._telemetry.span(method, SpanKind.SERVER, parent) as span:
                self._running += 1
                try:
                    await run()
                finally:
                    self._running -= 1
                span.update_name(f"{method} {route_of(scope)}")
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
        finally:
            request_id.reset(token)
            if path not in _UNTRACED:
                seconds = time.perf_counter() - started
                self._telemetry.request(route_of(scope), method, status or 500, seconds)


class BrokenOff(Exception):
    """An error after the answer had begun; it was logged where it happened."""


class _Bounded:
    """Receives a body up to its limit; a longer one ends in a 413 problem, one that comes drop by
    drop in a 408. Only the time counts in which it is waited for."""

    def __init__(
        self, receive: Receive, limit: int, headers: Headers, limits: RequestLimits
    ) -> None:
        self._receive = receive
        self._left = limit
        self._limit = limit
        self._limits = limits
        self._waited = 0.0
        self._complete = False
        declared = headers.get("content-length", "")[:_LONGEST_NUMBER]
        self._too_large = declared.isdecimal() and int(declared) > limit

    async def __call__(self) -> Message:
        if self._too_large:
            raise BodyTooLarge(self._limit)
        if self._complete:  # whoever asks now waits for the client to go away
            return await self._receive()
        patience = self._limits.grace + (self._limit - self._left) / self._limits.least_rate
        began = time.monotonic()
        try:
            async with asyncio.timeout(patience - self._waited):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow from None
        self._waited += time.monotonic() - began
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._too_large = True
                raise BodyTooLarge(self._limit)
        return message


def _identifier(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else str(new_id())


def _late() -> Response:
    return answer(TimedOut(headers={"Retry-After": "5"}))


def _headers(given: Iterable[tuple[bytes, bytes]], identifier: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those that every answer has."""
    headers = [pair for pair in given if pair[0] != b"x-request-id"]
    names = {name for name, _ in headers}
    headers += [pair for pair in _HEADERS if pair[0] not in names]
    headers.append((b"x-request-id", identifier.encode()))
    return headers


def _longest_first(limits: Mapping[str, T]) -> Mapping[str, T]:
    return dict(sorted(limits.items(), key=lambda item: -len(item[0])))


def _for(path: str, limits: Mapping[str, T], default: T) -> T:
    for prefix, limit in limits.items():
        if path.startswith(prefix):
            return limit
    return default


def route_of(scope: Scope) -> str:
    """The route's template: bounded in number, and without codes or identifiers."""
    return getattr(scope.get("route"), "path_format", None) or "unmatched"
