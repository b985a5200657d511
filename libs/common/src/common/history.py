"""Missed events asked from the producer's service."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
import structlog

from common.errors import describe
from common.parking import HistoryAway

log = structlog.get_logger()


class HttpHistory:
    """History over the producers' ``/internal/events``.

    Args:
        urls: base URL of each producer's service.
        http: the client.
        headers: yields the Authorization header of this service.
        refused: is told that the header was not taken, so that the next one is a new one.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        http: httpx.AsyncClient,
        headers: Callable[[], Awaitable[dict[str, str]]],
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._urls = urls
        self._http = http
        self._headers = headers
        self._refused = refused

    async def events(
        self, producer: str, epoch: int, aggregate: str, first: int, last: int
    ) -> list[bytes]:
        """As ``common.parking.History`` says; empty while the producer cannot be asked."""
        base = self._urls.get(producer)
        if base is None:
            log.warning("no address to ask for missed events", producer=producer)
            return []
        try:
            content = await self._get(
                f"{base.rstrip('/')}/internal/events",
                {"aggregate": aggregate, "epoch": epoch, "first": first, "last": last},
            )
        except httpx.HTTPError as error:
            log.warning("missed events not to be had now", producer=producer, error=describe(error))
            return []
        return [line for line in content.split(b"\n") if line]

    async def log(self, producer: str, types: Sequence[str], after: UUID) -> list[bytes]:
        """As the protocol says."""
        base = self._urls.get(producer)
        if base is None:
            raise HistoryAway(f"no address of {producer}")
        try:
            content = await self._get(
                f"{base.rstrip('/')}/internal/log", {"types": list(types), "after": str(after)}
            )
        except httpx.HTTPError as error:
            raise HistoryAway(producer) from error
        return [line for line in content.split(b"\n") if line]

    async def _get(self, url: str, params: Mapping[str, Any]) -> bytes:
        answer = await self._http.get(url, params=params, headers=await self._headers())
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._refused()
        answer.raise_for_status()
        return answer.content
