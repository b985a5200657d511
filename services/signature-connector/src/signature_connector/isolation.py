"""Work on foreign bytes in processes of its own, bounded in time and memory.

Parsers of such formats can be made to loop, to eat memory and to crash. Whatever happens there,
the service's event loop goes on. Each process has an executor of its own, so that one that crashes
takes nobody else's work with it.

A large document does not go through a pipe, which would hold up the event loop while it is
written, read and copied: both processes open the same file, which is nowhere but in memory.
"""

import asyncio
import logging
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import structlog

START_SECONDS = 60.0
_TRIES = 2
# What the fork server loads once, so that a process is replaced within milliseconds.
_PRELOADED = [
    "signature_connector.verification.judgement",
    "signature_connector.assembly.work",
]
_AT_ONCE = 256 * 1024  # bytes that may be copied on the event loop: some tenths of a millisecond

log = structlog.get_logger()
T = TypeVar("T")


class Unfinished(Exception):
    """The work hung, crashed or ate its memory, twice; the text is the kind of error."""


@dataclass(frozen=True, eq=False, slots=True)
class Start:
    """How a process begins: its address space in bytes, and what is called with which material."""

    memory: int
    begin: Callable[..., None] | None
    material: tuple[Any, ...]


class Cells:
    """Isolated processes for one kind of work.

    Args:
        processes: how many work at the same time; each is started when first needed.
        seconds: how long one piece of work may take.
        memory: address space of one process, in bytes.
        begin: called with ``material`` in each process before its first work.
    """

    def __init__(
        self,
        *,
        processes: int,
        seconds: float,
        memory: int,
        begin: Callable[..., None] | None = None,
        material: tuple[Any, ...] = (),
    ) -> None:
        self._seconds = seconds
        self._start = Start(memory, begin, material)
        self.idle: list[Cell] = []
        self._busy: set[Cell] = set()
        self._free = asyncio.Semaphore(processes)

    def renew(self, *material: Any) -> None:
        """Begin with other material from now on; work under way ends with the old one."""
        self._start = replace(self._start, material=material)
        while self.idle:
            self.idle.pop().end()

    async def run(self, work: Callable[..., T], *material: Any) -> T:
        """Run in a process; one that fails is replaced, and the work tried once more.

        A second chance, because a process can be killed for reasons that lie outside of the
        document, and the document may be one that a person has just signed.

        Raises:
            Unfinished: both tries failed.
            Exception: whatever the work itself raised.
        """
        return await self._tried(lambda cell: cell.run(self._seconds, work, *material))

    async def rework(
        self, content: bytes, work: Callable[..., T], *material: Any
    ) -> tuple[T, bytes]:
        """Run work that changes a document.

        Args:
            content: the document as it is.
            work: called with the path of a file that holds it, which it may change in place, and
                the material.

        Returns:
            What the work returned, and the document as it left it.

        Raises:
            As ``run``.
        """

        async def once(cell: "Cell") -> tuple[T, bytes]:
            paper = _Paper()
            try:
                await _unhurried(len(content), paper.fill, content)
                result = await cell.run(self._seconds, work, paper.path, *material)
                return result, await _unhurried(paper.size(), paper.whole)
            finally:
                paper.close()

        return await self._tried(once)

    async def _tried(self, attempt: Callable[["Cell"], Awaitable[T]]) -> T:
        reason = ""
        async with self._free:
            for _ in range(_TRIES):
                cell = self.idle.pop() if self.idle else Cell(self._start)
                self._busy.add(cell)
                try:
                    result = await attempt(cell)
                    if cell.start is self._start:
                        self.idle.append(cell)
                    else:
                        cell.end()
                    return result
                except (TimeoutError, MemoryError, BrokenProcessPool) as error:
                    reason = type(error).__name__
                    log.warning("isolated work failed", error=reason)
                    cell.end()
                except BaseException:
                    cell.end()
                    raise
                finally:
                    self._busy.discard(cell)
        raise Unfinished(reason)

    async def close(self) -> None:
        """End every process and wait until it has."""
        for cell in (*self.idle, *self._busy):
            await asyncio.to_thread(cell.end, wait=True)
        self.idle.clear()


class Cell:
    """One process behind an executor of one."""

    def __init__(self, start: Start) -> None:
        self.start = start
        # Not forked from the service: a copy of a process with threads is unsafe, and the child
        # has no business with its connections and keys. The fork server has neither.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=context,
            initializer=_confine,
            initargs=(start,),
        )
        self.process: int | None = None

    async def run(self, seconds: float, work: Callable[..., T], *material: Any) -> T:
        """The result of the work.

        Raises:
            TimeoutError, MemoryError, BrokenProcessPool: it went beyond the limits.
        """
        if self.process is None:
            starting = await asyncio.to_thread(self._executor.submit, os.getpid)
            async with asyncio.timeout(START_SECONDS):
                self.process = await asyncio.wrap_future(starting)
        doing: Future[T] = self._executor.submit(work, *material)
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(doing)

    def end(self, *, wait: bool = False) -> None:
        """Kill the process: one that hangs would not hear a request."""
        known = self.process is not None
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)
        self._executor.shutdown(wait=wait and known, cancel_futures=True)


class _Paper:
    """A document in a file without a name, kept in memory; gone when closed everywhere.

    The other process of the same account opens it by way of this one's descriptor.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("document", os.MFD_CLOEXEC)
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._file}")

    def fill(self, content: bytes) -> None:
        with memoryview(content) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._file, view[done:], done)

    def size(self) -> int:
        return os.fstat(self._file).st_size

    def whole(self) -> bytes:
        with open(self._file, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            return file.readall()

    def close(self) -> None:
        os.close(self._file)


async def _unhurried(size: int, call: Callable[..., T], *arguments: Any) -> T:
    """Copy a little at once, much of it in a thread (system calls leave the others running)."""
    return call(*arguments) if size <= _AT_ONCE else await asyncio.to_thread(call, *arguments)


# What follows runs in the isolated process.


def _confine(start: Start) -> None:
    """Take the limits, then load what works.

    Logging is off: the signing library's messages name people.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (start.memory, start.memory))
    logging.disable(logging.CRITICAL)
    if start.begin is not None:
        start.begin(*start.material)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its executor."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
