"""Files through the file store as streams: throughput, memory, and how long others had to wait.

    .venv/bin/python -m benchmarks.files [--files 32] [--mebibytes 10]

All files go in at the same time, then all are read at the same time; what is measured is the
growth of this process and the longest turn of its event loop.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import uvloop

from common.blobs import Blobs

PART = 64 * 1024
MIB = 1024 * 1024


def resident() -> int:
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """The most memory and the longest pause of the loop, while it is entered."""

    async def __aenter__(self) -> Self:
        self.before = self.most = resident()
        self.longest = 0.0
        self.started = time.perf_counter()
        self.cpu = time.process_time()
        self.task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - started - 0.001)
            self.most = max(self.most, resident())

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        self.seconds = time.perf_counter() - self.started
        self.cpu = time.process_time() - self.cpu

    def tell(self, said: str, size: int) -> None:
        """Print a row."""
        mebibytes = size / MIB
        sys.stdout.write(
            f"{said}: {mebibytes / self.seconds:.0f} MiB/s,"
            f" CPU {self.cpu / mebibytes * 1000:.1f} ms per MiB,"
            f" memory +{(self.most - self.before) / MIB:.0f} MiB,"
            f" longest pause {self.longest * 1000:.1f} ms\n"
        )


async def content(number: int, size: int) -> AsyncIterator[bytes]:
    """A file of its own for each number, as it comes from a socket."""
    head = number.to_bytes(8, "big")
    part = head * (PART // 8)
    for _ in range(size // PART):
        yield part
        await asyncio.sleep(0)


async def read(blobs: Blobs, digest: str) -> None:
    """All of a file, part by part."""
    async for _ in (await blobs.open(digest)).parts():
        await asyncio.sleep(0)


async def main(count: int, size: int) -> None:
    """Measure in a folder, and take it away again."""
    with tempfile.TemporaryDirectory() as folder:
        blobs = Blobs(f"file://{folder}")
        await blobs.put_stream(content(count + 1, size))  # the store's own threads
        async with Watch() as watch:
            stored = await asyncio.gather(
                *(blobs.put_stream(content(n, size)) for n in range(count))
            )
        watch.tell(f"{count} files of {size // MIB} MiB in", count * size)
        async with Watch() as watch:
            await asyncio.gather(*(read(blobs, one.digest) for one in stored))
        watch.tell(f"{count} files of {size // MIB} MiB out", count * size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=32)
    parser.add_argument("--mebibytes", type=int, default=10)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(given.files, given.mebibytes * MIB))
