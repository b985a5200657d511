"""A gateway behind the server it really runs with, and clients that write bytes of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from common.command import server
from common.service import Shared
from common.transport.local import LocalTransport
from gateway.main import create_app
from tests.support.gateway import settings


@dataclass
class Seen:
    """Passes everything on and remembers which requests came through."""

    app: ASGIApp
    requests: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.requests.append(f"{scope['method']} {scope['path']}")
        await self.app(scope, receive, send)


@dataclass
class RawGateway:
    """Where it listens, and what reached the application."""

    port: int
    seen: Seen

    async def send(self, *parts: bytes, seconds: float = 5.0, pause: float = 0.05) -> bytes:
        """Write the parts one after another; everything that is answered until the end, or until
        nothing comes for a while."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            for part in parts:
                writer.write(part)
                try:
                    await writer.drain()
                except ConnectionError:
                    break
                await asyncio.sleep(pause)
            async with asyncio.timeout(seconds):
                while True:
                    # The first answer may take its time; then it is a matter of what else comes.
                    async with asyncio.timeout(0.5 if answer else seconds):
                        got = await reader.read(65536)
                    if not got:
                        break
                    answer += got
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
        return answer


@asynccontextmanager
async def raw_gateway(url: str, folder: Path, **changed: Any) -> AsyncIterator[RawGateway]:
    """A gateway under uvicorn as ``serve`` sets it up, on a free port."""
    made = settings(url, folder, port=0, **changed)
    seen = Seen(create_app(made, Shared(transport=LocalTransport())))
    served = server(seen, made)  # type: ignore[arg-type]  # any ASGI application will do
    served.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(served.serve())
    try:
        while not served.started:
            await asyncio.sleep(0.01)
            if task.done():
                task.result()
        yield RawGateway(served.servers[0].sockets[0].getsockname()[1], seen)
    finally:
        served.should_exit = True
        await task


def status(answer: bytes) -> int:
    """The status of the first answer; 0 where there is none."""
    line = answer.partition(b"\r\n")[0].split(b" ")
    return int(line[1]) if len(line) > 1 and line[1].isdigit() else 0


def answers(answer: bytes) -> int:
    """How many answers came."""
    return answer.count(b"HTTP/1.1 ")
