"""Requests that two programs could read in two ways reach the application in one way, or not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.databases import Databases
from tests.support.gateway import gateway_database
from tests.support.raw import RawGateway, answers, raw_gateway, status

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
POST = (
    b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
)
GET = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n"


@pytest_asyncio.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RawGateway]:
    async with raw_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


BOUNDARIES = {
    "length and chunks": (
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN
    ),
    "chunks and length": (
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN
    ),
    "two lengths": b"Content-Length: 0\r\nContent-Length: 36\r\n\r\n" + HIDDEN,
    "two lengths, the other way": b"Content-Length: 36\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "list of lengths": b"Content-Length: 0, 36\r\n\r\n" + HIDDEN,
    "signed length": b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "negative length": b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "hexadecimal length": b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "length with letters": b"Content-Length: 0a\r\n\r\n" + HIDDEN,
    "length beyond 64 bits": b"Content-Length: 18446744073709551616\r\n\r\n" + HIDDEN,
    "unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "space before colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded coding": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    + HIDDEN,
    "chunk size with sign": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + HIDDEN,
    "chunk size in 0x": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN,
    "chunk size beyond 64 bits": (
        b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" + HIDDEN
    ),
    "chunk longer than said": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + HIDDEN,
}


async def test_a_body_with_two_possible_ends_hides_no_request(
    gateway: RawGateway, subtests: pytest.Subtests
) -> None:
    for case, rest in BOUNDARIES.items():
        with subtests.test(case):
            answer = await gateway.send(POST + rest, seconds=2.0)
            assert "GET /hidden" not in gateway.seen.requests
            assert answers(answer) <= 1
            assert status(answer) in {0, 400}


HEADERS = {
    "bare carriage return": b"X-A: 1\rHidden: 2\r\n\r\n",
    "line feed alone": b"X-A: 1\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "nul": b"X-A: a\x00b\r\n\r\n",
    "name with a space": b"X A: 1\r\n\r\n",
    "no name": b": 1\r\n\r\n",
    "no colon": b"X-A\r\n\r\n",
    "name not ascii": "X-Ạ: 1\r\n\r\n".encode(),
    "control character": b"X-A: a\x01b\r\n\r\n",
}


async def test_a_header_that_is_none_is_refused_before_the_application(
    gateway: RawGateway, subtests: pytest.Subtests
) -> None:
    for case, rest in HEADERS.items():
        with subtests.test(case):
            answer = await gateway.send(GET + rest)
            assert gateway.seen.requests == []
            assert status(answer) == 400
            assert b"X-A" not in answer


LINES = {
    "another protocol": b"GET /healthz HTTPS/1.1\r\nHost: a\r\n\r\n",
    "version of tomorrow": b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
    "target with a line end": b"GET /healthz\rX HTTP/1.1\r\nHost: a\r\n\r\n",
    "target with nul": b"GET /health\x00z HTTP/1.1\r\nHost: a\r\n\r\n",
    "tls on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "unknown method": b"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "http 2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


async def test_a_request_line_that_is_none_is_refused(
    gateway: RawGateway, subtests: pytest.Subtests
) -> None:
    for case, line in LINES.items():
        with subtests.test(case):
            answer = await gateway.send(line)
            assert status(answer) in {0, 400, 404, 405}
            assert "GET /healthz" not in gateway.seen.requests


async def test_headers_without_end_are_cut_off(gateway: RawGateway) -> None:
    """Whoever sends headers for ever does not fill the memory."""
    part = b"".join(b"X-%05d: %s\r\n" % (number, b"a" * 1000) for number in range(256))
    answer = await gateway.send(GET, *[part] * 16, pause=0.0)
    assert gateway.seen.requests == []
    assert status(answer) in {0, 400, 431}
    assert answers(answer) == (1 if answer else 0)


FOREIGN = (
    b"http://169.254.169.254/latest/meta-data",
    b"http://127.0.0.1:9/v1/procedures",
    b"//example.invalid/v1/procedures",
    b"http://user:pw@example.invalid/",
)


async def test_an_address_of_another_host_is_not_asked_there(
    gateway: RawGateway, subtests: pytest.Subtests
) -> None:
    """The absolute form and its relatives name a path of this gateway, or nothing."""
    for target in FOREIGN:
        with subtests.test(target.decode()):
            answer = await gateway.send(
                b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target
            )
            assert status(answer) in {400, 404, 421, 503}


async def test_it_is_no_proxy_and_echoes_nothing(gateway: RawGateway) -> None:
    ends = b" HTTP/1.1\r\nHost: a\r\nX-Secret: 1\r\nConnection: close\r\n\r\n"
    for line in (b"CONNECT example.invalid:443", b"TRACE /v1/procedures"):
        answer = await gateway.send(line + ends)
        assert status(answer) in {0, 400, 404, 405}
        assert b"X-Secret" not in answer


async def test_two_honest_requests_on_a_connection_are_two(gateway: RawGateway) -> None:
    """What the cases above refuse is the boundary, not the second request."""
    body = b"grant_type=x"
    first = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = await gateway.send(first, GET + b"Connection: close\r\n\r\n")
    assert gateway.seen.requests == ["POST /oauth/token", "GET /.well-known/jwks.json"]
    assert answers(answer) == 2
