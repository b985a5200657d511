"""Which dossier codes are taken, and which are issued."""

import json
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.codes import DOSSIER_PATTERN, agency_of_dossier
from gateway.api.bodies import SUBMIT
from gateway.domain.codes import day_of_issue, issued_code
from gateway.domain.submissions import dossier_agency
from tests.support.gateway import submission

DAY = date(2026, 11, 2)

groups = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=4)
below = groups.filter(lambda group: set(group) != {"0"})
level_one = st.from_regex(r"[A-Z][0-9]{2}", fullmatch=True)
agencies = st.builds(
    lambda top, rest: ".".join([top, *rest]), level_one, st.lists(below, max_size=5)
)
dates = st.dates(date(2020, 1, 1), date(2069, 12, 31))


@pytest.mark.parametrize(
    ("code", "agency"),
    [
        ("000.00.15.H10-220101-0001", "H10.15"),
        ("000.00.00.H56-220101-0001", "H56"),
        ("H10.15-220101-0001", "H10.15"),
        ("H10.15-220101-00001", "H10.15"),
        ("H10.15-220101-000001", "H10.15"),
        ("G09.20-20260609-0092637", "G09.20"),
        ("000.00.20.G09-20260609-0092637", "G09.20"),
        ("G09-20260609-0001", "G09"),
    ],
)
def test_every_form_that_is_in_use_is_taken(code, agency) -> None:
    body = SUBMIT.validate_json(json.dumps(submission(code)))
    assert body.code == code
    assert dossier_agency(code) == agency


@given(
    agency=agencies,
    old=st.booleans(),
    day=dates,
    long=st.booleans(),
    number=st.integers(0, 9_999_999),
    digits=st.integers(4, 7),
)
def test_both_directions_both_dates_and_four_to_seven_digits_are_taken(
    agency, old, day, long, number, digits
) -> None:
    levels = agency.split(".")
    coded = ".".join(["000", "00", *reversed(levels)][-4:]) if old and len(levels) < 4 else agency
    sequence = f"{number % 10**digits:0{digits}d}"
    code = f"{coded}-{day:%Y%m%d}-{sequence}" if long else f"{coded}-{day:%y%m%d}-{sequence}"
    assert SUBMIT.validate_json(json.dumps(submission(code))).code == code
    # Only a last level that looks like a first one makes the old form ambiguous.
    if coded == agency or not re.fullmatch(r"[A-Z][0-9]{2}", levels[-1]):
        assert dossier_agency(code) == agency


@pytest.mark.parametrize(
    ("agency", "number", "code"),
    [
        ("H10", 1, "000.00.00.H10-261102-0001"),
        ("H10.15", 1, "000.00.15.H10-261102-0001"),
        ("H10.15.02", 37, "000.02.15.H10-261102-0037"),
        ("H10.15.02.007", 9999, "007.02.15.H10-261102-9999"),
        ("H10.15", 10_000, "000.00.15.H10-261102-10000"),
        ("H10.15.02.007.01", 1, "H10.15.02.007.01-261102-0001"),
    ],
)
def test_a_code_is_issued_in_the_legal_form(agency, number, code) -> None:
    assert issued_code(agency, DAY, number) == code


@given(agency=agencies, day=dates, number=st.integers(1, 99_999))
def test_whatever_is_issued_names_its_agency_and_is_taken_back(agency, day, number) -> None:
    code = issued_code(agency, day, number)
    assert re.fullmatch(DOSSIER_PATTERN[1:-1], code)
    assert agency_of_dossier(code) == agency
    assert code.endswith(f"-{day:%y%m%d}-{number:04d}")


def test_the_day_is_vietnams() -> None:
    before_midnight = datetime(2026, 11, 1, 16, 59, 59, tzinfo=UTC)
    assert day_of_issue(before_midnight) == date(2026, 11, 1)
    assert day_of_issue(before_midnight + timedelta(seconds=1)) == DAY
