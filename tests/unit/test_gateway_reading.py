"""Bodies and headers as they come in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from common.errors import Invalid
from gateway.api.bodies import SUBMIT
from gateway.api.reading import body_of, idempotency_key
from gateway.errors import (
    IdempotencyKeyMalformed,
    IdempotencyKeyMissing,
    MalformedJson,
    UnsupportedMedia,
)
from tests.support.gateway import submission

WHOLE = json.dumps(submission()).encode()


def request(body: bytes, content_type: str = "application/json", **headers: str) -> Request:
    sent = {"content-type": content_type, **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }

    async def receive():
        return {"type": "http.request", "body": body}

    return Request(scope, receive)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'],
)
async def test_json_is_taken(content_type) -> None:
    assert (await body_of(request(WHOLE, content_type), SUBMIT)).channel == "2"


@pytest.mark.parametrize(
    ("content_type", "coding"),
    [
        ("", "identity"),
        ("text/plain", "identity"),
        ("application/json; charset=latin1", "identity"),
        ("application/jsonp", "identity"),
        ("application/x-www-form-urlencoded", "identity"),
        ("application/json", "gzip"),
    ],
)
async def test_other_media_types_are_not(content_type, coding) -> None:
    with pytest.raises(UnsupportedMedia):
        await body_of(request(WHOLE, content_type, **{"content-encoding": coding}), SUBMIT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        WHOLE[:-1],
        WHOLE + b"{}",
        WHOLE.replace(b'"2"', b"'2'"),
        WHOLE.replace(b"50000", b"NaN"),
        WHOLE.replace(b"50000", b"Infinity"),
        WHOLE.replace(b"50000", b"050000"),
        WHOLE.replace(b"50000", b"9" * 10_000),
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.decode().encode("utf-16"),
        b'{"summary": "\xff"}',
        b'{"summary": "\\ud800"}',
        b"[" * 100_000,
        b'{"note":' * 50_000,
        WHOLE[:-1] + b', "channel": "1"}',
        WHOLE[:-1] + b', "chan\\u006eel": "1"}',
        WHOLE.replace(b'"kind": "1"', b'"kind": "1", "kind": "2"'),
        WHOLE.replace(b'"id": "tl1"', b'"id": "tl1", "id": "tl2"'),
    ],
    ids=range(20),
)
async def test_what_is_no_json_or_can_be_read_in_two_ways_is_malformed(body) -> None:
    with pytest.raises(MalformedJson):
        await body_of(request(body), SUBMIT)


@given(st.binary(max_size=200))
async def test_no_bytes_do_more_than_be_refused(body) -> None:
    with pytest.raises((MalformedJson, Invalid)):
        await body_of(request(body), SUBMIT)


async def test_at_most_twenty_faults_are_told() -> None:
    body = submission(documents=[{"id": "", "name": ""}] * 100)
    with pytest.raises(Invalid) as refused:
        await body_of(request(json.dumps(body).encode()), SUBMIT)
    assert len(refused.value.errors) == 20


async def test_the_name_of_an_unknown_field_is_cut() -> None:
    with pytest.raises(Invalid) as refused:
        await body_of(request(json.dumps({**submission(), "x" * 5000: 1}).encode()), SUBMIT)
    assert len(refused.value.errors[0]["pointer"]) == 200


def test_a_step_needs_its_key() -> None:
    with pytest.raises(IdempotencyKeyMissing):
        idempotency_key({}, required=True)
    assert idempotency_key({}, required=False) is None
    assert idempotency_key({"idempotency-key": "a1"}, required=True) == "a1"


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 129, "khóa", "a\x00b"])
def test_keys_are_short_and_printable(key) -> None:
    with pytest.raises(IdempotencyKeyMalformed):
        idempotency_key({"idempotency-key": key}, required=False)
