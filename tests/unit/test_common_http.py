"""Calls over real sockets: which failures leave no doubt that nothing was sent."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from common.http import http_client, never_sent, retry_after
from tests.support.portals import Authority

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def partner(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A partner that does with a connection what ``serve`` does; its address."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    try:
        yield f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def failure(url: str, timeout: float = 1.0, method: str = "POST") -> Exception:
    """What a call raises."""
    async with http_client(timeout=timeout, connect_timeout=0.3) as http:
        with pytest.raises(httpx.HTTPError) as raised:
            await http.request(method, url, content=b"x" * 10)
    return raised.value


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_refused_connection_sent_nothing() -> None:
    assert never_sent(await failure(f"http://127.0.0.1:{free_port()}/"))


async def test_a_host_without_an_address_was_sent_nothing() -> None:
    assert never_sent(await failure("http://no-such-host.invalid/"))


async def test_a_scheme_that_is_none_sent_nothing() -> None:
    assert never_sent(await failure("gopher://127.0.0.1/"))


async def test_a_connection_that_is_not_taken_in_time_sent_nothing() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):  # the queue of the socket is full now, further ones hang
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        await asyncio.sleep(0.05)
        error = await failure(f"http://127.0.0.1:{full.getsockname()[1]}/")
        for one in waiting:
            one.close()
    assert never_sent(error)
    assert isinstance(error, httpx.TimeoutException)


async def test_no_place_in_the_pool_means_that_nothing_was_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with partner(serve) as url, http_client(timeout=0.3, connections=1) as http:
        answers = await asyncio.gather(*(http.post(url) for _ in range(2)), return_exceptions=True)
    assert sorted(never_sent(error) for error in answers if isinstance(error, Exception)) == [
        False,
        True,
    ]


async def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await request_of(reader)
    await asyncio.sleep(5)


async def _hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await request_of(reader)


async def _reset_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.transport.abort()


async def _half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"\x00\x01\x02 nonsense\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("serve", [_reset, _silent, _hang_up, _reset_after, _half])
async def test_once_a_connection_stood_the_outcome_is_unknown(serve: Serve) -> None:
    async with partner(serve) as url:
        assert not never_sent(await failure(url, timeout=0.4))


async def test_an_answer_that_is_no_http_leaves_the_outcome_unknown() -> None:
    async with partner(_nonsense) as url, http_client(timeout=1.0) as http:
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever it is
            await http.post(url, content=b"x" * 10)
    assert not never_sent(raised.value)


async def test_a_kept_connection_that_the_partner_has_closed_is_not_used_again() -> None:
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await request_of(reader)
        served += 1
        writer.write(OK)
        await writer.drain()  # and then closes, without having said so

    async with partner(serve) as url, http_client() as http:
        for _ in range(3):
            assert (await http.post(url, content=b"x" * 10)).text == "ok"
            await asyncio.sleep(0.05)
    assert served == 3


async def test_a_connection_that_breaks_while_it_is_used_again_leaves_the_outcome_unknown() -> None:
    """The partner closes at the very moment in which the next request is on its way."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await request_of(reader)
        writer.write(OK)
        await writer.drain()
        await request_of(reader)
        requests += 1
        writer.transport.abort()

    async with partner(serve) as url, http_client() as http:
        await http.post(url, content=b"x" * 10)
        with pytest.raises(httpx.HTTPError) as raised:
            await http.post(url, content=b"x" * 10)
    assert not never_sent(raised.value)
    assert requests == 1  # and it was not sent a second time


async def test_connections_are_kept_and_limited() -> None:
    open_now = most = connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most, connections
        connections += 1
        open_now += 1
        most = max(most, open_now)
        try:
            while True:
                await request_of(reader)
                await asyncio.sleep(0.005)
                writer.write(OK)
        except asyncio.IncompleteReadError:
            open_now -= 1

    async with partner(serve) as url, http_client(connections=3) as http:
        await asyncio.gather(*(http.post(url, content=b"x" * 10) for _ in range(30)))
    assert most == 3
    assert connections == 3


async def test_addresses_are_relative_to_the_base() -> None:
    asked = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()

    async with partner(serve) as url, http_client(base_url=f"{url}/api") as http:
        assert (await http.get("/things")).status_code == 200
    assert asked.startswith(b"GET /api/things HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        ("1.5", 1.5),
        (" 12 ", 12),
        ("-5", 0),
        ("99999999", 3600),
        ("soon", None),
        ("nan", None),
        ("inf", 3600),
        ("Sun, 01 Nov 2015 08:00:00 GMT", 0),
        ("Wed, 21 Oct", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    headers = {} if value is None else {"retry-after": value}
    assert retry_after(httpx.Response(429, headers=headers)) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    told = retry_after(httpx.Response(503, headers={"retry-after": later}))
    assert told is not None
    assert 85 < told <= 90
    naive = (datetime.now(UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S -0000")
    told = retry_after(httpx.Response(503, headers={"retry-after": naive}))
    assert told is not None
    assert 85 < told <= 90


@pytest.mark.parametrize("kept", [True, False])
async def test_connections_are_used_again_only_where_that_is_wanted(kept: bool) -> None:
    """Also where the partner would keep them open, and says nothing of closing."""
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)
            await writer.drain()

    async with partner(_until_closed(serve)) as url, http_client(kept=kept) as http:
        for _ in range(3):
            await http.post(url, headers={"Connection": "close"} if not kept else {})
    assert opened == (1 if kept else 3)


def _until_closed(serve: Serve) -> Serve:
    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)

    return quietly


async def _who(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    shown = writer.get_extra_info("peercert")
    name = shown["subject"][0][0][1].encode() if shown else b"nobody"
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(name), name))
    await writer.drain()


async def test_an_authority_of_ones_own_is_believed_and_no_other(tmp_path: Path) -> None:
    own, other = Authority(tmp_path, "own"), Authority(tmp_path, "other")
    async with partner(_who, own.context("localhost")) as url:
        async with http_client(ca_file=own.bundle) as http:
            assert (await http.get(url)).text == "nobody"
        for strange in (None, other.bundle):
            async with http_client(ca_file=strange) as http:
                with pytest.raises(httpx.HTTPError) as raised:
                    await http.get(url)
            assert never_sent(raised.value)


async def test_a_certificate_for_another_host_is_not_believed(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    async with (
        partner(_who, own.context("another.example")) as url,
        http_client(ca_file=own.bundle) as http,
    ):
        with pytest.raises(httpx.HTTPError):
            await http.get(url)


async def test_the_certificate_of_ones_own_is_shown(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    server = own.context("localhost")
    server.load_verify_locations(own.bundle)
    server.verify_mode = ssl.CERT_REQUIRED
    async with partner(_who, server) as url:
        shown = own.pair("client.example")
        async with http_client(ca_file=own.bundle, certificate=shown) as http:
            assert (await http.get(url)).text == "client.example"
        async with http_client(ca_file=own.bundle) as http:
            with pytest.raises(httpx.HTTPError):
                await http.get(url)
