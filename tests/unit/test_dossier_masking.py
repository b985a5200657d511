"""What is left of personal fields for those who may not have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dossier.domain.masking import Applicant, Identity, masked, read

FULL = Applicant(
    name="Nguyễn Thị  Ánh",
    identity=Identity(type="citizen-id", number="012345678901"),
    portal_account="DVC-0099887",
    email="anh@example.vn",
    phone="0912345678",
    address="Số 1, phố A",
)


def test_initials_and_last_digits():
    assert masked(FULL).model_dump() == {
        "name": "N. T. Á.",
        "identity": {"type": "citizen-id", "number": "***901"},
        "portal_account": "***887",
        "email": "***",
        "phone": "***678",
        "address": "***",
    }


def test_what_was_not_given_is_not_made_up():
    shown = masked(Applicant(name="Công ty A"))
    assert shown.model_dump(exclude_none=True) == {"name": "C. t. A."}


@pytest.mark.parametrize("number", ["1", "123", "123456"])
def test_a_short_number_is_hidden_whole(number):
    shown = masked(Applicant(name="A", phone=number))
    assert shown.phone == "***"


words = st.text(st.characters(categories=["L", "N"]), min_size=4, max_size=30)


@given(name=st.lists(words, min_size=1, max_size=5).map(" ".join), number=words, email=words)
def test_nothing_longer_than_three_characters_comes_through(name, number, email):
    full = Applicant(
        name=name,
        identity=Identity(type="passport", number=number),
        portal_account=number,
        email=email,
        phone=number,
        address=email,
    )
    shown = masked(full)
    assert shown.identity is not None
    told = [shown.name, shown.identity.number, shown.portal_account, shown.email, shown.phone]
    told.append(shown.address)
    for secret in [*name.split(), number, email]:
        for start in range(len(secret) - 3):
            assert not any(secret[start : start + 4] in (value or "") for value in told)


def test_another_shape_is_no_applicant():
    with pytest.raises(ValueError, match="name"):
        read({"identity": None})
    with pytest.raises(ValueError, match="Applicant"):
        read("0123")
