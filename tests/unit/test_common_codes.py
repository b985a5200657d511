"""Codes that cross every border, identifiers that follow time, and topic patterns."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from common.contracts.codes import (
    AgencyCode,
    DossierCode,
    ProcedureCode,
    agency_of_dossier,
    canonical_agency,
    within,
)
from common.identifiers import lowest_id_at, moment_of, new_id
from common.transport.base import Queue

agency, dossier, procedure = (
    TypeAdapter(kind).validate_python for kind in (AgencyCode, DossierCode, ProcedureCode)
)


@pytest.mark.parametrize(
    ("given_code", "canonical"),
    [
        ("000.00.00.H10", "H10"),
        ("000.00.15.H10", "H10.15"),
        ("000.01.15.H10", "H10.15.01"),
        ("002.01.15.H10", "H10.15.01.002"),
        ("H10", "H10"),
        ("H10.15", "H10.15"),
        ("H10.15.01", "H10.15.01"),
        ("G22.99", "G22.99"),
    ],
)
def test_both_forms_of_an_agency_code_become_one(given_code: str, canonical: str) -> None:
    assert canonical_agency(given_code) == canonical
    assert agency(given_code) == canonical


@pytest.mark.parametrize(
    "code", ["", "000.00.00", "10.H", "h10", "H1", "H100", "H10.", ".H10", "H10..1", "H١٠", "H10\n"]
)
def test_what_is_in_neither_form_is_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        agency(code)


_groups = st.lists(st.from_regex(r"\A[0-9A-Z]{1,3}\Z"), max_size=4)
_level_one = st.from_regex(r"\A[A-Z][0-9]{2}\Z")


@given(groups=_groups, level_one=_level_one, old=st.booleans())
def test_the_canonical_form_of_a_canonical_code_is_itself(
    groups: list[str], level_one: str, old: bool
) -> None:
    code = ".".join([*groups, level_one] if old else [level_one, *groups])
    canonical = canonical_agency(code)
    assert canonical_agency(canonical) == canonical
    assert re.fullmatch(r"[A-Z][0-9]{2}(\.[0-9A-Z]+)*", canonical)


@pytest.mark.parametrize(
    ("code", "of"),
    [
        ("000.00.15.H10-251121-0001", "H10.15"),
        ("H10.15-251121-0001", "H10.15"),
        ("H10.15-20251121-1234567", "H10.15"),
    ],
)
def test_a_dossier_code_begins_with_its_agency(code: str, of: str) -> None:
    assert dossier(code) == code
    assert agency_of_dossier(code) == of


@pytest.mark.parametrize(
    "code",
    [
        *("H10-251121-001", "H10-2511211-0001", "H10-251121-12345678", "H10_251121_0001"),
        *(
            "H10-٢٥١١٢١-0001",
            "H10-251121-0001\n",
            "H10-251121-0001 ",
            "-251121-0001",
            "h10-251121-0001",
        ),
    ],
)
def test_what_is_no_dossier_code_is_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        dossier(code)


def test_procedure_codes() -> None:
    for code in ("1.000016", "1.002755.01", "2.001234.000.00.00.H10"):
        assert procedure(code) == code
    for code in ("1.00016", "10.000016", "1.000016.", "1.000016.a", "١.000016"):
        with pytest.raises(ValidationError):
            procedure(code)


def test_a_subtree_holds_its_root_and_what_is_below() -> None:
    assert within("H10", "H10")
    assert within("H10.15.01", "H10.15")
    assert within("H10", "*")
    assert not within("H10", "H10.15")
    assert not within("H10.15", "H10.1")
    assert not within("H100", "H10")


def test_identifiers_follow_time() -> None:
    before = datetime.now(UTC)
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert first < second
    assert first.version == 7
    assert first.variant == "specified in RFC 4122"
    assert timedelta(0) <= moment_of(first) - before + timedelta(milliseconds=1)
    assert moment_of(second) <= datetime.now(UTC)
    assert len({new_id() for _ in range(10_000)}) == 10_000


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_bounds_of_identifiers_enclose_a_moment(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC)
    bound = lowest_id_at(moment)
    assert abs(moment_of(bound) - moment) <= timedelta(milliseconds=1)
    assert lowest_id_at(moment + timedelta(milliseconds=2)) > bound


@pytest.mark.parametrize(
    ("pattern", "keys", "strangers"),
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "aXb", "a.b."]),
        ("a.*", ["a.b", "a.b-c"], ["a", "a.b.c", "b.a"]),
        ("*.b", ["a.b"], ["b", "a.a.b"]),
        ("a.#", ["a", "a.b", "a.b.c"], ["ab", "b.a"]),
        ("#.b", ["b", "a.b", "a.a.b"], ["ab", "a.b.c"]),
        ("a.#.c", ["a.c", "a.b.c", "a.b.b.c"], ["a", "ac", "a.b"]),
        ("#", ["", "a", "a.b.c"], []),
        ("#.#", ["a", "a.b"], []),
        ("*.#", ["a", "a.b"], []),
        ("signature.#", ["signature.completed.v1"], ["signatures.completed.v1"]),
    ],
)
def test_topic_patterns(pattern: str, keys: list[str], strangers: list[str]) -> None:
    queue = Queue("s", "p", ("no.such", pattern))
    assert [key for key in keys if not queue.wants(key)] == []
    assert [key for key in strangers if queue.wants(key)] == []
