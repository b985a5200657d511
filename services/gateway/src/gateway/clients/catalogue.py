"""What the catalogue answered last, kept so that it is readable while its service is away.

An HTTP cache (RFC 9111) of public answers, bounded in memory. Nothing is handed out without being
asked for again, unless the service said how long it is fresh; while the service fails, an answer
stands in for as long as its ``stale-if-error`` says (RFC 5861). ``Age`` and ``Cache-Status``
(RFC 9211) tell.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.errors import Upstream
from gateway.clients.behind import Answer, Behind
from gateway.errors import UpstreamAway

LARGEST_KEPT = 1024 * 1024
"""Bytes of one answer."""

_CONDITIONS = frozenset({"if-none-match", "if-modified-since"})
_DIRECTIVE = re.compile(r"(?:^|,)\s*(max-age|stale-if-error)\s*=\s*\"?([0-9]{1,9})\"?\s*(?=$|,)")
_NOT_KEPT = re.compile(r"(?:^|,)\s*(?:no-store|private|no-cache)\s*(?:=|,|$)")
_OVERHEAD = 1000  # of an entry, about

_Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    at: float
    fresh: int
    stale: int

    @property
    def size(self) -> int:
        return len(self.answer.content) + _OVERHEAD


class Catalogue:
    """The catalogue's service behind a cache.

    Args:
        service: answers.
        most: bytes that are kept at the most.
        clock: seconds that only grow.
    """

    def __init__(
        self, service: Behind, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._service = service
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self.size = 0

    async def ask(self, method: str, path: str, *given: Any, **named: Any) -> Answer:
        """Ask the service itself, as ``Behind.ask``."""
        return await self._service.ask(method, path, *given, **named)

    async def get(
        self, path: str, query: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> Answer:
        """Read. A kept answer comes as a whole: the caller judges the client's conditions.

        Raises:
            UpstreamAway, Upstream: it cannot be read, and nothing kept may stand in.
        """
        key = path, tuple(sorted((name, str(value)) for name, value in query.items()))
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            if (left := kept.fresh - self._age(kept)) > 0:
                return self._told(kept, f"hit; ttl={left}")
        asked = {name: value for name, value in headers.items() if name not in _CONDITIONS}
        if kept is not None:
            asked["if-none-match"] = kept.answer.headers["etag"]
        try:
            answer = await self._service.get(path, query, asked)
        except (UpstreamAway, Upstream):
            if kept is None or self._age(kept) > kept.fresh + kept.stale:
                raise
            ttl = kept.fresh - self._age(kept)
            return self._told(kept, f"fwd=stale; ttl={ttl}; detail=stale-if-error")
        if answer.status == 304 and kept is not None:
            # What another attempt has stored meanwhile is as good.
            merged = replace(kept.answer, headers={**kept.answer.headers, **answer.headers})
            self._keep(key, merged)
            return _with(merged, {"cache-status": "gateway; fwd=stale; fwd-status=304"})
        reason = "fwd=uri-miss" if kept is None else "fwd=stale"
        stored = self._keep(key, answer)
        status = f"gateway; {reason}; fwd-status={answer.status}{'; stored' if stored else ''}"
        return _with(answer, {"cache-status": status})

    def _age(self, kept: _Kept) -> int:
        return int(self._clock() - kept.at)

    def _told(self, kept: _Kept, status: str) -> Answer:
        told = {"age": str(self._age(kept)), "cache-status": f"gateway; {status}"}
        return _with(kept.answer, told)

    def _keep(self, key: _Key, answer: Answer) -> bool:
        """Keep an answer, or forget what was kept in its place; whether it is kept."""
        if (before := self._kept.pop(key, None)) is not None:
            self.size -= before.size
        control = answer.headers.get("cache-control", "").lower()
        times = {name: int(value) for name, value in _DIRECTIVE.findall(control)}
        if (
            answer.status != 200
            or not times
            or _NOT_KEPT.search(control)
            or "etag" not in answer.headers
            or len(answer.content) > LARGEST_KEPT
        ):
            return False
        kept = _Kept(answer, self._clock(), times.get("max-age", 0), times.get("stale-if-error", 0))
        self._kept[key] = kept
        self.size += kept.size
        while self.size > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.size
        return key in self._kept


def _with(answer: Answer, headers: Mapping[str, str]) -> Answer:
    return replace(answer, headers={**answer.headers, **headers})
