"""Input that means harm: odd headers and forms, paths, addresses, and text made for log readers."""

import asyncio
import base64
import io
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import httpx
import jwt
import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import gateway as support
from tests.support.databases import Databases
from tests.support.gateway import SECRET, Upstream, gateway_database, sign
from tests.support.logs import service_logs
from tests.support.raw import RawGateway, raw_gateway, status

CANARY = "canary-7f3a"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PRINTED = re.compile(rb"[\t\r\n\x20-\x7e]*")
MUCH = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Door:
    """A gateway, the service behind it, and somebody who must never be asked."""

    raw: RawGateway
    behind: Upstream
    elsewhere: Upstream

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.raw.port}"

    async def storm(self, ask: Callable[[httpx.Client], None]) -> None:
        """Do something with a client in a thread of its own."""

        def work() -> None:
            with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as http:
                ask(http)

        await asyncio.to_thread(work)


@pytest_asyncio.fixture
async def door(databases: Databases, tmp_path: Path) -> AsyncIterator[Door]:
    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(Upstream().serving())
        elsewhere = await stack.enter_async_context(Upstream().serving())
        services = dict.fromkeys(("dossier_url", "catalog_url", "signature_url"), behind.url)
        raw = await stack.enter_async_context(
            raw_gateway(await gateway_database(databases), tmp_path, **services)
        )
        yield Door(raw, behind, elsewhere)


def bearer() -> dict[str, str]:
    scope = "dossiers:read dossiers:write dossiers:personal"
    token = sign(client_id="one-stop", scope=scope, agencies=["H56"])
    return {"authorization": f"Bearer {token}"}


def in_order(answer: httpx.Response) -> None:
    """An answer of ours, whatever was asked: nothing failed, nothing of the request is repeated."""
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert _REQUEST_ID.fullmatch(answer.headers["x-request-id"])
    for name, value in answer.headers.raw:
        assert _PRINTED.fullmatch(name + value)
    assert CANARY not in answer.text
    if answer.status_code >= 400:
        told = answer.json()
        assert told.keys() & {"type", "error", "code"}


# Bytes that a client library sends in a value; CR, LF and NUL are those of the smuggling tests.
header_bytes = st.lists(
    st.integers(0x20, 0x7E) | st.integers(0x80, 0xFF) | st.just(0x09), max_size=60
).map(lambda values: bytes(values).strip())
header_values = header_bytes | st.sampled_from(
    [
        *(
            b"wait=99999999999999999999",
            b"wait=-1",
            b"wait=",
            b'wait="',
            b"wait=1;wait=2",
            b"," * 50,
        ),
        *(b"respond-async, wait=0", b"handling=strict;foo", b"*", b'W/"', b'"' * 9, b'"a", *'),
        *(b"bytes=0-", b"bytes=-1", b"bytes=9-1", b"bytes=0-0," * 40 + b"0-0", b"items=0-1"),
        *(b"%00", b"%ff%fe", b"%0d%0aX: 1", "Mục đích".encode(), b"%" * 60, b"a" * 5000),
        *(b":MIIB:", b"::", b":====:", b"MIIB" * 200, b":" + b"A" * 9000 + b":"),
        *(b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"ff-1-2-3", b"00-x", b"-" * 55),
        *(b"${jndi:ldap://a}", b"{{7*7}}", b"' OR 1=1 --", b"<script>1</script>", b"../../etc"),
    ]
)
HEADERS = (
    *("prefer", "idempotency-key", "if-match", "if-none-match", "range", "if-range", "x-purpose"),
    *("client-cert", "client-cert-chain", "traceparent", "tracestate", "x-request-id", "accept"),
    *("accept-language", "content-encoding", "content-type", "authorization", "if-modified-since"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "cookie", "expect"),
    *("origin", "access-control-request-method", "upgrade", "te", "sec-fetch-site", "host"),
)


