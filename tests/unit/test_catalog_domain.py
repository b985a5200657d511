"""The words of the catalogue: folding, irregular codes, what is known about fees."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.domain.catalogue import (
    FieldOfWork,
    Procedure,
    ProcedureFee,
    Promulgator,
    fold,
    irregularity,
)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("Cấp phép", "cap phep"),
        ("ĐĂNG KÝ  Đất đai", "dang ky dat dai"),
        ("Thủ tục hành chính", "thu tuc hanh chinh"),
        (unicodedata.normalize("NFD", "Hộ tịch"), "ho tich"),
        ("  1.000123\tH56 ", "1.000123 h56"),
        ("(thực hiện tại cấp tỉnh).", "thuc hien tai cap tinh"),
        ("35%_\\ ... 1.014955-Xoa", "35 1.014955 xoa"),
        ("", ""),
    ],
)
def test_words_are_found_without_their_diacritics(written, folded):
    assert fold(written) == folded


@given(st.text())
def test_folding_twice_changes_nothing_and_leaves_no_mark(words):
    once = fold(words)
    assert fold(once) == once
    assert not any(unicodedata.combining(letter) for letter in once)
    assert once == once.strip()
    assert "  " not in once
    assert not set(once) & set("%_\\")  # nothing that LIKE would read as more than itself


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1.000123", None),
        ("2.002621.H56", None),
        ("1.000094.000.00.00.H56", None),
        (" 1.014325", "surrounding-space"),
        ("1.0133611", "extra-digits"),
        ("2.009182739", "extra-digits"),
        ("1.014955-Xoa", "other-form"),
        ("1.014955\n", "surrounding-space"),
        ("", "other-form"),
    ],
)
def test_a_code_of_another_form_is_named_irregular(code, reason):
    assert irregularity(code) == reason


@pytest.mark.parametrize(
    ("kind", "has_fee"),
    [
        ("fixed", True),
        ("tiered", True),
        ("suspect", True),
        ("none-recorded", False),
        ("see-note", None),
        ("unknown", None),
    ],
)
def test_a_fee_is_only_said_to_be_there_or_not_where_the_source_says_so(kind, has_fee):
    procedure = Procedure(
        code="1.000123",
        name="Cấp phép",
        field=FieldOfWork(name="Hộ tịch"),
        promulgator=Promulgator(name="Bộ Tư pháp"),
        fee=ProcedureFee(kind=kind),
    )
    assert procedure.has_fee is has_fee
