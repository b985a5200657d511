"""Whether certificates were revoked: looked up where they say, kept while the answer counts."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.revocation import Lookup

_MOST_KEPT = 2000
_MOST_BYTES = 64 * 1024 * 1024
_LONGEST = timedelta(hours=24)
_AFTER_FAILURE = timedelta(seconds=30)


class Reader(Protocol):
    """Reads certificates and answers in isolation; see ``verification.isolation.Examiner``."""

    async def lookups(self, chain: Sequence[bytes]) -> Sequence[Sequence[Lookup]]:
        """Per certificate, the calls that could tell."""

    async def good_until(self, kind: str, content: bytes) -> datetime | None:
        """Until when an answer counts."""


class Asking(Protocol):
    """See ``clients.revocation.Responders``."""

    async def ask(self, lookup: Lookup) -> bytes | None:
        """The answer, if there is one."""


@dataclass(frozen=True, slots=True)
class _Kept:
    content: bytes | None
    until: datetime


class Revocation:
    """Looks up revocation data, each address once at a time.

    Answers are kept until they say that there will be newer ones (``nextUpdate``), a day at the
    longest; that there was none, for half a minute.

    Args:
        reader: reads what is foreign.
        responders: asks.
        now: the clock.
    """

    def __init__(
        self,
        reader: Reader,
        responders: Asking,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._reader = reader
        self._responders = responders
        self._now = now
        self._kept: dict[Lookup, _Kept] = {}
        self._flights: dict[Lookup, asyncio.Task[bytes | None]] = {}

    async def data_for(self, chain: Sequence[bytes], moment: datetime) -> ValidationData:
        """What is known of the revocation of a chain. Never raises but for a cancellation.

        Args:
            chain: DER certificates, each before its issuer; those above that the trust bundle
                holds need not be given.
            moment: what is kept and ends before it is looked up anew.

        Returns:
            One answer per certificate at the most, an OCSP response before a CRL; empty where
            nothing could be learned.
        """
        ocsps: list[bytes] = []
        crls: list[bytes] = []
        calls = await self._reader.lookups(chain)
        for lookup, content in await asyncio.gather(*(self._first(one, moment) for one in calls)):
            if lookup is not None and content is not None:
                (ocsps if lookup.kind == "ocsp" else crls).append(content)
        return ValidationData((), tuple(ocsps), tuple(dict.fromkeys(crls)))

    async def _first(
        self, calls: Sequence[Lookup], moment: datetime
    ) -> tuple[Lookup | None, bytes | None]:
        for lookup in calls:
            if (content := await self._told(lookup, moment)) is not None:
                return lookup, content
        return None, None

    async def _told(self, lookup: Lookup, moment: datetime) -> bytes | None:
        now = self._now()
        kept = self._kept.get(lookup)
        if kept is not None and kept.until > now and (kept.content is None or kept.until > moment):
            return kept.content
        flight = self._flights.get(lookup)
        if flight is None:
            flight = asyncio.create_task(self._fetch(lookup))
            self._flights[lookup] = flight
            flight.add_done_callback(lambda _: self._flights.pop(lookup, None))
        return await asyncio.shield(flight)

    async def _fetch(self, lookup: Lookup) -> bytes | None:
        content = await self._responders.ask(lookup)
        now = self._now()
        until = await self._reader.good_until(lookup.kind, content) if content else None
        if content is None or until is None:
            self._keep(lookup, _Kept(None, now + _AFTER_FAILURE))
            return None
        self._keep(lookup, _Kept(content, min(until, now + _LONGEST)))
        return content

    def _keep(self, lookup: Lookup, kept: _Kept) -> None:
        self._kept.pop(lookup, None)
        self._kept[lookup] = kept
        while len(self._kept) > _MOST_KEPT or self._bytes() > _MOST_BYTES:
            self._kept.pop(next(iter(self._kept)))

    def _bytes(self) -> int:
        return sum(len(one.content or b"") for one in self._kept.values())
