"""Connections of clients that are slow, broken or hostile, on real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext

import pytest
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from common import connections, problems
from common.command import server
from common.connections import LARGEST_HEAD, MOST_HEADERS
from common.middleware import RequestLimits, Requests
from common.settings import ServiceSettings
from common.telemetry import Telemetry

LARGE = 40_000_000
"""Bytes: more than sockets buffer."""


def application(settings: ServiceSettings) -> FastAPI:
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="text/plain")

    @app.post("/headers")
    async def headers(request: Request) -> dict[str, str]:
        await request.body()
        return dict(request.headers)

    @app.post("/refused")
    async def refused() -> Response:
        return Response(status_code=401)

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * LARGE, media_type="text/plain")

    @app.get("/long")
    async def long() -> Response:
        await asyncio.sleep(5)
        return Response(b"done")

    problems.install(app)
    limits = RequestLimits.of(settings, times={"/long": 0.3})
    app.add_middleware(Requests, telemetry=Telemetry("thing", settings), limits=limits)
    return app


@asynccontextmanager
async def serving(**changed: object) -> AsyncIterator[tuple[str, int]]:
    given = {
        "database_url": SecretStr("postgresql+asyncpg://nobody@127.0.0.1:9/nothing"),
        "host": "127.0.0.1",
        "port": 0,
        "shutdown_seconds": 1.0,
        "header_seconds": 0.4,
        "body_grace_seconds": 0.4,
        "body_least_rate": 1000,
        "write_seconds": 0.3,
    }
    settings = ServiceSettings(**{**given, **changed})  # type: ignore[arg-type]
    served = server(application(settings), settings)
    served.config.lifespan = "off"
    served.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(served.serve())
    try:
        while not served.started:
            await asyncio.sleep(0.01)
        yield served.servers[0].sockets[0].getsockname()
    finally:
        served.should_exit = True
        await task


class Peer:
    """A client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, content: bytes) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):  # the latter once it is closed
            self.writer.write(content)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer; its status is 0 where the connection was closed without one."""
        async with asyncio.timeout(10):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, {}, b""
            line, *fields = head.decode("latin-1").strip().split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (field.partition(":") for field in fields)
            }
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return int(line.split()[1]), headers, body

    async def is_closed(self, within: float = 5.0) -> bool:
        """Whether the server ends the connection in time."""
        try:
            async with asyncio.timeout(within):
                return await self.reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


@asynccontextmanager
async def peer(address: tuple[str, int]) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection(*address[:2], limit=2**20)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


def post(path: str, length: int, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_a_body_that_trickles_is_refused_and_its_connection_closed() -> None:
    async with serving() as address, peer(address) as slow:
        await slow.send(post("/echo", 10_000))

        async def trickle() -> None:
            for _ in range(100):
                await slow.send(b"x")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        status, headers, body = await slow.answer()
        task.cancel()
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["type"] == "urn:lienthong:problem:body-too-slow"
        assert await slow.is_closed()


async def test_a_body_that_comes_slowly_but_fast_enough_is_taken() -> None:
    async with serving() as address, peer(address) as client:
        await client.send(post("/echo", 2000))
        for _ in range(10):
            await client.send(b"x" * 200)
            await asyncio.sleep(0.1)
        assert (await client.answer())[0] == 200


async def test_a_head_that_trickles_is_refused_and_closed() -> None:
    async with serving() as address, peer(address) as slow:
        await slow.send(b"POST /echo HTTP/1.1\r\nHost: x\r\n")

        async def trickle() -> None:
            for number in range(100):
                await slow.send(b"X-%d: y\r\n" % number)
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        status, headers, body = await slow.answer()
        task.cancel()
        assert (status, headers["content-type"]) == (408, "application/problem+json")
        assert json.loads(body)["type"] == "urn:lienthong:problem:head-too-slow"
        assert await slow.is_closed()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n\r\n"])
async def test_a_connection_without_a_request_is_closed(sent) -> None:
    async with serving() as address, peer(address) as idle:
        await idle.send(sent)
        assert await idle.is_closed(3)


async def test_empty_lines_after_an_answer_do_not_keep_a_connection() -> None:
    async with serving() as address, peer(address) as idle:
        await idle.send(post("/echo", 0))
        assert (await idle.answer())[0] == 200
        await idle.send(b"\r\n")
        assert await idle.is_closed(3)


async def test_the_rest_of_a_refused_body_does_not_keep_a_connection() -> None:
    async with serving() as address, peer(address) as slow:
        await slow.send(post("/refused", 100_000) + b"x")
        assert (await slow.answer())[0] == 401

        async def trickle() -> None:
            for _ in range(100):
                await slow.send(b"x")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        assert await slow.is_closed(3)
        task.cancel()


async def test_a_client_that_does_not_read_is_left(monkeypatch) -> None:
    monkeypatch.setattr(connections, "_LEAST_READ", 10**9)
    async with serving() as address, peer(address) as deaf:
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await deaf.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1.0)
        deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = 0
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while part := await deaf.reader.read(2**16):
                    got += len(part)
        assert 0 < got < LARGE


@pytest.mark.parametrize(
    "head",
    [
        b"X-Long: " + b"a" * (LARGEST_HEAD + 1),
        b"\r\n".join(b"X-%d: y" % number for number in range(MOST_HEADERS + 1)),
        b"X-Long: " + b"a" * 400_000,
    ],
)
async def test_a_head_that_is_too_large_is_refused(head) -> None:
    async with serving() as address, peer(address) as client:
        await client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        status, _, body = await client.answer()
        assert status in (431, 0)  # 0: the rest of it was still on its way when we closed
        if status:
            assert json.loads(body)["type"] == "urn:lienthong:problem:head-too-large"
        assert await client.is_closed()


async def test_a_head_without_end_is_not_kept() -> None:
    async with serving(header_seconds=30) as address, peer(address) as client:
        await client.send(b"POST /echo HTTP/1.1\r\nX-Long: ")
        for _ in range(20):
            await client.send(b"a" * 4096)
            await asyncio.sleep(0.01)
        assert (await client.answer())[0] in (0, 431)
        assert await client.is_closed()


async def test_a_head_within_the_limits_is_taken() -> None:
    async with serving() as address, peer(address) as client:
        fields = [f"X-{number}: {'a' * 300}" for number in range(MOST_HEADERS - 10)]
        await client.send(post("/echo", 2, *fields) + b"ok")
        assert (await client.answer())[0] == 200


async def test_trailers_do_not_become_headers() -> None:
    async with serving() as address, peer(address) as client:
        await client.send(
            b"POST /headers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: Client-Cert\r\n\r\n2\r\nok\r\n0\r\nClient-Cert: :forged:\r\n"
            b"Authorization: Bearer forged\r\n\r\n"
        )
        status, _, body = await client.answer()
        assert status == 200
        assert {"client-cert", "authorization"}.isdisjoint(json.loads(body))


async def test_what_is_no_request_is_a_problem_that_repeats_nothing() -> None:
    async with serving() as address, peer(address) as client:
        await client.send(b"<script>alert(1)</script>\r\n\r\n")
        status, headers, body = await client.answer()
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        assert b"script" not in body
        assert "server" not in headers


async def test_a_full_house_closes_those_that_only_wait() -> None:
    async with serving(connections=3, header_seconds=30) as address, AsyncExitStack() as all_:
        idle = [await all_.enter_async_context(peer(address)) for _ in range(3)]
        await asyncio.sleep(0.1)
        late = await all_.enter_async_context(peer(address))
        await late.send(post("/echo", 2) + b"ok")
        assert (await late.answer())[0] == 200
        assert await idle[0].is_closed()
        assert not await idle[1].is_closed(0.2)


async def test_one_address_gets_so_many_connections() -> None:
    async with (
        serving(connections_per_address=2, header_seconds=30) as address,
        AsyncExitStack() as all_,
    ):
        found = [await all_.enter_async_context(peer(address)) for _ in range(3)]
        assert await found[2].is_closed()
        await found[0].send(post("/echo", 2) + b"ok")
        assert (await found[0].answer())[0] == 200
        found[1].writer.transport.abort()
        await asyncio.sleep(0.1)
        again = await all_.enter_async_context(peer(address))
        await again.send(post("/echo", 2) + b"ok")
        assert (await again.answer())[0] == 200


async def test_requests_above_the_bound_are_told_so() -> None:
    async with (
        serving(requests_at_once=1, body_grace_seconds=30) as address,
        peer(address) as first,
        peer(address) as second,
    ):
        await first.send(post("/echo", 5))
        await asyncio.sleep(0.1)
        await second.send(post("/echo", 0))
        status, headers, body = await second.answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["type"] == "urn:lienthong:problem:busy"
        await first.send(b"hello")
        assert (await first.answer())[2] == b"hello"


async def test_an_answer_that_takes_too_long_is_broken_off() -> None:
    async with serving() as address, peer(address) as client:
        await client.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, body = await client.answer()
        assert (status, headers["retry-after"]) == (503, "5")
        assert json.loads(body)["type"] == "urn:lienthong:problem:timed-out"


async def test_every_answer_has_the_headers_that_protect() -> None:
    async with serving() as address, peer(address) as client:
        await client.send(post("/echo", 0))
        _, headers, _ = await client.answer()
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
