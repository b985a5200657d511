"""The kit's own address: a client system calls it instead of the gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson
from aiohttp import web

from backbone.conformance import disturbances as kinds
from backbone.conformance.disturbances import RETRY_AFTER_SECONDS, Disturbances
from backbone.conformance.exchanges import Exchange, answered, asked
from gateway.api.sandbox import MARK

_LARGEST_BODY = 16 * 1024 * 1024
_MOST_EXCHANGES = 100_000
_NOT_PASSED = frozenset(
    {
        *("connection", "content-encoding", "content-length", "date", "host", "keep-alive"),
        *("server", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the system gets to see."""

    status: int
    content: bytes
    headers: Mapping[str, str]


class NotTheSandbox(Exception):
    """The gateway answered the client as one whose work is real: nothing may be disturbed."""


class Door:
    """Passes requests on, disturbed or not, and writes down what came.

    Args:
        http: calls the gateway, at its base address.
        client_id: whose requests are judged; those of others only pass.
        disturb: decides what is done to requests.
        marked: whether answers must say that they are the sandbox's (``X-Sandbox``).

    Attributes:
        real: set when an answer was not the sandbox's.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        client_id: str,
        disturb: Disturbances | None = None,
        *,
        marked: bool = True,
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.real = asyncio.Event()
        self._http = http
        self._client_id = client_id
        self._disturb = disturb or Disturbances()
        self._marked = marked
        self._is_sandbox = not marked

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[str]:
        """Listen until the block ends; the address."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            taken = runner.addresses[0][1]
            yield f"http://{host}:{taken}"
        finally:
            await runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body = await request.read()
        exchange = asked(
            len(self.exchanges) + 1,
            time.monotonic(),
            request.method,
            request.path,
            {name.lower(): value for name, value in request.headers.items()},
            body,
        )
        try:
            reply = await self._reply(request, body, exchange)
        except NotTheSandbox:
            self.real.set()
            reply = Reply(502, b"this client's work is real: nothing is passed on", {})
        except httpx.HTTPError:
            reply = Reply(502, b"the gateway cannot be reached", {})
        if reply is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=444)  # nobody sees it
        exchange.status, exchange.answered_at = reply.status, time.monotonic()
        return web.Response(body=reply.content, status=reply.status, headers=reply.headers)

    async def _reply(self, request: web.Request, body: bytes, exchange: Exchange) -> Reply | None:
        """The answer; None for a connection that is to break."""
        if exchange.client_id != self._client_id:
            return await self._passed_on(request, body, exchange)
        repeated = any(one.same == exchange.same for one in self.exchanges)
        if len(self.exchanges) < _MOST_EXCHANGES:
            self.exchanges.append(exchange)
        if self._is_sandbox and not self.real.is_set():
            exchange.disturbed = self._disturb.choose(exchange, repeated)
        match exchange.disturbed:
            case kinds.LOST_REQUEST:
                return None
            case kinds.BUSY | kinds.TOO_MANY:
                exchange.retry_after = RETRY_AFTER_SECONDS
                return _problem(exchange.disturbed, {"retry-after": str(RETRY_AFTER_SECONDS)})
            case kinds.OLD_TOKEN:
                return _problem("unauthorised", {"www-authenticate": _INVALID_TOKEN})
        reply = await self._passed_on(request, body, exchange)
        if exchange.disturbed == kinds.LOST_ANSWER:
            return None
        return _with_new_member(reply) if exchange.disturbed == kinds.NEW_MEMBER else reply

    async def _passed_on(self, request: web.Request, body: bytes, exchange: Exchange) -> Reply:
        own = exchange.client_id == self._client_id
        if self.real.is_set() and own:
            raise NotTheSandbox
        told = await self._http.request(
            request.method,
            request.raw_path,
            headers=_kept(request.headers),
            content=body or None,
            follow_redirects=False,
        )
        if own and told.status_code != 401:
            if self._marked and MARK not in told.headers:
                raise NotTheSandbox
            self._is_sandbox = True
        answered(exchange, told.status_code, told.content)
        return Reply(told.status_code, told.content, _kept(told.headers))


_INVALID_TOKEN = 'Bearer error="invalid_token"'
_STATUS = {kinds.BUSY: 503, kinds.TOO_MANY: 429, "unauthorised": 401}


def _problem(slug: str, headers: Mapping[str, str]) -> Reply:
    status = _STATUS[slug]
    body = {
        "type": f"urn:lienthong:problem:{slug}",
        "title": "Bộ kiểm tra tạo tình huống này",
        "title_en": "The conformance kit made this happen",
        "status": status,
    }
    kind = {"content-type": "application/problem+json"}
    return Reply(status, orjson.dumps(body), {**headers, **kind})


def _with_new_member(reply: Reply) -> Reply:
    """The answer with a member that no version of the API has."""
    try:
        document: Any = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        return reply
    if not isinstance(document, dict):
        return reply
    document["x-added-by-the-conformance-kit"] = {"since": "next version"}
    return replace(reply, content=orjson.dumps(document))


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_PASSED}
