"""However replicas spend what they lease, they never spend more than the limit and what they held.

The database's side is played by the same arithmetic in memory; that the statements compute the same
is shown on PostgreSQL (``tests/integration/test_gateway_limits.py``).
"""

import asyncio
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.database import DatabaseAway
from gateway.domain.limits import Lease, rate_fields, seconds_of_day_left
from gateway.use_cases.leases import AHEAD_SHARE, Away, Dry, Pools


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """The common bucket, as the database keeps it."""

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        self.clock, self.per_second, self.burst = clock, per_second, burst
        self.tokens, self.at = float(burst), clock.now
        self.trips = 0
        self.away = False

    async def lease(self, wishes):
        self.trips += 1
        if self.away:
            raise DatabaseAway("away")
        return [self._lease(tokens) for _, tokens in wishes]

    def _lease(self, tokens: int) -> Lease:
        filled = min(self.burst, self.tokens + (self.clock.now - self.at) * self.per_second)
        granted = tokens if tokens < 0 else max(0, min(tokens, math.floor(filled)))
        self.tokens, self.at = min(self.burst, filled - granted), self.clock.now
        return Lease(granted, self.tokens, self.burst, self.per_second)


def most_held(lease: Lease) -> float:
    """By one replica: its slice, and what was left when it asked for the next."""
    return lease.slice * (1 + AHEAD_SHARE)


@settings(max_examples=150, deadline=None)
@given(
    st.floats(0.5, 400),
    st.integers(1, 300),
    st.integers(1, 4),
    st.lists(
        st.tuples(
            st.floats(0, 1.5),  # seconds until
            st.integers(0, 3),  # this replica
            st.integers(1, 60),  # gets so many requests
            st.booleans(),  # and gives back what it does not need
        ),
        max_size=25,
    ),
)
def test_no_window_sees_more_than_burst_rate_and_what_replicas_held(
    per_second, burst, replicas, moves
) -> None:
    clock = Clock()
    bucket = Bucket(clock, per_second, burst)
    spent: list[tuple[float, int]] = []

    async def play() -> None:
        pools = [Pools(bucket.lease, clock) for _ in range(replicas)]
        for seconds, number, requests, tidy in moves:
            clock.now += seconds
            pool = pools[number % replicas]
            outcomes = await asyncio.gather(
                *(pool.take("client") for _ in range(requests)), return_exceptions=True
            )
            assert all(not isinstance(one, Exception) or type(one) is Dry for one in outcomes)
            spent.append((clock.now, sum(not isinstance(one, Exception) for one in outcomes)))
            await asyncio.sleep(0)
            if tidy:
                await pool.tidy(everything=True)

    asyncio.run(play())
    held = replicas * most_held(Lease(0, 0, burst, per_second))
    for first, (begin, _) in enumerate(spent):
        total = 0
        for end, count in spent[first:]:
            total += count
            assert total <= burst + per_second * (end - begin) + held + 1e-6
    # From the beginning, when nobody held anything, it is the bare limit.
    if spent:
        assert (
            sum(count for _, count in spent)
            <= burst + per_second * (spent[-1][0] - spent[0][0] + moves[0][0]) + 1e-6
        )


async def test_few_requests_wait_for_the_database() -> None:
    clock = Clock()
    bucket = Bucket(clock, 1000, 2000)
    pools = Pools(bucket.lease, clock)
    for _ in range(2000):
        await pools.take("client")
        await asyncio.sleep(0)
    assert bucket.trips <= 2000 / 250 * 1.5 + 2


async def test_who_asks_above_the_limit_costs_no_further_trips() -> None:
    clock = Clock()
    bucket = Bucket(clock, 1, 1)
    pools = Pools(bucket.lease, clock)
    await pools.take("client")
    for _ in range(50):
        with pytest.raises(Dry):
            await pools.take("client")
    assert bucket.trips == 2
    clock.now += 1.001
    await pools.take("client")


async def test_those_who_wait_at_once_share_one_trip() -> None:
    bucket = Bucket(Clock(), 100, 100)
    pools = Pools(bucket.lease, bucket.clock)
    await asyncio.gather(*(pools.take("client") for _ in range(50)))
    assert bucket.trips <= 3


async def test_what_one_replica_does_not_need_another_gets() -> None:
    clock = Clock()
    bucket = Bucket(clock, 0.001, 64)
    one, other = Pools(bucket.lease, clock), Pools(bucket.lease, clock)
    for _ in range(8):
        await one.take("client")
        await other.take("client")
    clock.now += 3.0
    await one.tidy()
    await other.tidy()
    for _ in range(48):
        await other.take("client")
    with pytest.raises(Dry):
        await other.take("client")


async def test_a_lease_that_fails_says_that_nobody_knows_and_is_not_tried_at_once_again() -> None:
    clock = Clock()
    bucket = Bucket(clock, 10, 10)
    bucket.away = True
    pools = Pools(bucket.lease, clock)
    for _ in range(5):
        with pytest.raises(Away):
            await pools.take("client")
    assert bucket.trips == 1
    bucket.away = False
    clock.now += 1.1
    await pools.take("client")


async def test_more_tokens_at_once_are_all_or_none() -> None:
    clock = Clock()
    pools = Pools(Bucket(clock, 0.001, 10).lease, clock)
    with pytest.raises(Dry):
        await pools.take("client", 11)
    await pools.take("client", 10)
    with pytest.raises(Dry):
        await pools.take("client")


def test_the_fields_say_what_the_bucket_is() -> None:
    lease = Lease(1, 90.0, 100, 25.0)
    assert rate_fields(lease, 90.4) == ('"rate";q=100;w=4', '"rate";r=90;t=1')


def test_the_day_ends_at_midnight_in_vietnam() -> None:
    assert seconds_of_day_left(datetime(2026, 11, 2, 16, 59, 0, tzinfo=UTC)) == 60
    assert seconds_of_day_left(datetime(2026, 11, 2, 17, 0, 0, tzinfo=UTC)) == 86_400
