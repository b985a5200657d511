"""Timestamps (RFC 3161) from the first authority that answers with a good one."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import structlog

from common.delivery.breaker import Breaker
from signature_connector.clients.timestamps import NoReply
from signature_connector.domain.findings import Report
from signature_connector.domain.timestamps import Query
from signature_connector.use_cases.finishing import NoTimestamp

_FAILURES_TO_OPEN, _PAUSE_SECONDS, _LONGEST_SECONDS = 3, 5.0, 300.0

log = structlog.get_logger()


class Asking(Protocol):
    """See ``clients.timestamps.TimestampCalls``."""

    async def ask(self, url: str, query: Query) -> bytes:
        """The answer as it came; ``NoReply``."""


class Reader(Protocol):
    """See ``verification.isolation.Examiner``."""

    async def timestamp(self, reply: bytes, query: Query, moment: datetime) -> Report:
        """Whether it may be kept."""


@dataclass
class _Authority:
    url: str
    breaker: Breaker = field(
        default_factory=lambda: Breaker(_FAILURES_TO_OPEN, _PAUSE_SECONDS, _LONGEST_SECONDS)
    )


class Authorities:
    """The authorities that may be asked, the first one first.

    A token is examined before it is used: one that nobody trusts would spoil the document.

    Args:
        asking: calls them.
        reader: examines what they answer, by the roots of the trust bundle.
        urls: their addresses.
        policy: under which tokens have to be made; None: any.
        now: the clock.
    """

    def __init__(
        self,
        asking: Asking,
        reader: Reader,
        urls: Sequence[str],
        policy: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._asking = asking
        self._reader = reader
        self._policy = policy
        self._now = now
        self._all = [_Authority(url) for url in urls]

    async def token(self, imprint: bytes) -> bytes:
        """A verified token (DER of a CMS ContentInfo) for a SHA-256 imprint.

        Raises:
            NoTimestamp: nobody gave a good one; those that failed often are left alone for a while.
        """
        why = "all authorities rest"
        for one in self._all:
            if one.breaker.wait() > 0:
                continue
            query = Query(imprint, secrets.randbits(64), self._policy)
            try:
                token = await self._asked(one, query)
            except NoReply as error:
                why = str(error)
                one.breaker.record(failed=True)
                if error.hold is not None:
                    one.breaker.hold(error.hold)
                log.warning("no timestamp", tsa=one.url, error=why)
                continue
            one.breaker.record(failed=False)
            return token
        raise NoTimestamp(why)

    async def _asked(self, authority: _Authority, query: Query) -> bytes:
        reply = await self._asking.ask(authority.url, query)
        report = await self._reader.timestamp(reply, query, self._now())
        if report.refusal:
            raise NoReply(": ".join(filter(None, (report.refusal.code, report.refusal.detail))))
        token: bytes = report.facts["token"]
        return token
