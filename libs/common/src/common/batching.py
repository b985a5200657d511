"""Group commit: what waits at the same moment is written in one transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from common.database import DatabaseAway, database_is_away, rolled_back

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")
_Waiting: TypeAlias = tuple[Entry, asyncio.Future[Answer]]


class Overloaded(Exception):
    """More waits than the limit allows."""


class GroupCommit(Generic[Entry, Answer]):
    """Collects entries and writes them together.

    Args:
        write: writes a batch and answers for each entry, in order; its transaction is committed
            when it returns. A batch for which it raises is halved until the bad entry stands
            alone, so that it refuses no other; while the database is away nothing is retried.
        writers: batches under way at the same time.
        largest: entries in a batch.
        waiting: entries that may wait before ``add`` raises Overloaded.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Entry]], Awaitable[Sequence[Answer]]],
        *,
        writers: int = 2,
        largest: int = 200,
        waiting: int = 5000,
    ) -> None:
        self._write = write
        self._largest = largest
        self._most = waiting
        self._waiting: deque[_Waiting[Entry, Answer]] = deque()
        self._free = writers
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, entry: Entry) -> Answer:
        """Return the answer once the entry's transaction is committed.

        One who waits no longer has no answer; the entry may be written all the same.

        Raises:
            Overloaded: too many wait already.
            Exception: what the write of this entry raised.
        """
        if len(self._waiting) >= self._most:
            raise Overloaded
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._free:
            self._free -= 1
            task = asyncio.create_task(self._write_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), self._largest)
                await self._write_batch([self._waiting.popleft() for _ in range(size)])
        finally:
            self._free += 1

    async def _write_batch(self, batch: Sequence[_Waiting[Entry, Answer]]) -> None:
        try:
            answers = await self._write([entry for entry, _ in batch])
            if len(answers) != len(batch):
                raise RuntimeError("one answer for each entry is needed")
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
            elif database_is_away(error) and not rolled_back(error):
                for _, done in batch:
                    away = DatabaseAway(str(error))
                    away.__cause__ = error
                    _settle(done, away)
            else:
                await self._write_batch(batch[: len(batch) // 2])
                await self._write_batch(batch[len(batch) // 2 :])
            return
        except BaseException:
            for _, done in batch:
                done.cancel()
            raise
        for (_, done), answer in zip(batch, answers, strict=True):
            _settle(done, answer)


def _settle(done: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if done.done():  # whoever waited has gone: the entry is written all the same
        return
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)