async def test_no_header_value_makes_the_gateway_fail(door: Door) -> None:
    statuses: Counter[int] = Counter()

    def ask(http: httpx.Client) -> None:
        reads = (
            f"/v1/dossiers/{support.dossier_code()}",
            "/v1/submissions",
            "/v1/procedures",
            "/docs",
        )

        @given(
            headers=st.dictionaries(st.sampled_from(HEADERS), header_values, max_size=4),
            path=st.sampled_from([*reads, "/v1/files/" + "0" * 64]),
            write=st.booleans(),
        )
        @MUCH
        def survives(headers: dict[str, bytes], path: str, write: bool) -> None:
            held: dict[str, Any] = {"x-canary": CANARY, **bearer(), **headers}
            if write:
                held.setdefault("idempotency-key", b"k")
                held.setdefault("content-type", b"application/json")
                wait = held.get("prefer", b"")
                if isinstance(wait, bytes) and b"9999" in wait:
                    held["prefer"] = b"wait=1"
                body = json.dumps(support.submission(summary=CANARY))
                answer = http.post("/v1/dossiers", headers=held, content=body)
            else:
                answer = http.get(path, headers=held)
            statuses[answer.status_code] += 1
            if answer.status_code != 404 or path != "/docs":
                in_order(answer)

        survives()

    await door.storm(ask)
    # Not all of them were turned away before anything could go wrong.
    assert statuses[200] > MUCH.max_examples / 5
    assert statuses[202]


async def test_every_header_may_hold_any_byte(door: Door) -> None:
    """Each by itself: chance does not meet every name with every kind of value."""

    def ask(http: httpx.Client) -> None:
        for name in set(HEADERS) - {"host", "authorization"}:
            for value in (b"\xff\xfe", "Mục đích".encode(), b"", b"\x80" * 3000):
                for path in (f"/v1/dossiers/{support.dossier_code()}", "/v1/procedures"):
                    held: dict[str, Any] = {**bearer(), name: value}
                    in_order(http.get(path, headers=held))

    await door.storm(ask)


pairs = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("grant_type", "scope", "client_id", "client_secret", "client_assertion"),
                *("client_assertion_type", "assertion", "token", "resource", "audience", ""),
            ]
        )
        | st.text(max_size=8),
        st.sampled_from(
            [
                *("client_credentials", "password", "one-stop", SECRET[:-1], "dossiers:read", ""),
                *("urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "e30.e30.", "a.b.c"),
                *("eyJhbGciOiJub25lIn0.eyJzdWIiOiJvbmUtc3RvcCJ9.", CANARY, "\x00", "\ud7ff", "%"),
            ]
        )
        | st.text(max_size=40),
    ),
    max_size=7,
)
forms = pairs.map(lambda found: urlencode(found, errors="replace").encode()) | st.binary(
    max_size=200
)
basics = (
    st.tuples(st.text(max_size=20), st.text(max_size=20)).map(
        lambda pair: b"Basic " + base64.b64encode(":".join(pair).encode("utf-8", "replace"))
    )
    | st.binary(min_size=1, max_size=30).map(lambda raw: b"Basic " + base64.b64encode(raw))
    | header_bytes.map(lambda raw: (b"Basic " + raw).strip())
    | st.sampled_from(
        [b"", b"Basic", b"basic", b"Bearer x", b"Negotiate YQ==", b"Basic Basic Basic"]
    )
)


@pytest.mark.parametrize("path", ["/oauth/token", "/exchange/v1/token"])
async def test_nothing_but_its_credentials_gets_a_client_a_token(door: Door, path: str) -> None:
    statuses: set[int] = set()

    def ask(http: httpx.Client) -> None:
        @given(
            body=forms,
            authorization=st.none() | basics,
            kind=st.sampled_from(
                [
                    *(b"application/x-www-form-urlencoded", b"application/json", b"text/plain"),
                    *(b"application/x-www-form-urlencoded; charset=utf-16", b"multipart/form-data"),
                ]
            ),
        )
        @MUCH
        def refused(body: bytes, authorization: bytes | None, kind: bytes) -> None:
            headers: dict[str, Any] = {"content-type": kind}
            if authorization is not None:
                headers["authorization"] = authorization
            answer = http.post(path, content=body, headers=headers)
            statuses.add(answer.status_code)
            in_order(answer)
            assert answer.status_code in {400, 401, 413, 415, 422, 429}
            assert "access_token" not in answer.text

        refused()

    await door.storm(ask)
    assert 401 in statuses or path != "/oauth/token"


