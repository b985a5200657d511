"""Working days in Vietnam, and time counted along them."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from holidays.countries.vietnam import Vietnam
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dossier.domain import calendar
from dossier.domain.calendar import VIETNAM, Calendar, Checked, Decision, Decisions, OutsideCalendar

CALENDAR = calendar.load()

MOMENTS = st.datetimes(datetime(2010, 1, 1), datetime(2040, 12, 31)).map(  # noqa: DTZ001
    lambda one: one.replace(tzinfo=VIETNAM)
)
LENGTHS = st.one_of(
    st.integers(0, 400).map(float), st.sampled_from([0.5, 6.25, 2.75]), st.floats(0, 400)
)


def at(day: str, time: str = "09:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{time}+07:00")


def off_days(first: str, last: str) -> list[str]:
    """Weekdays that are not worked, and weekend days that are."""
    day, end, found = date.fromisoformat(first), date.fromisoformat(last), []
    while day <= end:
        if CALENDAR.works(day) != (day.weekday() < 5):
            found.append(day.isoformat())
        day += timedelta(days=1)
    return found


def test_tet_2025_is_off_from_monday_to_friday():
    assert off_days("2025-01-20", "2025-02-10") == [f"2025-01-{day}" for day in range(27, 32)]


def test_tet_2026_is_off_from_monday_to_friday():
    assert off_days("2026-02-02", "2026-03-01") == [f"2026-02-{day}" for day in range(16, 21)]


def test_the_end_of_april_2025_is_swapped_for_a_saturday():
    assert off_days("2025-04-14", "2025-05-11") == [
        "2025-04-26",  # a Saturday that is worked
        "2025-04-30",
        "2025-05-01",
        "2025-05-02",
    ]


def test_the_end_of_april_2026_follows_hung_kings_on_a_sunday():
    assert off_days("2026-04-13", "2026-05-10") == ["2026-04-27", "2026-04-30", "2026-05-01"]


def test_the_national_day_2026_is_five_days_with_the_weekend():
    assert off_days("2026-08-17", "2026-09-06") == [
        "2026-08-22",
        "2026-08-31",
        "2026-09-01",
        "2026-09-02",
    ]


def test_a_swap_decided_a_week_before_is_in_the_data_though_the_package_lacks_it():
    assert off_days("2025-12-29", "2026-01-18") == ["2026-01-01", "2026-01-02", "2026-01-10"]


def test_five_working_days_over_tet_end_after_it():
    assert CALENDAR.add(at("2026-02-12"), 5) == at("2026-02-26")


def test_a_saturday_that_makes_up_for_another_day_counts():
    assert CALENDAR.add(at("2025-04-25"), 1) == at("2025-04-26")
    assert CALENDAR.between(at("2025-04-25"), at("2025-05-05")) == 4


def test_a_quarter_of_a_working_day_is_six_hours():
    assert CALENDAR.add(at("2026-03-02"), 6.25) == at("2026-03-10", "15:00")


def test_a_moment_on_a_day_off_counts_from_the_next_working_day():
    saturday = at("2026-03-07", "10:30")
    assert CALENDAR.add(saturday, 0) == at("2026-03-09", "00:00")
    assert CALENDAR.add(saturday, 1) == CALENDAR.add(at("2026-03-09", "00:00"), 1)
    assert CALENDAR.between(saturday, at("2026-03-09", "00:00")) == 0


def test_the_day_is_that_of_vietnam_whatever_the_offset():
    friday_evening_in_london = datetime.fromisoformat("2026-03-06T18:00:00+00:00")
    assert CALENDAR.add(friday_evening_in_london, 1) == at("2026-03-10", "00:00")


@given(MOMENTS, LENGTHS)
def test_counting_finds_what_was_added(start, days):
    assert CALENDAR.between(start, CALENDAR.add(start, days)) == pytest.approx(days, abs=1e-9)


@given(MOMENTS, LENGTHS)
def test_what_is_added_never_ends_on_a_day_off(start, days):
    assert CALENDAR.works(CALENDAR.add(start, days).date())


@given(MOMENTS, MOMENTS, LENGTHS, LENGTHS)
def test_who_begins_later_or_takes_longer_does_not_end_sooner(one, other, days, more):
    assert CALENDAR.add(min(one, other), days) <= CALENDAR.add(max(one, other), days)
    assert CALENDAR.add(one, days) <= CALENDAR.add(one, days + more)


@given(MOMENTS, st.integers(0, 200))
def test_each_working_day_is_counted_once(start, days):
    end = CALENDAR.add(start, days)
    between = (end.date() - start.date()).days
    worked = sum(CALENDAR.works(start.date() + timedelta(days=n)) for n in range(1, between + 1))
    if CALENDAR.works(start.date()):
        assert worked == days
        assert end.timetz() == start.timetz()
    else:  # midnight of the day after the last one that counts
        assert worked == days + 1
        assert end.time().isoformat() == "00:00:00"


@given(MOMENTS, st.lists(LENGTHS, max_size=4))
def test_parts_add_up_to_the_whole(start, parts):
    end = start
    for part in parts:
        end = CALENDAR.add(end, part)
    assert CALENDAR.between(end, CALENDAR.add(start, sum(parts))) == pytest.approx(0, abs=1e-9)


@given(MOMENTS, st.integers(0, 100), st.integers(0, 100))
def test_a_moment_is_shifted_by_the_working_time_between_two_others(start, term, waited):
    due = CALENDAR.add(start, term)
    assert CALENDAR.shifted(due, start, CALENDAR.add(start, waited)) == CALENDAR.add(due, waited)


@pytest.mark.parametrize("year", [1, 1999, 2100, 9999])
def test_years_without_a_calendar_are_refused(year):
    moment = datetime(year, 12 if year > 2000 else 1, 31, tzinfo=VIETNAM)
    for use in (
        lambda: CALENDAR.add(moment, 1),
        lambda: CALENDAR.working(moment),
        lambda: CALENDAR.works(moment.date()),
        lambda: CALENDAR.between(at("2026-01-05"), moment),
    ):
        with pytest.raises(OutsideCalendar):
            use()


@pytest.mark.parametrize("days", [1e6, -1e6, 1e300])
def test_a_term_that_leaves_the_calendar_is_refused(days):
    with pytest.raises(OutsideCalendar):
        CALENDAR.add(at("2026-01-05"), days)


def test_every_swap_that_the_package_knows_is_in_the_data():
    package = Vietnam(years=range(2000, 2100))
    differ = {
        day
        for day in (date(2000, 1, 1) + timedelta(days=n) for n in range(36524))
        if package.is_working_day(day) != CALENDAR.works(day)
    }
    assert differ == {date(2026, 1, 2), date(2026, 1, 10)}, "look at data/working_days.json"


def test_every_decision_and_year_names_source_and_confidence():
    path = Path(calendar.__file__).parent.parent / "data" / "working_days.json"
    decisions = Decisions.model_validate_json(path.read_bytes())
    assert {2025, 2026} <= set(decisions.years)
    stated: list[Checked | Decision] = [*decisions.years.values(), *decisions.days]
    for one in stated:
        assert one.source
        assert one.confidence in {"law", "page", "code", "memory"}


def test_a_year_nobody_checked_makes_an_estimate():
    assert not CALENDAR.estimated(at("2025-12-29"), at("2026-12-31"))
    assert CALENDAR.estimated(at("2026-12-31"), at("2027-01-04"))
    assert CALENDAR.estimated(at("2023-12-29"), at("2024-01-03"))


def test_an_operator_can_list_what_is_unusual_in_a_year():
    off, worked = CALENDAR.unusual(2025)
    assert worked == [date(2025, 4, 26)]
    assert {date(2025, 1, 27), date(2025, 5, 2)} <= set(off)
    assert len(off) == 12  # 1 January, 5 of Tết, Hung Kings, 30 April to 2 May, 1 and 2 September
    assert CALENDAR.checked(2025)
    assert not CALENDAR.checked(2027)
    with pytest.raises(OutsideCalendar):
        CALENDAR.unusual(2100)


def test_another_file_takes_the_place_of_the_data(tmp_path):
    file = tmp_path / "days.json"
    day = {"off": "2027-02-11", "worked": "2027-02-20", "source": "a decision", "confidence": "law"}
    year = {"2027": {"source": "a decision", "confidence": "law"}}
    whole = {"version": "2", "about": "a test", "years": year, "days": [day]}
    file.write_text(json.dumps(whole), encoding="utf-8")
    other = calendar.load(file)
    assert other.version == "2"
    assert not other.works(date(2027, 2, 11))
    assert other.works(date(2027, 2, 20))
    assert CALENDAR.works(date(2027, 2, 11))
    assert not CALENDAR.works(date(2027, 2, 20))
    assert not other.estimated(at("2027-02-01"), at("2027-03-01"))
    assert other.works(date(2026, 1, 2)), "the swaps of the package are not used beside the file"


def test_a_holiday_that_is_decided_to_be_worked_is_worked():
    decision = Decision(worked=date(2027, 9, 3), source="a decision", confidence="law")
    decisions = Decisions(version="1", about="a test", years={}, days=(decision,))
    assert not CALENDAR.works(date(2027, 9, 3))
    assert Calendar(decisions).works(date(2027, 9, 3))


def test_a_decision_about_no_day_is_refused():
    with pytest.raises(ValidationError):
        Decision(source="a decision", confidence="law")
