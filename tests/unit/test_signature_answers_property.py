"""Whatever a provider answers: no adapter raises, none says signed without the bytes of a document
that was asked about, none says never sent once something was; and no reply names the person."""

import asyncio
import base64
import socket
from importlib import resources
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from common.http import http_client
from signature_connector.domain.provider import (
    Accepted,
    Credentials,
    Declined,
    NeverSent,
    NotKnown,
    Paper,
    Pending,
    Signed,
    Unavailable,
    Unclear,
)
from signature_connector.providers import csc_v2 as csc_v2_module
from signature_connector.providers.esign import EsignGateway
from signature_connector.providers.wire import Line, decoded, signature
from tests.support.signing_dialects import (
    FIRST,
    OUTGOING,
    SECOND,
    SECRETS,
    USER,
    Provider,
    csc_v1,
    csc_v2,
    mysign,
    order,
    smartca,
)

ORDER = order(mechanism="ecdsa")
FILE = order(papers=(Paper(FIRST, "Giấy", b"%PDF-1.7\n"),))
MAKERS: dict[str, Any] = {
    "esign": lambda line: EsignGateway(
        line._http, token=None, call_seconds=1.0, user_seconds=1.0, longest=4096
    ),
    "smartca": smartca,
    "smartca-by-code": lambda line: smartca(line, status_by="tran_code"),
    "mysign": mysign,
    "csc-v1": csc_v1,
    "csc-v2": csc_v2,
    "csc-v2-provider": lambda line: csc_v2(line, confirmation="provider"),
}
LOGIN = {"login": {"access_token": "t"}, "token": {"access_token": "t"}}

_WORDS = st.sampled_from(
    [
        *("data", "status_code", "status", "error", "error_description", "message"),
        *("signatures", "signed_files", "signFiles", "doc_id", "signature_value", "file_base64"),
        *("transaction_id", "tran_code", "transactionId", "responseID", "SAD", "handle"),
        *("user_certificates", "cert", "cert_data", "certificates", "chain_data"),
        *("credentialIDs", "credentialInfos", "credential_id"),
    ]
)
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            *("200", "1", "4000", "4002", "SUCCESS", "EXPIRED", "AAAA", "MIIBkw==", "a" * 128),
            *(USER, str(FIRST), str(SECOND), str(OUTGOING), "access_denied"),
            *(f"CMT_{USER} {secret}" for secret in sorted(set(SECRETS.values()))),
        ]
    ),
    st.sampled_from([200, 400, 403, 404, 500, 0, 4001]),
)
ANSWERS = st.recursive(
    _VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_WORDS | st.text(max_size=8), inner, max_size=6),
    ),
    max_leaves=25,
)
STATUSES = st.sampled_from([200, 200, 200, 202, 204, 301, 400, 401, 403, 404, 429, 500, 503])


@pytest.fixture(autouse=True, scope="module")
def _impatient() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csc_v2_module, "_LEAST_PAUSE", 0.001)
        yield


async def _all_calls(name: str, told: bytes, status: int) -> tuple[Any, Any, Any]:
    answer = httpx.Response(status, content=told)
    transport = httpx.MockTransport(Provider({**LOGIN, "": answer}))
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as http:
        given = {"user_seconds": 0.02} if name == "csc-v2" else {}
        ca = csc_v2(Line(http), **given) if given else MAKERS[name](Line(http))
        wanted = FILE if name == "esign" else ORDER
        return (
            await ca.credentials(USER, "VNPT-CA"),
            await ca.submit(wanted),
            await ca.status(wanted, "T1"),
        )


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=120, deadline=None)
@given(told=ANSWERS, status=STATUSES)
def test_no_answer_makes_an_adapter_raise_or_lie(name: str, told: Any, status: int) -> None:
    listed, submitted, become = asyncio.run(_all_calls(name, orjson.dumps(told), status))
    assert isinstance(listed, Credentials | Declined | Unavailable)
    assert isinstance(submitted, Signed | Accepted | Declined | Unclear)
    assert isinstance(become, Signed | Pending | Declined | NotKnown | Unavailable)
    asked = {FIRST} if name == "esign" else {FIRST, SECOND}
    for answer in (submitted, become):
        if isinstance(answer, Signed):
            assert answer.results.keys() <= asked
            assert answer.results
            assert all(isinstance(one, bytes) and one for one in answer.results.values())
        if isinstance(answer, Accepted):
            assert answer.submission
    own = SECRETS.get(name.split("-", maxsplit=1)[0])
    told_of: tuple[Any, ...] = (listed, submitted, become)
    for one in told_of:
        reply = str(one.reply.body())
        assert USER not in reply
        assert own is None or own not in reply


