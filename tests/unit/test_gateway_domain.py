"""Which agency a dossier belongs to, and when two requests are the same one."""

import base64
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from common.identifiers import new_id
from gateway.domain.submissions import (
    Earlier,
    Fingerprints,
    Submission,
    dossier_agency,
    same_or_problem,
)
from gateway.errors import CodeAgencyMismatch, DossierCodeTaken, IdempotencyKeyReused

OLD = {"k1": SecretStr(base64.b64encode(b"1" * 32).decode())}
BOTH = {**OLD, "k2": SecretStr(base64.b64encode(b"2" * 32).decode())}


@pytest.mark.parametrize(
    ("code", "given", "agency"),
    [
        ("H56.14-261102-0001", None, "H56.14"),
        ("000.00.14.H56-261102-0001", None, "H56.14"),
        ("H56.14-261102-0001", "H56.14", "H56.14"),
        ("H56.14-261102-0001", "H56.14.05", "H56.14.05"),
        ("H56.14-261102-0001", "H56", "H56"),
    ],
)
def test_a_dossier_belongs_to_its_codes_agency_or_one_on_its_line(code, given, agency) -> None:
    assert dossier_agency(code, given) == agency


@pytest.mark.parametrize("given", ["H10", "H56.15", "H56.140", "H5"])
def test_an_agency_on_another_line_does_not_fit_the_code(given) -> None:
    with pytest.raises(CodeAgencyMismatch) as refused:
        dossier_agency("H56.14-261102-0001", given)
    assert refused.value.errors[0]["pointer"] == "/agency"


def test_a_code_without_a_level_one_group_names_no_agency() -> None:
    with pytest.raises(CodeAgencyMismatch) as refused:
        dossier_agency("12.34-261102-0001")
    assert refused.value.errors[0]["pointer"] == "/code"


def test_a_fingerprint_recognises_its_content_and_no_other() -> None:
    fingerprints = Fingerprints(OLD, "k1")
    stored = fingerprints.of(b"content")
    assert fingerprints.matches(stored, b"content")
    assert not fingerprints.matches(stored, b"contents")
    assert b"content".hex() not in stored


def test_a_fingerprint_cannot_be_recomputed_without_the_key() -> None:
    other = {"k1": SecretStr(base64.b64encode(b"3" * 32).decode())}
    assert Fingerprints(OLD, "k1").of(b"079199000123") != Fingerprints(other, "k1").of(
        b"079199000123"
    )


def test_fingerprints_are_recognised_after_the_key_has_changed() -> None:
    stored = Fingerprints(OLD, "k1").of(b"content")
    later = Fingerprints(BOTH, "k2")
    assert later.of(b"content") != stored
    assert later.matches(stored, b"content")
    assert not later.matches(stored, b"other")
    assert not Fingerprints({"k2": BOTH["k2"]}, "k2").matches(stored, b"content")


def earlier(by, client_id="one-stop") -> Earlier:
    return Earlier(
        by,
        Submission(
            new_id(),
            client_id,
            "H56",
            "H56-261102-0001",
            "submit",
            "k1.00",
            "pending",
            datetime.now(UTC),
        ),
    )


@pytest.mark.parametrize(
    ("by", "client_id", "same_content", "problem"),
    [
        ("key", "one-stop", True, None),
        ("key", "one-stop", False, IdempotencyKeyReused),
        ("content", "one-stop", True, None),
        ("code", "one-stop", True, None),
        ("code", "one-stop", False, DossierCodeTaken),
        ("code", "another", True, DossierCodeTaken),
    ],
)
def test_what_an_earlier_submission_means(by, client_id, same_content, problem) -> None:
    told = same_or_problem(earlier(by), client_id=client_id, same_content=same_content)
    assert (told is None) if problem is None else isinstance(told, problem)
