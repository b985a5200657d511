"""JSON that two readers could read in two ways is refused; all other JSON is taken."""

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.api.strict_json import DEEPEST, checked
from gateway.errors import MalformedJson
from tests.support.gateway import submission

NAMES = st.text(min_size=0, max_size=4) | st.sampled_from(['"', '":', "a", "\\", ":", '\\":', "é"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | NAMES
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=25,
)


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
@example(value=[-(2**63), 2**63 - 1, 0.5], indent=None, ascii_only=False)
def test_every_other_json_text_is_taken_as_it_is(value, indent, ascii_only) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert checked(raw) == orjson.loads(raw)


def test_a_submission_is_taken() -> None:
    assert checked(json.dumps(submission()).encode()) == submission()


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), st.data())
def test_a_name_that_stands_twice_is_always_found(members, data) -> None:
    twice = data.draw(st.sampled_from(sorted(members)))
    ascii_only = data.draw(st.booleans())
    written = [
        json.dumps(name, ensure_ascii=ascii_only) + ": " + json.dumps(value)
        for name, value in members.items()
    ]
    place = data.draw(st.integers(0, len(written)))
    written.insert(place, json.dumps(twice, ensure_ascii=not ascii_only) + ":0")
    inner = "{" + ",".join(written) + "}"
    raw = data.draw(st.sampled_from([inner, f"[1,{inner}]", f'{{"outer":[{{"x":{inner}}}]}}']))
    with pytest.raises(MalformedJson):
        checked(raw.encode())


def test_a_string_that_looks_like_a_name_does_not_hide_one_that_stands_twice() -> None:
    # One piece of text too many for the count, and one member too few: they must not cancel out.
    with pytest.raises(MalformedJson):
        checked(b'{"a":"\\":","b":1,"b":2}')
    assert checked(b'{"a":"\\":","b":1}') == {"a": '":', "b": 1}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"{},",
        b"{}\0",
        b"[1,]",
        b'{"a":1,}',
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"'a'",
        b"{a:1}",
        b"/**/{}",
        b'"\x01"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        "{}".encode("utf-16"),
        "{}".encode("utf-32"),
        b"9223372036854775808",
        b"-9223372036854775809",
        b"[123456789012345678901234567890]",
        b"1e309",
        b"-1e400",
        b"1e-400",
        b"1E99999999999",
        b"0e-99999999999",
        b"0." + b"1" * 60,
        b"1" * 5000,
    ],
)
def test_what_is_no_json_or_could_be_read_in_two_ways_is_refused(raw) -> None:
    with pytest.raises(MalformedJson) as refused:
        checked(raw)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1.5e3", 1500.0),
        (b'"1e999"', "1e999"),
        (b'["1e999", 0.5]', ["1e999", 0.5]),
        (b'"\\ud83d\\ude00"', "😀"),
        (b" \t\r\n{}\n", {}),
    ],
)
def test_what_is_at_the_limits_is_taken(raw, value) -> None:
    assert checked(raw) == value


def test_nesting_has_its_limit() -> None:
    assert checked(b"[" * DEEPEST + b"]" * DEEPEST)
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (DEEPEST + 1, 1000, 100_000):
            with pytest.raises(MalformedJson):
                checked(opening * depth + b"1" + closing * depth)


def test_nothing_that_was_sent_is_told_again() -> None:
    with pytest.raises(MalformedJson) as refused:
        checked(b'{"applicant":"Nguy\xe1\xbb\x85n Th\xe1\xbb\x8b", secret}')
    assert "secret" not in json.dumps(refused.value.body()) + str(refused.value)
