"""Exchanges with an outside system, counted for each agency and told once an interval.

Counting costs a dictionary look-up; nothing is written but the interval's events. What a process
that is killed had counted since is lost, which is why the newest success is told as a time: the
next exchange makes up for it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from common.contracts.exchange import ExchangeObserved, OutsideSystem
from common.database import sqlstate
from common.delivery.partner import Claimed, Outcome, Result
from common.envelope import Draft
from common.errors import describe
from common.identifiers import new_id
from common.outbox import Outbox

MOST_AGENCIES = 2000
"""Agencies counted on their own in an interval; what comes beyond that is counted under its
level-1 agency, of which there are few."""
_LAST_WORDS_SECONDS = 5.0
_TOLD_BEFORE = "23505"  # unique_violation: the event is in the log

log = structlog.get_logger()


@dataclass(slots=True)
class _Tally:
    succeeded: int = 0
    failed: int = 0
    last_success_at: datetime | None = None


class Exchanges:
    """Counts one system's exchanges and tells them; what is left is told when the block ends.

    Args:
        system: the outside system.
        outbox: of the service that exchanges.
        seconds: the interval.
    """

    def __init__(
        self,
        system: OutsideSystem,
        outbox: Outbox,
        *,
        seconds: float = 60.0,
        most: int = MOST_AGENCIES,
    ) -> None:
        self._system = system
        self._outbox = outbox
        self._seconds = seconds
        self._most = most
        self._counted: dict[str, _Tally] = {}
        self._since = datetime.now(UTC)
        self._untold: list[Draft] = []
        self._one_at_a_time = asyncio.Lock()

    def succeeded(self, agency: str, exchanges: int = 1, at: datetime | None = None) -> None:
        """Count exchanges that the other side confirmed, the last one at a time (now)."""
        tally = self._tally(agency)
        tally.succeeded += exchanges
        moment = at or datetime.now(UTC)
        if tally.last_success_at is None or moment > tally.last_success_at:
            tally.last_success_at = moment

    def failed(self, agency: str, exchanges: int = 1) -> None:
        """Count exchanges that were tried and that the other side did not confirm."""
        self._tally(agency).failed += exchanges

    def settled(self, outcomes: Sequence[tuple[Claimed, Outcome]]) -> None:
        """Count what became of delivered items (``common.delivery.Deliverer``).

        An item that goes out again in another form, or that no call was made for (a pause of
        nothing), says nothing about the connection.
        """
        for item, outcome in outcomes:
            if outcome.result is Result.DONE:
                self.succeeded(item.agency)
            elif outcome.pause != 0.0 and outcome.result in _FAILED:
                self.failed(item.agency)

    async def run(self) -> None:
        """Tell each interval (a worker); without end."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.tell()

    async def tell(self) -> None:
        """Tell what was counted since the last time, where anything was.

        Where that fails, the same events are written the next time: had they been committed all
        the same, their ids are known and nothing is told twice.
        """
        async with self._one_at_a_time:
            self._untold = self._untold or self._observed()
            if not self._untold:
                return
            try:
                async with self._outbox.transaction() as unit:
                    unit.drafts.extend(self._untold)
            except Exception as error:
                if sqlstate(error) != _TOLD_BEFORE:
                    raise
            self._untold = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the rest: entered before the workers start, this is left after they have ended."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self.tell()  # what an earlier try left behind
                await self.tell()
        except Exception as trouble:
            log.warning("exchanges not told", system=self._system, error=describe(trouble))

    def _tally(self, agency: str) -> _Tally:
        tally = self._counted.get(agency)
        if tally is None:
            if len(self._counted) >= self._most:
                agency = agency.partition(".")[0]
            tally = self._counted.setdefault(agency, _Tally())
        return tally

    def _observed(self) -> list[Draft]:
        """Take the counts out."""
        counted, self._counted = self._counted, {}
        started, self._since = self._since, datetime.now(UTC)
        return [
            _draft(
                ExchangeObserved(
                    system=self._system,
                    agency=agency,
                    succeeded=tally.succeeded,
                    failed=tally.failed,
                    last_success_at=tally.last_success_at,
                    started_at=started,
                    ended_at=self._since,
                )
            )
            for agency, tally in sorted(counted.items())
        ]


_FAILED = frozenset({Result.RETRY, Result.UNKNOWN, Result.REFUSED})


def _draft(event: ExchangeObserved) -> Draft:
    identifier = new_id()
    return Draft(
        id=identifier,
        event=event,
        aggregate=f"exchange:{event.system}:{event.agency}",
        agency=event.agency,
        subject=None,
        traceparent=None,
        correlation=str(identifier),
        causation=None,
    )
