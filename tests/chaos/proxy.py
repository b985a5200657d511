"""A TCP proxy that can be slow, narrow, deaf or cut: what networks do to programs."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 64 * 1024


@dataclass(eq=False)
class Proxy:
    """Passes connections on to one address, badly where it is told to.

    Attributes:
        delay: seconds that every chunk is held back.
        rate: bytes per second and direction; 0 for no limit.
    """

    host: str
    target: int
    delay: float = 0.0
    rate: float = 0.0
    port: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen on a free port of its own."""
        self._open.set()
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop, and cut what is open."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """Pass nothing on, while connections stay open: half-open for both sides."""
        self._open.clear()

    def heal(self) -> None:
        """Be an ordinary wire again."""
        self.delay = self.rate = 0.0
        self._open.set()

    def cut(self) -> None:
        """Reset every connection (RST)."""
        for writer in list(self._writers):
            wire = writer.get_extra_info("socket")
            if wire is not None:  # None once it is closed
                with contextlib.suppress(OSError, ValueError):  # it may be closing
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(self.host, self.target, limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        pumps = [
            asyncio.create_task(self._pump(reader, there[1])),
            asyncio.create_task(self._pump(there[0], writer)),
        ]
        self._tasks.update(pumps)
        await asyncio.gather(*pumps, return_exceptions=True)
        self._tasks.difference_update(pumps)
        self._writers -= {writer, there[1]}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if pause := self.delay + (len(chunk) / self.rate if self.rate else 0):
                    await asyncio.sleep(pause)
                await self._open.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            writer.transport.abort()
            return
        writer.close()


class Proxies:
    """A proxy in front of each address that somebody is to reach through one."""

    def __init__(self) -> None:
        self.by_name: dict[str, Proxy] = {}

    async def through(self, name: str, address: str) -> str:
        """The same address by way of the proxy of this name; one target for each name."""
        parts = urlsplit(address)
        proxy = self.by_name.get(name)
        if proxy is None:
            proxy = self.by_name[name] = Proxy(str(parts.hostname), int(parts.port or 0))
            await proxy.start()
        login, _, _ = parts.netloc.rpartition("@")
        place = f"127.0.0.1:{proxy.port}"
        return urlunsplit(parts._replace(netloc=f"{login}@{place}" if login else place))


@asynccontextmanager
async def proxies() -> AsyncIterator[Proxies]:
    """Proxies that end with the block."""
    made = Proxies()
    try:
        yield made
    finally:
        for proxy in made.by_name.values():
            await proxy.close()
