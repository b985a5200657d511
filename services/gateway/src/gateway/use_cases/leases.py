"""Tokens that are leased from the database in slices, so that few requests wait for a round trip.

A replica holds what it has leased and spends it alone. The database has taken it out of the common
bucket before, so that all replicas together never spend more than the bucket holds and brings
back, but for what they hold when one begins to count: a slice and a quarter each at the most. What
is not spent for some seconds is given back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from common.batching import GroupCommit
from common.errors import describe
from gateway.domain.limits import Lease

Key = TypeVar("Key", bound=Hashable)

AHEAD_SHARE = 0.25
"""Of a slice: the next one is leased once less than this is held."""
_SMALLEST_AHEAD = 4
_TRIES = 3
_IDLE_SECONDS = 2.0
_FORGOTTEN_SECONDS = 600.0
_LEAST_PAUSE, _LONGEST_PAUSE = 0.02, 5.0
_MOST_POOLS = 20_000

log = structlog.get_logger()


class Dry(Exception):
    """There are no tokens; ``seconds`` says when the next one comes, as far as that is known."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Away(Exception):
    """The database cannot be asked now."""


@dataclass(slots=True)
class Pool:
    """What this replica holds of one bucket."""

    held: int = 0
    lease: Lease | None = None
    """The last one."""
    told_at: float = 0.0
    dry_until: float = 0.0
    away_until: float = 0.0
    touched: float = 0.0
    waiting: int = 0
    task: asyncio.Task[bool] | None = None

    def left(self, now: float) -> float:
        """Tokens that can be had now, as far as this replica knows."""
        if self.lease is None:
            return 0.0
        back = self.lease.left + self.lease.per_second * (now - self.told_at)
        return min(self.lease.most, self.held + max(0.0, back))


class Pools(Generic[Key]):
    """What this replica holds of many buckets.

    Args:
        lease: takes tokens out of the common buckets, or puts them back (below zero), committed;
            one wish for each key at the most.
        clock: seconds, monotonic.
        patience: seconds that somebody waits for a lease.
        pause: seconds in which nobody asks again after it could not be had.
    """

    def __init__(
        self,
        lease: Callable[[Sequence[tuple[Key, int]]], Awaitable[Sequence[Lease]]],
        clock: Callable[[], float] = time.monotonic,
        *,
        patience: float = 1.0,
        pause: float = 1.0,
    ) -> None:
        self._pools: dict[Key, Pool] = {}
        self._group: GroupCommit[tuple[Key, int], Lease] = GroupCommit(lease, writers=1)
        self._clock = clock
        self._patience = patience
        self._pause = pause

    def pool(self, key: Key) -> Pool:
        """What is held of a bucket."""
        pool = self._pools.get(key)
        if pool is None:
            if len(self._pools) >= _MOST_POOLS:
                self._forget_some()
            pool = self._pools[key] = Pool()
        return pool

    async def take(self, key: Key, tokens: int = 1) -> Pool:
        """Spend tokens of a bucket; all or none.

        Raises:
            Dry: there are not that many.
            Away: nobody knows.
        """
        pool = self.pool(key)
        now = pool.touched = self._clock()
        for _ in range(_TRIES):
            if pool.held >= tokens:
                pool.held -= tokens
                if pool.task is None and now >= max(pool.dry_until, pool.away_until):
                    self._lease_ahead(key, pool)
                return pool
            if now < pool.away_until:
                raise Away
            if now < pool.dry_until:
                raise Dry(pool.dry_until - now)
            with _waiting(pool, tokens):
                if not await self._leased(key, pool):
                    raise Away
            now = self._clock()
        raise Dry(max(_LEAST_PAUSE, pool.dry_until - now))

    def give_back(self, key: Key, tokens: int) -> None:
        """Tokens that were taken and not needed."""
        self.pool(key).held += tokens

    async def tidy(self, *, everything: bool = False) -> None:
        """Give back what has not been needed for a while, and forget pools that hold nothing.

        Args:
            everything: all that is held, whenever it was needed.
        """
        now = self._clock()
        idle = [
            (key, pool)
            for key, pool in self._pools.items()
            if pool.task is None and (everything or now - pool.touched > _IDLE_SECONDS)
        ]
        held = [(key, pool) for key, pool in idle if pool.held]
        for key, pool in held:
            tokens, pool.held = pool.held, 0
            pool.task = self._ask(key, pool, -tokens)
        await asyncio.gather(*(pool.task for _, pool in held if pool.task))
        for key, pool in idle:
            if not pool.held and not pool.task and now - pool.touched > _FORGOTTEN_SECONDS:
                self._pools.pop(key, None)

    def _lease_ahead(self, key: Key, pool: Pool) -> None:
        """The next slice while there is still something to spend; tiny ones are taken on demand."""
        size = pool.lease.slice if pool.lease else 0
        if size >= _SMALLEST_AHEAD and pool.held < size * AHEAD_SHARE:
            pool.task = self._ask(key, pool, size)

    async def _leased(self, key: Key, pool: Pool) -> bool:
        if pool.task is None:
            pool.task = self._ask(key, pool, None)
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(pool.task)
        except TimeoutError:
            pool.away_until = self._clock() + self._pause
            return False

    def _ask(self, key: Key, pool: Pool, tokens: int | None) -> asyncio.Task[bool]:
        return asyncio.create_task(self._asked(key, pool, tokens))

    async def _asked(self, key: Key, pool: Pool, tokens: int | None) -> bool:
        """Ask the database, and say whether it has answered; None is for those who wait, and a
        slice on top of it."""
        if tokens is None:
            size = pool.lease.slice if pool.lease else 0
            ahead = size if size >= _SMALLEST_AHEAD else 0
            tokens = max(1, pool.waiting - pool.held) + ahead
        try:
            lease = await self._group.add((key, tokens))
        except Exception as error:
            if self._clock() >= pool.away_until:
                log.warning("limits not to be leased, local share holds", error=describe(error))
            pool.away_until = self._clock() + self._pause
            return False
        finally:
            pool.task = None
        now = self._clock()
        if tokens > 0:
            pool.held += lease.granted
        pool.lease, pool.told_at, pool.away_until = lease, now, 0.0
        if lease.granted < tokens:
            pause = (1 - lease.left) / lease.per_second if lease.per_second else _LONGEST_PAUSE
            pool.dry_until = now + min(max(pause, _LEAST_PAUSE), _LONGEST_PAUSE)
        return True

    def _forget_some(self) -> None:
        """Room for others: the tokens that go with these pools come back with time."""
        for key in list(self._pools)[: _MOST_POOLS // 10]:
            if not self._pools[key].waiting:
                del self._pools[key]


@contextmanager
def _waiting(pool: Pool, tokens: int) -> Iterator[None]:
    pool.waiting += tokens
    try:
        yield
    finally:
        pool.waiting -= tokens
