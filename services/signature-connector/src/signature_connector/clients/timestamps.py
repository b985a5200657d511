"""Calls to time-stamping authorities over HTTP (RFC 3161, section 3.4)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from asn1crypto import algos, tsp

from common.errors import describe
from common.http import http_client, retry_after
from signature_connector.domain.timestamps import Query

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
LARGEST_REPLY = 11 * 1024
"""Bytes: what has room in a document beside the signature (see ``assembly.cms_parts``)."""


class NoReply(Exception):
    """An authority did not answer as it should; the message says why.

    Attributes:
        hold: seconds for which it wants to be left alone, if it says so.
    """

    def __init__(self, message: str, hold: float | None = None) -> None:
        super().__init__(message)
        self.hold = hold


class TimestampCalls:
    """Asks authorities.

    Args:
        http: the client.
        seconds: how long one call may take in all.
    """

    def __init__(self, http: httpx.AsyncClient, *, seconds: float) -> None:
        self._http = http
        self._seconds = seconds

    async def ask(self, url: str, query: Query) -> bytes:
        """The answer as it came (DER, if all is well): it is still to be examined.

        Raises:
            NoReply: there is none, or it is too large.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._asked(url, encoded(query))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NoReply(describe(error)) from error

    async def _asked(self, url: str, body: bytes) -> bytes:
        got = bytearray()
        headers = {"content-type": _QUERY, "accept": _REPLY, "accept-encoding": "identity"}
        async with self._http.stream(
            "POST", url, content=body, headers=headers, follow_redirects=False
        ) as response:
            if response.status_code != 200:
                raise NoReply(f"status {response.status_code}", retry_after(response))
            async for part in response.aiter_bytes():
                got += part
                if len(got) > LARGEST_REPLY:
                    raise NoReply("the answer is too large")
        return bytes(got)


def encoded(query: Query) -> bytes:
    """The request in DER; the authority is to send its certificate along."""
    request = {
        "version": "v1",
        "message_imprint": {
            "hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
            "hashed_message": query.imprint,
        },
        "nonce": query.nonce,
        "cert_req": True,
    }
    if query.policy is not None:
        request["req_policy"] = query.policy
    return bytes(tsp.TimeStampReq(request).dump())


@asynccontextmanager
async def timestamp_calls(seconds: float) -> AsyncIterator[TimestampCalls]:
    """What asks authorities."""
    async with http_client(timeout=seconds) as http:
        yield TimestampCalls(http, seconds=seconds)
