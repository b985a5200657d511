"""One service behind the gateway: asked within a deadline, left alone while it is down."""

import asyncio
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import structlog

from common.errors import Upstream
from common.http import never_sent
from gateway.clients.circuit import Circuit, Open
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
_SAFE = frozenset({"GET", "HEAD"})
_AWAY = frozenset({502, 503, 504})
_RETRY_PAUSE = (0.02, 0.1)
_WAIT = re.compile(r"wait=([0-9]{1,4})")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """An upstream's answer, with the headers that may be passed on."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Behind:
    """One service behind the gateway.

    Args:
        http: the client, with connections of its own: a service that hangs takes no other's.
        url: the service's base URL.
        seconds: how long an answer may take, its body and a second attempt included.
        name: for the log.
    """

    def __init__(
        self, http: httpx.AsyncClient, url: str, seconds: float, name: str = "service behind"
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._name = name
        self._circuit = Circuit()

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
        media_type: str = "application/json",
    ) -> Answer:
        """Ask within the deadline, and once more where that can do nothing twice.

        The deadline is the service's, or what ``Prefer: wait`` among the headers says (RFC 7240)
        if that is shorter. A second attempt is made for a safe method, or where nothing of the
        first has left; a reading that is put down by its purpose counts as unsafe.

        Args:
            content: a body that is passed on as it came.
            media_type: of that body.
            accept: the media type that is asked for, besides problems.

        Raises:
            UpstreamAway: it cannot be reached, says so itself, was too slow, or is left alone.
            Upstream: it failed, or its answer is none that may be passed on.
        """
        body = None if content is None else (media_type, content)
        seconds = _patience(headers, self._seconds)
        try:
            probe = self._circuit.enter()
        except Open as pause:
            raise _away(math.ceil(pause.seconds)) from None
        failed: bool | None = None
        try:
            async with asyncio.timeout(seconds):
                answer = await self._answer(method, path, query, headers, body, accept)
            failed = answer.status in _AWAY
        except (TimeoutError, httpx.TimeoutException) as error:
            # What was too slow for an impatient client alone says nothing about the service.
            failed = True if seconds >= self._seconds else None
            raise _away() from error
        except httpx.HTTPError as error:
            failed = True
            raise _away() from error
        except Upstream:
            failed = False
            raise
        finally:
            self._note(probe=probe, failed=failed)
        if answer.status == UpstreamAway.status:
            raise UpstreamAway(headers={"Retry-After": answer.headers.get("retry-after", "2")})
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        empty = answer.status in {204, 304} and not answer.content
        if not (200 <= answer.status < 500 and (empty or kind in {accept, _PROBLEM})):
            raise Upstream
        return answer

    def _note(self, *, probe: bool, failed: bool | None) -> None:
        was_open = self._circuit.open
        self._circuit.leave(probe=probe, failed=failed)
        if self._circuit.open and not was_open:
            log.warning("service behind is away, left alone", service=self._name)
        elif was_open and not self._circuit.open:
            log.info("service behind is back", service=self._name)

    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        headers: Mapping[str, str],
        body: tuple[str, bytes] | None,
        accept: str,
    ) -> Answer:
        safe = method in _SAFE and "x-purpose" not in headers
        try:
            answer = await self._once(method, path, query, headers, body, accept)
        except httpx.HTTPError as error:
            if not (never_sent(error) or (safe and not isinstance(error, httpx.TimeoutException))):
                raise
        else:
            if not (safe and answer.status in _AWAY and "retry-after" not in answer.headers):
                return answer
        await asyncio.sleep(random.uniform(*_RETRY_PAUSE))
        return await self._once(method, path, query, headers, body, accept)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        headers: Mapping[str, str],
        body: tuple[str, bytes] | None,
        accept: str,
    ) -> Answer:
        asked = {**headers, "accept": accept, "accept-encoding": "identity"}
        if body is not None:
            asked["content-type"] = body[0]
        got = bytearray()
        async with self._http.stream(
            method,
            self._url + path,
            params=query,
            headers=asked,
            content=body[1] if body is not None else None,
            follow_redirects=False,
        ) as response:
            async for part in response.aiter_bytes():
                got += part
                if len(got) > LARGEST_ANSWER:
                    raise Upstream
        passed = {name: value for name in _PASSED_ON if (value := response.headers.get(name))}
        return Answer(response.status_code, passed, bytes(got))


def _patience(headers: Mapping[str, str], most: float) -> float:
    """Seconds that the client waits; ``wait=0`` is no deadline anybody could keep."""
    found = _WAIT.search(headers.get("prefer", ""))
    return min(float(found[1]), most) if found and int(found[1]) else most


def _away(seconds: int = 2) -> UpstreamAway:
    return UpstreamAway(
        "Dịch vụ trả lời yêu cầu này tạm thời không phản hồi",
        "The service that answers this request does not respond now",
        headers={"Retry-After": str(max(seconds, 1))},
    )
