"""The eSign gateway's dialect, by golden files, and what every kind of answer is taken for."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from common.http import http_client
from signature_connector.domain.provider import (
    Credential,
    Credentials,
    Declined,
    NeverSent,
    Order,
    Paper,
    Reply,
    Signed,
    Unavailable,
    Unclear,
)
from signature_connector.providers.esign import EsignGateway, file_name
from signature_connector.providers.wire import clear_answers

GOLDEN = Path(__file__).parent / "golden" / "esign"
USER = "001099000001"
DOCUMENT = UUID("0190d0f0-0000-7000-8000-000000000001")
ORDER = Order(
    outgoing_id=UUID("0190d0f0-0000-7000-8000-00000000000a"),
    user=USER,
    ca_name="VNPT-CA",
    credential=Credential(b"\x30\x82\x01\x93", "27893aaebf7ec609", "T5f2c8a"),
    papers=(Paper(DOCUMENT, "Giấy chứng nhận", b"%PDF-1.7\n"),),
)
LONGEST = 4096

Handler = Callable[[httpx.Request], httpx.Response]


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


def gateway(http: httpx.AsyncClient, **changed: Any) -> EsignGateway:
    given: dict[str, Any] = {"token": None, "call_seconds": 1.0, "user_seconds": 1.0}
    return EsignGateway(http, **{**given, "longest": LONGEST, **changed})


@asynccontextmanager
async def answering(answer: Any, **changed: Any) -> AsyncIterator[EsignGateway]:
    """The adapter before a gateway that gives one answer: JSON, bytes, a response or a handler."""

    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, httpx.Response):
            return answer
        if callable(answer):
            made: httpx.Response = answer(request)
            return made
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return httpx.Response(200, json=answer)

    transport = httpx.MockTransport(handle)
    async with httpx.AsyncClient(transport=transport, base_url="http://esign") as http:
        yield gateway(http, **changed)


async def test_certificates_are_asked_for_and_read_as_in_the_golden_files() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=golden("get_certificate.answer"))

    async with answering(handle, token=SecretStr("t0k")) as esign:
        answer = await esign.credentials(USER, "VNPT-CA")
    (request,) = seen
    assert (request.method, request.url.path) == ("POST", "/get_certificate")
    assert request.headers["authorization"] == "Bearer t0k"
    assert json.loads(request.content) == golden("get_certificate.request")
    assert answer == Credentials(
        [
            Credential(b"\x30\x82\x01\x93", "27893aaebf7ec609", "T5f2c8a"),
            Credential(b"\x30\x82\x01\x94", "54010000AA11", "T5f2c8a"),
        ],
        Reply("200", "Thành công", "T5f2c8a"),
    )


async def test_a_document_is_sent_and_taken_back_as_in_the_golden_files() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=golden("sign_file.answer"))

    async with answering(handle) as esign:
        answer = await esign.submit(ORDER)
    (request,) = seen
    assert (request.method, request.url.path) == ("POST", "/sign_file")
    assert "authorization" not in request.headers
    assert request.headers["x-request-id"] == str(ORDER.outgoing_id)
    assert request.headers["connection"] == "close"
    assert json.loads(request.content) == golden("sign_file.request")
    assert answer == Signed({DOCUMENT: b"%PDF-1.7\nsigned"}, Reply("200", "Thành công", "T5f2c8a"))


@pytest.mark.parametrize(
    ("name", "outcome", "code"),
    [("refused", "rejected-by-user", "4002"), ("expired", "expired", "4001")],
)
async def test_a_clear_no_is_told_apart(name: str, outcome: str, code: str) -> None:
    async with answering(golden(f"sign_file.{name}")) as esign:
        answer = await esign.submit(ORDER)
    assert isinstance(answer, Declined)
    assert (answer.outcome, answer.reply.code) == (outcome, code)


async def test_a_reply_names_nobody() -> None:
    async with answering(golden("sign_file.refused")) as esign:
        answer = await esign.submit(ORDER)
    assert isinstance(answer, Declined)
    assert answer.reply.message == "Người dùng … từ chối ký số (mã …)"
    async with answering(golden("get_certificate.refused")) as esign:
        known = await esign.credentials(USER, "VNPT-CA")
    assert known == Declined("failed", Reply("400", "Không tìm thấy chứng thư số của …"))
    passport = {"status_code": 400, "message": "AB1234 không tồn tại", "data": {}}
    async with answering(passport) as esign:
        known = await esign.credentials("AB1234", "VNPT-CA")
    assert known == Declined("failed", Reply("400", "… không tồn tại"))


def _done(**changed: Any) -> dict[str, Any]:
    answer: dict[str, Any] = golden("sign_file.answer")
    answer["data"].update(changed)
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": {"status_code": 200}}',
        b'{"status_code": 200',
        _done(signFiles=[]),
        _done(signFiles=None),
        _done(signFiles=[{}]),
        _done(signFiles=[{"file_base64": "%%%"}]),
        _done(signFiles=[{"file_base64": ""}]),
        _done(signFiles=[{"file_base64": "AA=="}, {"file_base64": "AA=="}]),
        _done(signFiles="AA=="),
        _done(signFiles=[{"doc_id": str(ORDER.outgoing_id), "file_base64": "AA=="}]),
        _done(signFiles=[{"doc_id": 7, "file_base64": "AA=="}]),
        _done(status_code=500),
        _done(status_code="99"),
        _done(status_code=4000),
        _done(status_code=None),
        _done(status_code=4002),
        _done(status_code=[4002], signFiles=[]),
        httpx.Response(503, json=golden("sign_file.refused")),
        httpx.Response(502, content=b""),
        httpx.Response(302, headers={"location": "/login"}),
        httpx.Response(429, headers={"retry-after": "1"}),
        _done(signFiles=[{"file_base64": "JVBERi0x" * 250_000}]),
    ],
)
async def test_any_other_answer_to_the_signing_call_is_unclear(answer: Any) -> None:
    """Also one that contradicts itself: refused, and yet with a file."""
    async with answering(answer) as esign:
        assert isinstance(await esign.submit(ORDER), Unclear)


@pytest.mark.parametrize("code", sorted(clear_answers("esign", "signing")))
async def test_clear_answers_come_from_the_table(code: str) -> None:
    async with answering(_done(status_code=code, signFiles=[])) as esign:
        answer = await esign.submit(ORDER)
    assert isinstance(answer, Declined)
    assert answer.outcome == clear_answers("esign", "signing")[code]


def test_every_code_says_where_it_is_from_and_how_sure_it_is() -> None:
    from importlib import resources

    table = json.loads(
        (resources.files("signature_connector") / "data/esign_codes.json").read_text("utf-8")
    )
    assert table["version"]
    for call in ("signing", "certificates"):
        for row in table[call]:
            assert row.keys() == {"code", "outcome", "source", "confidence"}
            assert row["outcome"] in ("rejected-by-user", "expired", "failed")


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (httpx.Response(503, headers={"retry-after": "7"}), 7.0),
        (httpx.Response(401, json={"status_code": 401, "message": "Chưa xác thực"}), None),
        (httpx.Response(200, json={"status_code": 500}), None),
        (b"<html>", None),
        ({"status_code": 200}, None),
        ({"status_code": 200, "data": {"user_certificates": [{"cert_data": "%"}]}}, None),
        ({"status_code": 200, "data": {"user_certificates": [7]}}, None),
    ],
)
async def test_certificates_that_cannot_be_had_now_are_asked_for_again(
    answer: Any, pause: float | None
) -> None:
    async with answering(answer) as esign:
        got = await esign.credentials(USER, "VNPT-CA")
    assert isinstance(got, Unavailable)
    assert got.pause == pause


async def test_control_characters_of_a_reply_do_not_reach_the_database() -> None:
    listed = {"cert_data": "AA==", "serial_number": "1\x00", "transaction_id": "\x00T"}
    data = {"transaction_id": "T\x001", "user_certificates": [listed]}
    hostile = {"status_code": 200, "message": "a\x00b", "data": data}
    async with answering(hostile) as esign:
        got = await esign.credentials(USER, "VNPT-CA")
    assert isinstance(got, Credentials)
    assert got.reply == Reply("200", "a b", "T 1")
    assert (got.found[0].serial_number, got.found[0].transaction_id) == ("1 ", " T")


# The network, for real.


async def _server(behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> Any:
    return await asyncio.start_server(behave, "127.0.0.1", 0)


def _url(server: Any) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_refused_connection_was_never_sent() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        async with http_client(base_url=url) as http:
            answer = await gateway(http).submit(ORDER)
            assert isinstance(answer, NeverSent)
            assert isinstance(await gateway(http).credentials(USER, "VNPT-CA"), Unavailable)


async def test_an_unknown_host_was_never_sent() -> None:
    async with http_client(base_url="http://nowhere.invalid") as http:
        assert isinstance(await gateway(http).submit(ORDER), NeverSent)


@pytest.mark.parametrize(
    "told", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", b"\xff\r\n"]
)
async def test_a_connection_that_breaks_after_sending_is_unclear(told: bytes) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told)
        await writer.drain()
        writer.close()

    async with await _server(behave) as server, http_client(base_url=_url(server)) as http:
        answer = await gateway(http).submit(ORDER)
    assert isinstance(answer, Unclear)
    assert not answer.timed_out


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
async def test_a_gateway_that_never_answers_is_unclear_in_time(drip: bool) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" if drip else b"")
        try:
            while True:
                await asyncio.sleep(0.05)
                writer.write(b" " if drip else b"")
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    async with await _server(behave) as server, http_client(base_url=_url(server)) as http:
        async with asyncio.timeout(5):
            answer = await gateway(http, user_seconds=0.3).submit(ORDER)
    assert isinstance(answer, Unclear)
    assert answer.timed_out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Giấy phép", "Giấy phép.pdf"),
        ("a.pdf", "a.pdf"),
        ("../../etc/passwd", "etc passwd.pdf"),
        ('x"\r\n:y', "x y.pdf"),
        ("///", "document.pdf"),
        ("d" * 400, "d" * 200 + ".pdf"),
    ],
)
def test_document_names_become_file_names(name: str, expected: str) -> None:
    assert file_name(name) == expected


def test_an_order_shows_nobody() -> None:
    assert USER not in repr(ORDER)
