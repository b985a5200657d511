"""Group commit: what waits at the same moment is written in one transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Answer = TypeVar("Answer")


class Overloaded(Exception):
    """More waits than the limit allows."""


class GroupCommit(Generic[Entry, Answer]):
    """Collects entries and writes them together.

    Args:
        write: writes a batch and answers for each entry, in order; its transaction is committed
            when it returns. When it raises for a batch, each entry is tried alone, so that one bad
            entry refuses no other.
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
        self._waiting: deque[tuple[Entry, asyncio.Future[Answer]]] = deque()
        self._free = asyncio.Semaphore(writers)
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, entry: Entry) -> Answer:
        """Return the answer once the entry's transaction is committed.

        Raises:
            Overloaded: too many wait already.
        """
        if len(self._waiting) >= self._most:
            raise Overloaded
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if not self._free.locked():
            task = asyncio.create_task(self._write_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _write_waiting(self) -> None:
        async with self._free:
            while self._waiting:
                size = min(len(self._waiting), self._largest)
                batch = [self._waiting.popleft() for _ in range(size)]
                await self._write_batch(batch)

    async def _write_batch(self, batch: list[tuple[Entry, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._write([entry for entry, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
                return
            for one in batch:
                await self._write_batch([one])
            return
        for (_, done), answer in zip(batch, answers, strict=True):
            _settle(done, answer)


def _settle(done: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if done.done():  # whoever waited has gone: the entry is written all the same
        return
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)
