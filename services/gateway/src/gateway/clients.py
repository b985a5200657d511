"""The services behind the gateway."""

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
    "location",
    "retry-after",
    "www-authenticate",
    "content-security-policy",
    "referrer-policy",
)
_PROBLEM = "application/problem+json"


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
        """Read, as ``ask``."""
        return await self.ask("GET", path, query, headers)

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        headers: Mapping[str, str],
        content: bytes | None = None,
        *,
        accept: str = "application/json",
    ) -> Answer:
        """Ask once; nothing is tried again, since the caller's deadline runs.

        Args:
            content: a JSON body that is passed on as it came.
            accept: the media type that is asked for, besides problems.

        Raises:
            UpstreamAway: it cannot be reached, says so itself, or was too slow.
            Upstream: it failed, or its answer is none that may be passed on.
        """
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._answer(method, path, query, headers, content, accept)
        except (TimeoutError, httpx.HTTPError) as error:
            raise UpstreamAway(
                "Dịch vụ trả lời yêu cầu này tạm thời không phản hồi",
                "The service that answers this request does not respond now",
                headers={"Retry-After": "2"},
            ) from error
        if answer.status == UpstreamAway.status:
            raise UpstreamAway(headers={"Retry-After": answer.headers.get("retry-after", "2")})
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        empty = answer.status in {204, 304} and not answer.content
        if not (200 <= answer.status < 500 and (empty or kind in {accept, _PROBLEM})):
            raise Upstream
        return answer

    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        headers: Mapping[str, str],
        content: bytes | None,
        accept: str,
    ) -> Answer:
        asked = {**headers, "accept": accept, "accept-encoding": "identity"}
        if content is not None:
            asked["content-type"] = "application/json"
        got = bytearray()
        async with self._http.stream(
            method,
            self._url + path,
            params=query,
            headers=asked,
            content=content,
            follow_redirects=False,
        ) as response:
            async for part in response.aiter_bytes():
                got += part
                if len(got) > LARGEST_ANSWER:
                    raise Upstream
        passed = {name: value for name in _PASSED_ON if (value := response.headers.get(name))}
        return Answer(response.status_code, passed, bytes(got))