TRICKS = (
    *(
        "/v1/dossiers/%2e%2e/internal",
        "/v1/dossiers/..%2f..%2finternal/events",
        "/v1/%2e%2e/metrics",
    ),
    *("/v1/dossiers/%252e%252e%252finternal", "/v1/dossiers/..%5c..%5cinternal", "/v1//dossiers"),
    *("/v1/dossiers/H56.14-261102-0001%2f..%2f..%2finternal", "/v1/dossiers/H56.14-261102-0001%00"),
    *("/v1/dossiers/H56.14-261102-0001%23", "/v1/dossiers/H56.14-261102-0001%3fx=1"),
    *("/v1/dossiers/\u200bH56.14-261102-0001", "/v1/dossiers/H56\uff0e14-261102-0001"),
    *(
        "/v1/dossiers/H56.14-261102-0001;x=1/steps",
        "/v1/dossiers/%ff%fe",
        "/v1/dossiers/%c0%ae%c0%ae",
    ),
    *("/v1/procedures/%2e%2e%2f%2e%2e%2finternal", "/v1/procedures/..", "/v1/procedures/.%2e/x"),
    *("/v1/agencies/H49%2f..%2f..%2fimports", "/v1/agencies/H49/channels/..%2f..%2f..%2fimports"),
    *("/v1/code-lists/..%2fimports", "/v1/files/..%2f..%2fetc%2fpasswd", "/docs/..%2f..%2fmain.py"),
    *(
        "/v1/conformance/H49%2fcheck",
        "/v1/conformance/..%2fimports.html",
        "/%2e%2e/%2e%2e/etc/passwd",
    ),
    *(
        "/v1/signing-requests/..%2f1",
        "/v1/questions/..%2f..%2fsync%2fheld%2f1/answer",
        "/V1/DOSSIERS",
    ),
    *(
        "/%76%31/dossiers%20",
        "/v1/dossiers/" + "a" * 9000,
        "/" + "%2f" * 2000,
        "/\\..\\..\\windows",
    ),
)


async def test_no_path_leads_anywhere_else(door: Door, subtests: pytest.Subtests) -> None:
    held = f"Authorization: {bearer()['authorization']}\r\nHost: a\r\nConnection: close\r\n\r\n"
    for path in TRICKS:
        with subtests.test(path[:80]):
            answer = await door.raw.send(f"GET {path} HTTP/1.1\r\n{held}".encode())
            assert status(answer) in {400, 401, 403, 404, 405, 414, 422, 431}
            assert b"root:" not in answer
    for asked in door.behind.asked:
        path = asked.url.raw_path.decode().partition("?")[0]
        assert path.startswith("/v1/")
        decoded = unquote(unquote(path))
        assert ".." not in decoded.split("/")
        assert not re.search(r"[\x00-\x1f\\#?]", decoded)


TELLTALE = (
    *("referer", "origin", "x-forwarded-host", "x-forwarded-for", "x-original-url"),
    *("x-rewrite-url", "forwarded", "x-callback", "link", "content-location", "via"),
)


