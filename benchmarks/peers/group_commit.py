"""Rows that wait at the same moment share a transaction: the floor's own, so that a change of the
product's group commit shows in what is compared with the floor."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

_LARGEST, _WRITERS = 200, 2


class Together:
    """Writes what waits, as many batches at a time as there are writers."""

    def __init__(self, write: Callable[[Sequence[Any]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[tuple[Any, asyncio.Future[None]]] = []
        self._writing: set[asyncio.Task[None]] = set()

    async def add(self, row: Any) -> None:
        """Return once the row is committed; raise what its batch raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if len(self._writing) < _WRITERS:
            task = asyncio.create_task(self._work())
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        await done

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST], self._waiting[_LARGEST:]
            try:
                await self._write([row for row, _ in batch])
            except Exception as error:
                for _, done in batch:
                    done.set_exception(error)
            else:
                for _, done in batch:
                    done.set_result(None)
