"""Personal fields: what a seal keeps, and what it refuses to open."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from common.sealing import KeyRing, SealError


def key() -> SecretStr:
    return SecretStr(base64.b64encode(os.urandom(32)).decode())


OLD, NEW = key(), key()
RING = KeyRing({"k1": OLD}, "k1")
OWNER = "H01.7-251121-0001"

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=st.text() | st.dictionaries(st.text(), _json), owner=st.text())
def test_what_is_sealed_opens_for_its_owner(value: str | dict[str, object], owner: str) -> None:
    assert RING.open(RING.seal(value, owner), owner) == value


def test_a_seal_does_not_show_what_it_holds_and_no_two_are_alike() -> None:
    first, second = RING.seal("Nguyễn Văn A", OWNER), RING.seal("Nguyễn Văn A", OWNER)
    assert first != second
    assert first.startswith("v1.k1.")
    assert "Nguy" not in first


def test_another_owner_cannot_open_it() -> None:
    sealed = RING.seal({"name": "A"}, OWNER)
    with pytest.raises(SealError):
        RING.open(sealed, OWNER + "1")


@given(place=st.integers(min_value=6), character=st.characters(codec="utf-8"))
def test_a_changed_text_does_not_open(place: int, character: str) -> None:
    sealed = RING.seal("something long enough", OWNER)
    place = 6 + place % (len(sealed) - 6)
    if sealed[place] == character:
        return
    for changed in (
        sealed[:place] + character + sealed[place + 1 :],
        sealed[:place] + character + sealed[place:],
        sealed[:place],
    ):
        with pytest.raises(SealError):
            RING.open(changed, OWNER)


@pytest.mark.parametrize(
    "sealed", ["", "v1", "v1.k1", "v1.k1.", "v1.k1.AA", "v2.k1.AAAA", "v1.k9.AAAA", "a.b.c.d"]
)
def test_what_is_no_seal_is_refused(sealed: str) -> None:
    with pytest.raises(SealError):
        RING.open(sealed, OWNER)


def test_after_a_rotation_old_seals_open_and_new_ones_are_made_with_the_new_key() -> None:
    sealed = RING.seal("old", OWNER)
    rotated = KeyRing({"k1": OLD, "k2": NEW}, "k2")
    assert rotated.open(sealed, OWNER) == "old"
    assert rotated.seal("new", OWNER).startswith("v1.k2.")
    with pytest.raises(SealError, match="not in the ring"):
        RING.open(rotated.seal("new", OWNER), OWNER)
    with pytest.raises(SealError):
        KeyRing({"k1": NEW}, None).open(sealed, OWNER)  # the same id, another key


def test_a_ring_that_only_opens_does_not_seal() -> None:
    with pytest.raises(SealError):
        KeyRing({"k1": OLD}, None).seal("x", OWNER)
    with pytest.raises(SealError):
        KeyRing({}, None).open(RING.seal("x", OWNER), OWNER)


@pytest.mark.parametrize(
    ("keys", "current"),
    [
        ({"k1": "too short"}, "k1"),
        ({"k1": "!" * 44}, "k1"),
        ({"k1": base64.b64encode(bytes(16)).decode()}, "k1"),
        ({"k.1": base64.b64encode(bytes(32)).decode()}, "k.1"),
        ({}, "k1"),
    ],
)
def test_keys_that_cannot_be_used_are_named_without_their_value(
    keys: dict[str, str], current: str
) -> None:
    with pytest.raises(ValueError, match=current.replace(".", r"\.")) as raised:
        KeyRing({name: SecretStr(value) for name, value in keys.items()}, current)
    assert not any(value in str(raised.value) for value in keys.values())