async def test_nobody_is_asked_because_a_client_named_an_address(door: Door) -> None:
    """Addresses in bodies, headers, queries and tokens are data; none is ever fetched."""
    there = door.elsewhere.url
    host = there.removeprefix("http://")
    document = {"id": "1", "name": "a", "url": f"{there}/paper"}
    keys = jwt.encode(
        {"sub": "one-stop"}, "k" * 32, headers={"jku": there, "x5u": there, "kid": there}
    )
    assertion = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(
            {"iss": there, "sub": "one-stop", "aud": there}, "k" * 32, headers={"jku": there}
        ),
    }
    outside = jwt.encode({"iss": there, "sub": "x", "aud": "a"}, "k" * 32, headers={"kid": "1"})

    def ask(http: httpx.Client) -> None:
        taken = http.post(
            "/v1/dossiers", json=support.submission(documents=[document]), headers=bearer()
        )
        assert taken.status_code == 202, taken.text
        everywhere = dict.fromkeys(TELLTALE, there)
        code = support.dossier_code()
        for path in (f"/v1/dossiers/{code}", "/v1/procedures", "/v1/submissions", "/openapi.json"):
            in_order(http.get(path, headers={**bearer(), **everywhere}))
            in_order(http.get(path, headers={**bearer(), "host": host}))
            in_order(http.get(path, params={"url": there, "after": there}, headers=bearer()))
        for token in (keys, outside):
            refused = http.get("/v1/submissions", headers={"authorization": f"Bearer {token}"})
            assert refused.status_code == 401
        in_order(http.post("/oauth/token", data=assertion))

    await door.storm(ask)
    await asyncio.sleep(0.5)
    assert door.elsewhere.asked == []


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the services log, as they log it."""
    with service_logs() as file:
        yield file


def whole_lines(written: str) -> list[dict[str, Any]]:
    """Every line is one document in plain characters."""
    assert re.fullmatch(r"[\x20-\x7e\n]*", written), "a raw control character"
    return [json.loads(line) for line in written.splitlines()]


hostile = st.text(max_size=60) | st.sampled_from(
    [
        'a\n{"event": "login", "level": "info"}',
        *(
            "\r\n\r\nHTTP/1.1 200 OK",
            "\x1b[2J\x1b[31mred",
            "\x00",
            "\x85next",
            "\u2028next",
            "\u202egnp",
        ),
        *('"}\n{"event":"forged"', "\\n{}", "\x7f\x9b31m", "\U0001f600", "%0a%0d", "\x0b\x0c"),
    ]
)


@given(text=hostile, name=st.sampled_from(["client", "path", "request_id", "error", "agency"]))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_makes_a_second_line_of_log(lines: io.StringIO, text: str, name: str) -> None:
    lines.seek(0)
    lines.truncate()
    structlog.get_logger().info("something happened", **{name: text})
    logging.getLogger("a library").warning("it says %s", text)
    ours, theirs = whole_lines(lines.getvalue())
    assert ours["event"] == "something happened"
    assert ours[name] == text
    assert theirs["logger"] == "a library"


async def test_no_request_writes_what_it_likes_into_the_log(door: Door, lines: io.StringIO) -> None:
    forged = '{"event": "forged", "level": "info"}'
    escaped = b"%0d%0a" + forged.replace(" ", "%20").replace('"', "%22").encode() + b"%1b%5b31m"
    spoilt = 'x\r\n{"event": "forged"}\x1b[31m'

    def ask(http: httpx.Client) -> None:
        for field in ("summary", "procedure", "code", "agency", "note"):
            body = support.submission(**{field: spoilt})
            http.post("/v1/dossiers", json=body, headers=bearer())
        for place in ("/v1/dossiers/", "/v1/procedures/", "/v1/files/", "/"):
            http.get(place + escaped.decode(), headers=bearer())
        http.post("/oauth/token", data={"grant_type": spoilt, "client_id": spoilt})
        http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(spoilt, spoilt))
        for name in ("x-request-id", "traceparent", "user-agent", "x-purpose", "idempotency-key"):
            value = forged.encode() + b"\t\xe2\x80\xa8\xc2\x85"
            spoilt_headers: dict[str, Any] = {**bearer(), name: value}
            http.get("/v1/submissions", headers=spoilt_headers)

    door.behind.status = 500
    await door.storm(ask)
    await door.raw.send(b"GET / HTTP/1.1\r\nX: \x1b[31m" + forged.encode() + b"\r\nbad\r\n\r\n")
    logging.getLogger("uvicorn.error").warning("the log is there")
    told = whole_lines(lines.getvalue())
    assert any(line["event"] == "the log is there" for line in told)
    assert all(line["event"] != "forged" for line in told)