@pytest.mark.parametrize("name", MAKERS)
async def test_an_order_that_cannot_be_given_is_never_sent(name: str) -> None:
    provider = Provider({})
    transport = httpx.MockTransport(provider)
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as http:
        ca = MAKERS[name](Line(http))
        paper = FILE.papers[0] if name == "esign" else ORDER.papers[0]
        for papers in ((), (paper,) * 2, (paper,) * 11, (Paper(FIRST, "x"),)):
            assert isinstance(await ca.submit(order(papers=papers)), NeverSent)
    assert provider.asked == []


@pytest.mark.parametrize("name", MAKERS)
async def test_a_refused_connection_was_never_sent(name: str) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        async with http_client(base_url=url) as http:
            ca = MAKERS[name](Line(http))
            assert isinstance(await ca.submit(FILE if name == "esign" else ORDER), NeverSent)
            assert isinstance(await ca.credentials(USER, "VNPT-CA"), Unavailable)
            assert isinstance(await ca.status(ORDER, "T1"), Unavailable)


@pytest.mark.parametrize("name", ["smartca", "mysign", "csc-v1", "csc-v2", "csc-v2-provider"])
@pytest.mark.parametrize("how", ["silent", "dripping", "huge", "cut"])
async def test_a_provider_that_plays_for_time_or_floods_is_unclear_in_time(
    name: str, how: str
) -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"login" in head or b"token" in head:
            body = b'{"access_token": "t"}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            writer.close()
            return
        try:
            if how in {"dripping", "huge"}:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
            while how != "cut":
                await asyncio.sleep(0 if how == "huge" else 0.05)
                writer.write(b" " * (65536 if how == "huge" else 1) if how != "silent" else b"")
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, http_client(base_url=url, kept=False) as http:
        async with asyncio.timeout(8):
            line = Line(http)
            times = {"call_seconds": 0.3}
            waits = {"user_seconds": 0.3} if name.startswith("csc") else {}
            given = {"confirmation": "provider"} if name == "csc-v2-provider" else {}
            make: Any = {"smartca": smartca, "mysign": mysign, "csc-v1": csc_v1}.get(name, csc_v2)
            answer = await make(line, **times, **waits, **given).submit(ORDER)
    assert isinstance(answer, Unclear)
    assert answer.timed_out == (how in {"silent", "dripping"})


# Values.


def test_a_signature_is_read_from_base64_and_from_hexadecimal() -> None:
    raw = bytes(range(256))
    rsa = order(mechanism="rsassa_pss")
    for written in (raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode()):
        assert signature(written, rsa) == raw
        assert signature(f"{written[:64]}\r\n{written[64:]}\n", rsa) == raw
    for wrong in ("g" * 63, "AAA", "A===", "", "%", "é", None, 7, b"AAAA", ["AAAA"]):
        assert signature(wrong, rsa) is None


@given(st.binary(min_size=1, max_size=600))
def test_what_was_written_is_read_again(raw: bytes) -> None:
    assert decoded(base64.b64encode(raw).decode()) == raw


def test_an_ecdsa_signature_side_by_side_becomes_a_sequence() -> None:
    r, s = 2**255 - 19, 12345
    der = encode_dss_signature(r, s)
    raw = r.to_bytes(32) + s.to_bytes(32)
    for written in (der, raw):
        assert signature(base64.b64encode(written).decode(), ORDER) == der
    assert signature(raw.hex(), ORDER) == der
    for wrong in (der + b"\x00", der[:-1], raw[:-1], b"\x30\x80" + der[2:]):
        assert signature(base64.b64encode(wrong).decode(), ORDER) is None


@pytest.mark.parametrize("dialect", ["esign", "smartca", "mysign", "csc"])
def test_every_meaning_says_where_it_is_from_and_how_sure_it_is(dialect: str) -> None:
    source = resources.files("signature_connector") / f"data/{dialect}_codes.json"
    table = orjson.loads(source.read_bytes())
    assert table.pop("version")
    assert table.pop("note")
    meanings = {"rejected-by-user", "expired", "failed", "waiting", "not-known"}
    for rows in table.values():
        for row in rows:
            assert ("code" in row) != ("message" in row)
            assert row.keys() - {"code", "message"} == {"outcome", "source", "confidence"}
            assert row["outcome"] in meanings
