"""Calls to other services and partners: httpx over the aiohttp transport, with limits."""

import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

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

    Raises:
        OSError, ssl.SSLError: one of the files cannot be read or is none.
    """
    trust = _trust() if ca_file is None and certificate is None else _own(ca_file, certificate)

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=_KEEP_ALIVE_SECONDS if kept else None,
                force_close=not kept,
            ),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async with httpx.AsyncClient(
        base_url=base_url,
        transport=AiohttpTransport(client=session, verify=trust),
        timeout=httpx.Timeout(timeout, connect=connect_timeout),
        trust_env=False,
    ) as client:
        yield client


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
