"""The services behind the gateway, for reads."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from common.errors import Upstream
from gateway.errors import UpstreamAway

LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer that are passed on at the most."""

_PASSED_ON = (
    "content-type",
    "content-language",
    "etag",
    "last-modified",
    "cache-control",
    "vary",
    "link",
    "retry-after",
    "www-authenticate",
)
_JSON = ("application/json", "application/problem+json")


@dataclass(frozen=True, slots=True)
class Answer:
    """An upstream's answer, with the headers that may be passed on."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Behind:
    """One service behind the gateway.

    Args:
        http: the client.
        url: the service's base URL.
        seconds: how long an answer may take, its body included.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, seconds: float) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._seconds = seconds

    async def get(
        self, path: str, query: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> Answer:
        """Read once; nothing is tried again, since the caller's deadline runs.

        Raises:
            UpstreamAway: it cannot be reached, says so itself, or was too slow.
            Upstream: it failed, or its answer is none that may be passed on.
        """
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._read(path, query, headers)
        except (TimeoutError, httpx.HTTPError) as error:
            raise UpstreamAway(
                "Dịch vụ trả lời yêu cầu này tạm thời không phản hồi",
                "The service that answers this request does not respond now",
                headers={"Retry-After": "2"},
            ) from error
        if answer.status == UpstreamAway.status:
            raise UpstreamAway(headers={"Retry-After": answer.headers.get("retry-after", "2")})
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        empty = answer.status == 304 and not answer.content
        if not (200 <= answer.status < 500 and (empty or kind in _JSON)):
            raise Upstream
        return answer

    async def _read(
        self, path: str, query: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> Answer:
        asked = {**headers, "accept": "application/json", "accept-encoding": "identity"}
        content = bytearray()
        async with self._http.stream(
            "GET", self._url + path, params=query, headers=asked, follow_redirects=False
        ) as response:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > LARGEST_ANSWER:
                    raise Upstream
        passed = {name: value for name in _PASSED_ON if (value := response.headers.get(name))}
        return Answer(response.status_code, passed, bytes(content))
