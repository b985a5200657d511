"""What ``Prefer`` and ``If-Match`` say, written in every way the standards allow."""

import pytest
from starlette.datastructures import Headers

from gateway.api.preferences import Preferences, expected_of, preferences
from gateway.errors import IfMatchMalformed


def headers(name: str, *values: str) -> Headers:
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for value in values])


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", 0),
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ('WAIT="7"; foo', 7),
        ("foo; bar=1, wait = 4", 4),
        ('foo="wait=9, wait=8", wait=6', 6),
        ("wait=3, wait=20", 3),
        ("@@, wait=8", 8),
        ("wait=0", 0),
        ("wait=999999", 30),
        ("wait=99999999999999999999", 0),
        ("wait=-5", 0),
        ("wait=x", 0),
        ("wait", 0),
        ("await=5", 0),
        ("wait=5.5", 0),
    ],
)
def test_how_long_a_client_prefers_to_wait(prefer: str, seconds: int) -> None:
    assert preferences(headers("prefer", prefer)).wait == seconds


def test_preferences_stand_in_one_line_or_in_several() -> None:
    found = preferences(headers("prefer", "respond-async", "WAIT=10, receipt"))
    assert found == Preferences(wait=10, respond_async=True, receipt=True)
    assert preferences(Headers({})) == Preferences()


def test_what_was_applied_is_told() -> None:
    both = Preferences(wait=10, respond_async=True)
    assert both.applied(asynchronous=True) == ["wait=10", "respond-async"]
    assert both.applied(asynchronous=False) == ["wait=10"]
    assert Preferences(respond_async=True).applied(asynchronous=True) == ["respond-async"]
    assert Preferences().applied(asynchronous=True) == []


def test_a_header_of_nothing_but_noise_is_read_quickly() -> None:
    noise = "a=" * 4000 + '"' + "\\" * 4000 + ";" * 4000 + "," * 4000
    assert preferences(headers("prefer", noise, "wait=2")).wait in {0, 2}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (('"7"',), '"7"'),
        (('"7.p"',), '"7.p"'),
        (('"7", W/"8"',), '"7", W/"8"'),
        (('"7"', '"8"'), '"7","8"'),
        (("*",), "*"),
        (('""',), '""'),
    ],
)
def test_conditions_are_entity_tags(values: tuple[str, ...], expected: str) -> None:
    assert expected_of(headers("if-match", *values)) == expected


def test_without_a_condition_there_is_none() -> None:
    assert expected_of(Headers({})) is None


@pytest.mark.parametrize("value", ["", "7", '"7', 'w/"7"', '*, "7"', '"a b"', '"\xe9"', '"7";'])
def test_a_condition_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(IfMatchMalformed):
        expected_of(headers("if-match", value))


def test_a_condition_has_its_length() -> None:
    with pytest.raises(IfMatchMalformed):
        expected_of(headers("if-match", ",".join(['"7"'] * 200)))
