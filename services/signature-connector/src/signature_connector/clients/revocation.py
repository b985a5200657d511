"""Calls to OCSP responders (RFC 6960) and for CRLs (RFC 5280)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import structlog

from common.addresses import Network, Reach, SystemResolver
from common.errors import describe
from common.http import Guard, http_client
from signature_connector.domain.revocation import Lookup

MOST_OCSP = 128 * 1024
_REQUEST, _RESPONSE = "application/ocsp-request", "application/ocsp-response"
_RESOLVER_SECONDS = 3.0
_CONNECTIONS = 20

log = structlog.get_logger()


class Responders:
    """Asks whom certificates name.

    Args:
        http: a client with a guard: certificates can name any address.
        seconds: how long one call may take.
        most_crl: largest CRL, in bytes.
    """

    def __init__(self, http: httpx.AsyncClient, *, seconds: float, most_crl: int) -> None:
        self._http = http
        self._seconds = seconds
        self._most_crl = most_crl

    async def ask(self, lookup: Lookup) -> bytes | None:
        """The answer; None where there is none that could be read."""
        most = MOST_OCSP if lookup.kind == "ocsp" else self._most_crl
        try:
            async with asyncio.timeout(self._seconds):
                return await self._asked(lookup, most)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            log.warning("revocation not told", kind=lookup.kind, error=describe(error))
            return None

    async def _asked(self, lookup: Lookup, most: int) -> bytes | None:
        headers = {"accept-encoding": "identity"}
        if lookup.body is not None:
            headers |= {"content-type": _REQUEST, "accept": _RESPONSE}
        got = bytearray()
        async with self._http.stream(
            "GET" if lookup.body is None else "POST",
            lookup.url,
            content=lookup.body,
            headers=headers,
            follow_redirects=False,
        ) as response:
            if response.status_code != 200:
                log.warning("revocation not told", kind=lookup.kind, status=response.status_code)
                return None
            async for part in response.aiter_bytes():
                got += part
                if len(got) > most:
                    log.warning("revocation not told", kind=lookup.kind, error="too large")
                    return None
        return bytes(got)


@asynccontextmanager
async def responders(
    *, seconds: float, most_crl: int, networks: tuple[Network, ...] = ()
) -> AsyncIterator[Responders]:
    """What asks public addresses, and those in networks that are named, alone."""
    guard = Guard(SystemResolver(_RESOLVER_SECONDS), Reach(networks))
    async with http_client(timeout=seconds, connections=_CONNECTIONS, guard=guard) as http:
        yield Responders(http, seconds=seconds, most_crl=most_crl)
