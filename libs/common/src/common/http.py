"""Calls to other services and partners: httpx over the aiohttp transport, with limits."""

import ipaddress
import math
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from common.addresses import Address, Reach, Resolver, ResolverAway

_MOST_RETRY_AFTER_SECONDS = 3600.0
# Below the five seconds after which many servers close: a request on a connection that is being
# closed ends in an unknown outcome.
_KEEP_ALIVE_SECONDS = 4.0


@asynccontextmanager
async def http_client(
    *,
    base_url: str = "",
    timeout: float = 20.0,
    connect_timeout: float = 5.0,
    connections: int = 20,
    kept: bool = True,
    ca_file: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
    guard: "Guard | None" = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connections are limited, and kept unless told otherwise.

    Args:
        base_url: prefix of relative addresses.
        timeout: seconds to wait for the answer.
        connect_timeout: seconds to wait for a connection.
        connections: how many may be open at the same time.
        kept: connections are used again. One that the other side is about to close turns a request
            into one whose fate nobody knows; asking for ``Connection: close`` does not prevent
            that where the answer does not repeat it.
        ca_file: PEM of the authorities to believe instead of the usual ones.
        certificate: PEM files of the certificate to show and of its key.
        guard: which addresses may be connected to, for addresses that others give; without one,
            any.

    Raises:
        OSError, ssl.SSLError: one of the files cannot be read or is none.
    """
    trust = _trust() if ca_file is None and certificate is None else _own(ca_file, certificate)
    async with httpx.AsyncClient(
        base_url=base_url,
        transport=_transport(connections, trust, kept=kept, guard=guard),
        timeout=httpx.Timeout(timeout, connect=connect_timeout),
        trust_env=False,
        event_hooks={"request": [guard.check]} if guard else {},
    ) as client:
        yield client


@asynccontextmanager
async def http_transport(*, connections: int = 20) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """What lies beneath a client: for whole requests to one address, in great number.

    Merging addresses and headers, cookies and redirects are two fifths of what a client does for a
    small request.

    Args:
        connections: how many may be open at the same time.
    """
    async with _transport(connections, _trust()) as transport:
        yield transport


def _transport(
    connections: int, trust: ssl.SSLContext, *, kept: bool = True, guard: "Guard | None" = None
) -> AiohttpTransport:
    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=_KEEP_ALIVE_SECONDS if kept else None,
                force_close=not kept,
                resolver=_GuardedResolver(guard) if guard else None,
                ssl=trust,  # a transport with a session of ours looks at its own `verify` no more
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    return AiohttpTransport(client=session, verify=trust)


class Guard:
    """Lets nothing be connected to but addresses that were looked at first.

    A name is resolved once, and the connection goes to the very address that was looked at: a
    name that points elsewhere a moment later changes nothing.

    Args:
        resolver: tells the addresses of names.
        reach: which of them may be connected to.
    """

    def __init__(self, resolver: Resolver, reach: Reach) -> None:
        self._resolver = resolver
        self._reach = reach

    async def check(self, request: httpx.Request) -> None:
        """Refuse what is no HTTP, and addresses that stand in the URL itself.

        Raises:
            httpx.UnsupportedProtocol: it may not be asked.
        """
        address = _literal(request.url.host)
        if (
            request.url.scheme not in {"http", "https"}
            or request.url.userinfo
            or not request.url.host
            or (address is not None and not self._reach.allows(address))
        ):
            raise httpx.UnsupportedProtocol("this address may not be asked", request=request)

    async def addresses(self, host: str) -> list[Address]:
        """The addresses of a name that may be connected to."""
        found: list[Address] = []
        for family in ("ipv4", "ipv6"):
            found += await self._resolver.addresses(host, family)
        return [one for one in found if self._reach.allows(one)]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


class _GuardedResolver(AbstractResolver):
    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await self._guard.addresses(host)
        except ResolverAway as error:
            raise OSError(f"the resolver is away: {error}") from error
        if not found:
            raise OSError("no address that may be asked")
        return [
            ResolveResult(
                hostname=host,
                host=str(one),
                port=port,
                family=socket.AF_INET6 if one.version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in found
        ]

    async def close(self) -> None:
        pass


@cache
def _trust() -> ssl.SSLContext:
    """Whom to believe, read once: that takes 20 ms, and every client believes the same."""
    return httpx.create_ssl_context()


def _own(ca_file: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def never_sent(error: Exception) -> bool:
    """Whether a call failed before anything of it can have reached the other side.

    The transport maps a refused connection and one that broke after sending to the same httpx
    class; only the aiohttp error behind it tells them apart.
    """
    return isinstance(
        error.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    ) or isinstance(error, httpx.UnsupportedProtocol | httpx.PoolTimeout)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that ``Retry-After`` asks for, as a number or a date; at most an hour."""
    value = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:  # "-0000": UTC without saying where
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _MOST_RETRY_AFTER_SECONDS)
