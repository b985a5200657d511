"""What a client may ask for, over all replicas: requests a second, submissions a day, tokens.

While the database cannot be asked each replica lets through its own share of the rate and no more.
Whoever has no token yet is counted here alone, by address: strangers cause no writes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import ceil

import structlog

from common.database import Database
from common.errors import NotReady, describe
from gateway.domain.codes import vietnam_day
from gateway.domain.limits import Lease, day_fields, rate_fields, seconds_of_day_left
from gateway.errors import QuotaExceeded, RateExceeded
from gateway.store import limits as store
from gateway.store.limits import DayWish, RateWish
from gateway.use_cases.leases import Away, Dry, Pools

_TIDY_SECONDS = 1.0
_INTAKE_SECONDS = 10.0
_FORGET_SECONDS = 3600.0
_MOST_BUCKETS = 20_000
_MOST_ACQUAINTED = 10_000

log = structlog.get_logger()

_Bucket = tuple[str, str | None]
"""Its key, and the client whose own limits count."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second on average, and at once."""

    per_second: float
    burst: int

    def share(self, replicas: int) -> "Rate":
        """Of one replica, at least one request at a time."""
        return Rate(self.per_second / replicas, max(1, self.burst // replicas))


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where the registry says nothing else.

    Attributes:
        client: requests of a client.
        per_day: submissions of a client.
        tokens: requests for tokens that name one client id.
        stranger: requests without a token from one address, at one replica.
        replicas: by how many the rates are divided while the database cannot be asked.
    """

    client: Rate
    per_day: int
    tokens: Rate
    stranger: Rate
    replicas: int


class Limits:
    """Lets requests through, or refuses them.

    Args:
        database: holds the buckets that all replicas share.
        defaults: see there.
        clock: seconds, monotonic.
    """

    def __init__(
        self, database: Database, defaults: Defaults, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._defaults = defaults
        self._clock = clock
        self._rates: Pools[_Bucket] = Pools(self._lease_rates, clock)
        # What is counted here needs the database anyway: it waits for it as intake does.
        self._days: Pools[tuple[str, date]] = Pools(
            self._lease_days, clock, patience=_INTAKE_SECONDS, pause=0.0
        )
        self._shares = _Buckets(clock)
        self._strangers = _Buckets(clock)
        self._acquainted: dict[tuple[str, str], None] = {}

    async def request(self, client_id: str) -> None:
        """Count a request of a client.

        Raises:
            RateExceeded: there were too many.
        """
        await self._rate((client_id, client_id), self._defaults.client)

    async def submissions(self, client_id: str, count: int = 1) -> None:
        """Count submissions of a client that are about to be taken in.

        Raises:
            QuotaExceeded: the day's are used up.
            NotReady: the database cannot be asked, and so could not take them in either.
        """
        now = datetime.now(UTC)
        try:
            await self._days.take((client_id, vietnam_day(now)), count)
        except Dry as dry:
            seconds = seconds_of_day_left(now)
            raise QuotaExceeded(
                "Hệ thống này đã dùng hết số yêu cầu được nộp trong ngày",
                "This client has used up its submissions of the day",
                policies=("day",),
                seconds=seconds,
            ) from dry
        except Away as away:
            raise NotReady(
                "Chưa kiểm tra được hạn mức trong ngày",
                "The quota of the day cannot be checked now",
                headers={"Retry-After": "2"},
            ) from away

    def give_back(self, client_id: str, count: int = 1) -> None:
        """Submissions that were counted and then were none: repeated or refused ones."""
        self._days.give_back((client_id, vietnam_day(datetime.now(UTC))), count)

    def stranger(self, address: str) -> None:
        """Count a request without a token.

        Raises:
            RateExceeded: there were too many from this address.
        """
        wait = self._strangers.take(address, self._defaults.stranger)
        if wait:
            raise _too_many("address", wait)

    async def token(self, client_id: str, address: str) -> None:
        """Count a request for a token, before its secret is checked.

        An address from which this client got a token before has a count of its own, so that
        strangers who name the client use up theirs and not the client's.

        Raises:
            RateExceeded: there were too many.
        """
        known = (client_id, address) in self._acquainted
        key = f"token {client_id} {address}" if known else f"token {client_id}"
        await self._rate((key, None), self._defaults.tokens)

    def token_given(self, client_id: str, address: str) -> None:
        """The client has proved at this address that it is who it says."""
        if len(self._acquainted) >= _MOST_ACQUAINTED:
            self._acquainted.pop(next(iter(self._acquainted)))
        self._acquainted[client_id, address] = None

    def fields(self, client_id: str) -> tuple[str, str] | None:
        """``RateLimit-Policy`` and ``RateLimit`` for a client, as far as this replica knows."""
        now = self._clock()
        pool = self._rates.pool((client_id, client_id))
        if pool.lease is None:
            return None
        told = [rate_fields(pool.lease, pool.left(now))]
        moment = datetime.now(UTC)
        day = self._days.pool((client_id, vietnam_day(moment)))
        if day.lease is not None:
            told.append(day_fields(day.lease, day.left(now), moment))
        return ", ".join(policy for policy, _ in told), ", ".join(left for _, left in told)

    async def run(self) -> None:
        """Give back what is not needed and delete what is over, without end."""
        forgot = self._clock()
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            await self._rates.tidy()
            await self._days.tidy()
            if self._clock() - forgot > _FORGET_SECONDS:
                forgot = self._clock()
                try:
                    async with self._database.reading() as connection:
                        await store.forget(connection)
                except Exception as error:
                    log.warning("old limits not deleted", error=describe(error))

    async def close(self) -> None:
        """Give back everything."""
        await self._rates.tidy(everything=True)
        await self._days.tidy(everything=True)

    async def _rate(self, bucket: _Bucket, default: Rate) -> None:
        try:
            await self._rates.take(bucket)
        except Dry as dry:
            lease = self._rates.pool(bucket).lease
            slow = (1 - lease.left) / lease.per_second if lease and lease.per_second else 0.0
            raise _too_many("rate", max(dry.seconds, slow)) from dry
        except Away as away:
            lease = self._rates.pool(bucket).lease
            told = Rate(lease.per_second, lease.most) if lease else default
            wait = self._shares.take(bucket[0], told.share(self._defaults.replicas))
            if wait:
                raise _too_many("rate", wait) from away

    async def _lease_rates(self, wishes: Sequence[tuple[_Bucket, int]]) -> list[Lease]:
        asked = [
            RateWish(key, tokens, client_id, rate.per_second, rate.burst)
            for (key, client_id), tokens in wishes
            for rate in [self._defaults.client if client_id else self._defaults.tokens]
        ]
        async with self._database.reading() as connection:
            return await store.lease_rates(connection, asked)

    async def _lease_days(self, wishes: Sequence[tuple[tuple[str, date], int]]) -> list[Lease]:
        asked = [
            DayWish(client_id, day, tokens, self._defaults.per_day)
            for (client_id, day), tokens in wishes
        ]
        async with self._database.reading() as connection:
            return await store.lease_days(connection, asked)


class _Buckets:
    """Token buckets of this process alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: Rate) -> float:
        """Spend one token; 0, or how many seconds there is none."""
        now = self._clock()
        tokens, at = self._buckets.get(key, (float(rate.burst), now))
        tokens = min(rate.burst, tokens + (now - at) * rate.per_second)
        if tokens < 1:
            return (1 - tokens) / rate.per_second
        if len(self._buckets) >= _MOST_BUCKETS and key not in self._buckets:
            self._buckets.pop(next(iter(self._buckets)))
        self._buckets[key] = (tokens - 1, now)
        return 0.0


def _too_many(policy: str, seconds: float) -> RateExceeded:
    return RateExceeded(
        "Quá nhiều yêu cầu trong thời gian ngắn",
        "Too many requests in a short time",
        policies=(policy,),
        seconds=max(1, ceil(seconds)),
    )
