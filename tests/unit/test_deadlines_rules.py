"""When a dossier is due: by the procedure's time, by what was given, and by who had to wait."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.catalog import ProcessingTime
from common.contracts.commands import Command
from dossier.domain import calendar, table
from dossier.domain.calendar import VIETNAM
from dossier.domain.deadlines import Deadlines, Entry, Notice
from dossier.domain.model import Dossier, Taken
from dossier.domain.steps import obey
from tests.support.dossiers import command

TABLE = table.load()
CALENDAR = calendar.load()
DEADLINES = Deadlines(CALENDAR)
PROCEDURE = {"code": "1.000016", "name": "Cấp phép", "field": {"code": "G05", "name": "Đầu tư"}}
UNITS = ("hour", "day", "working-day", "month")


def at(day: str, time: str = "09:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{time}+07:00")


def term(quantity: float, unit: str) -> ProcessingTime:
    return ProcessingTime.model_validate({"quantity": quantity, "unit": unit})


FIVE_DAYS = term(5, "working-day")


def submit(time: ProcessingTime | None = FIVE_DAYS, day: str = "2026-03-02"):
    said = time.model_dump() if time else None
    return command("submit", procedure={**PROCEDURE, "time": said}, at=at(day, "08:00"))


def receive(day: str = "2026-03-02", time: str = "09:00", **fields):
    return command("receive", at=at(day, time), **fields)


def ask(day: str, time: str = "09:00"):
    return command("request-supplement", at=at(day, time))


def give(day: str, time: str = "09:00", **fields):
    return command("give-supplement", at=at(day, time), **fields)


def life(*steps: Command, start: Dossier | None = None) -> Dossier:
    dossier = start
    for one in steps:
        taken = obey(TABLE, dossier, one, code="H10.15-1", agency="H10.15", deadlines=DEADLINES)
        assert isinstance(taken, Taken), taken
        assert taken.fact.dossier == taken.dossier.state, "the fact tells of the due date as well"
        dossier = taken.dossier
    assert dossier is not None
    return dossier


@pytest.mark.parametrize(
    ("quantity", "unit", "start", "end"),
    [
        (5, "working-day", at("2026-03-02"), at("2026-03-09")),
        (6.25, "working-day", at("2026-03-02"), at("2026-03-10", "15:00")),
        (1, "working-day", at("2026-02-13"), at("2026-02-23")),  # Tết between
        (2, "working-day", at("2026-04-28"), at("2026-05-04")),  # 30 April and 1 May between
        (2, "working-day", at("2025-04-24"), at("2025-04-26")),  # a Saturday that is worked
        (8, "hour", at("2026-03-02"), at("2026-03-02", "17:00")),
        (24, "hour", at("2026-03-06", "16:00"), at("2026-03-09", "16:00")),
        (3, "day", at("2026-03-02"), at("2026-03-05")),
        (5, "day", at("2026-03-02"), at("2026-03-09")),  # Saturday: the next working day
        (15, "day", at("2026-02-02"), at("2026-02-23")),  # in Tết
        (1, "month", at("2026-03-02"), at("2026-04-02")),
        (1, "month", at("2026-01-31"), at("2026-03-02")),  # 28 February is a Saturday
        (2, "month", at("2026-12-30"), at("2027-03-01")),  # 28 February is a Sunday
        (1.5, "month", at("2026-03-02"), at("2026-04-17")),
    ],
)
def test_the_term_of_a_procedure_ends_where_the_law_says(quantity, unit, start, end):
    assert DEADLINES.due(start, term(quantity, unit)) == end


@pytest.mark.parametrize("quantity", [0, -3, float("nan"), float("inf"), 1e300])
@pytest.mark.parametrize("unit", UNITS)
def test_no_due_date_follows_from_a_senseless_term(quantity, unit):
    assert DEADLINES.due(at("2026-03-02"), term(quantity, unit)) is None


@pytest.mark.parametrize("start", [datetime.min, datetime.max, datetime(1900, 1, 1)])  # noqa: DTZ001, DTZ901
@pytest.mark.parametrize("unit", UNITS)
def test_a_reception_far_from_now_gets_no_due_date(start, unit):
    assert DEADLINES.due(start.replace(tzinfo=UTC), term(5, unit)) is None


@given(
    st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001
    st.floats(0.01, 500),
    st.sampled_from(UNITS),
)
def test_a_computed_due_date_lies_after_the_reception_and_on_a_working_day(start, quantity, unit):
    moment = start.replace(tzinfo=VIETNAM)
    due = DEADLINES.due(moment, term(quantity, unit))
    assert due is not None
    assert due > moment
    assert CALENDAR.works(due.astimezone(VIETNAM).date())


def test_without_a_date_from_the_agency_the_procedure_decides():
    state = life(submit(), receive()).state
    assert (state.due_at, state.due_computed) == (at("2026-03-09"), True)
    assert state.due_at is not None
    assert state.due_at.tzinfo is UTC


def test_the_date_that_the_agency_gives_counts():
    state = life(submit(), receive(due_at=at("2026-03-05", "17:00"))).state
    assert (state.due_at, state.due_computed) == (at("2026-03-05", "17:00"), False)


def test_without_time_and_date_there_is_no_due_date():
    state = life(submit(None), receive()).state
    assert (state.due_at, state.due_computed) == (None, False)


def test_a_correction_replaces_the_computed_date_and_the_next_reception_keeps_it():
    state = life(submit(), receive(), receive(due_at=at("2026-03-12")), receive("2026-03-04")).state
    assert (state.due_at, state.due_computed) == (at("2026-03-12"), False)


def test_a_second_reception_counts_from_the_first():
    state = life(submit(), receive(), receive("2026-03-04")).state
    assert (state.due_at, state.due_computed) == (at("2026-03-09"), True)


def test_an_extension_is_not_computed():
    state = life(
        submit(),
        receive(),
        command("extend", at=at("2026-03-03"), due_at=at("2026-03-20"), reason="x"),
    ).state
    assert (state.due_at, state.due_computed) == (at("2026-03-20"), False)


def test_the_time_that_the_applicant_took_is_not_counted():
    state = life(submit(), receive(), ask("2026-03-04"), give("2026-03-11", "12:00")).state
    assert state.due_at == at("2026-03-16", "12:00")  # five working days and three hours later
    assert state.due_computed
    (supplement,) = state.supplements
    assert supplement.due_before == at("2026-03-09")
    assert supplement.due_after == at("2026-03-16", "12:00")


@given(st.integers(0, 60), st.integers(0, 5), st.integers(0, 60))
def test_a_supplement_of_some_working_days_moves_the_due_date_by_as_many(length, later, waited):
    asked = CALENDAR.add(at("2026-03-02"), later)
    answered = CALENDAR.add(asked, waited)
    moved = life(
        submit(term(length + 1, "working-day")),
        receive(),
        command("request-supplement", at=asked),
        command("give-supplement", at=answered),
    ).state.due_at
    assert moved == CALENDAR.add(at("2026-03-02"), length + 1 + waited)


def test_the_time_over_a_holiday_moves_nothing_that_was_not_worked():
    state = life(
        submit(day="2026-02-12"), receive("2026-02-12"), ask("2026-02-13"), give("2026-02-23")
    ).state
    assert state.due_at == at("2026-02-27")  # 26 February, and the one day that was waited


@pytest.mark.parametrize(("unit", "due"), [("day", "2026-03-30"), ("month", "2026-04-09")])
def test_terms_in_calendar_days_are_put_off_by_calendar_days(unit, due):
    time = term(20, "day") if unit == "day" else term(1, "month")
    state = life(submit(time), receive(), ask("2026-03-04"), give("2026-03-11")).state
    assert state.due_at == at(due)


def test_a_term_in_days_that_is_put_off_ends_on_a_working_day_again():
    state = life(submit(term(20, "day")), receive(), ask("2026-03-04"), give("2026-03-09")).state
    assert state.due_at == at("2026-03-30")  # 22 March is a Sunday, and the 28th a Saturday


def test_a_date_that_the_agency_gave_is_put_off_as_well_but_not_called_computed():
    given_date = receive(due_at=at("2026-03-05", "17:00"))
    state = life(submit(None), given_date, ask("2026-03-04"), give("2026-03-06")).state
    assert (state.due_at, state.due_computed) == (at("2026-03-09", "17:00"), False)


def test_a_new_date_given_with_the_papers_counts():
    late = give("2026-03-11", due_at=at("2026-03-31"))
    state = life(submit(), receive(), ask("2026-03-04"), late).state
    assert (state.due_at, state.due_computed) == (at("2026-03-31"), False)
    assert state.supplements[0].due_after == at("2026-03-31")


def test_a_second_request_puts_the_date_off_as_well():
    steps = [ask("2026-03-03"), give("2026-03-04"), ask("2026-03-05"), give("2026-03-09")]
    state = life(submit(), receive(), *steps).state
    assert state.due_at == at("2026-03-12")  # one working day and two
    assert [one.due_after for one in state.supplements] == [at("2026-03-10"), at("2026-03-12")]


def test_two_requests_that_are_open_together_are_waited_for_once():
    steps = [ask("2026-03-03"), ask("2026-03-04"), give("2026-03-06")]
    state = life(submit(), receive(), *steps).state
    assert state.due_at == at("2026-03-12")  # three working days, from the first request on
    assert {one.due_after for one in state.supplements} == {at("2026-03-12")}


def test_waiting_before_the_reception_takes_nothing_off():
    state = life(submit(), ask("2026-03-02"), receive("2026-03-04"), give("2026-03-05")).state
    assert state.due_at == at("2026-03-12")  # five from the reception, and one


def test_papers_without_a_request_or_dated_before_it_move_nothing():
    assert life(submit(), receive(), give("2026-03-04")).state.due_at == at("2026-03-09")
    early = life(submit(), receive(), ask("2026-03-05"), give("2026-03-04")).state
    assert early.due_at == at("2026-03-09")


def entry(dossier: Dossier) -> Entry:
    made = DEADLINES.entry(dossier)
    assert made is not None
    return made


def test_the_approach_is_told_two_working_days_before():
    made = entry(life(submit(term(10, "working-day")), receive()))
    assert (made.due_at, made.warn_at) == (at("2026-03-16"), at("2026-03-12"))


def test_the_approach_of_a_short_term_is_told_at_half_of_it():
    assert entry(life(submit(term(2, "working-day")), receive())).warn_at == at("2026-03-03")


def test_the_approach_of_a_term_in_hours_is_told_hours_before():
    made = entry(life(submit(term(8, "hour")), receive()))
    assert made.warn_at == at("2026-03-02", "15:00")


def test_how_long_before_is_a_policy():
    deadlines = Deadlines(CALENDAR, Notice(working_days=4))
    made = deadlines.entry(life(submit(term(10, "working-day")), receive()))
    assert made is not None
    assert made.warn_at == at("2026-03-10")


def test_a_date_beyond_the_calendar_is_told_only_when_it_has_passed():
    made = entry(life(submit(), receive(due_at=at("2150-03-02"))))
    assert made.warn_at == made.due_at == at("2150-03-02")


def test_the_time_stands_still_while_papers_are_waited_for():
    asked = life(submit(), receive(), ask("2026-03-04"))
    fee = {"code": "LP01", "name": "Lệ phí", "amount": 1000}
    fee_too = life(command("request-fee", at=at("2026-03-04"), fees=[fee]), start=asked)
    assert not entry(asked).running
    assert not entry(fee_too).running
    assert entry(life(give("2026-03-05"), start=asked)).running
    assert entry(life(command("progress", at=at("2026-03-05")), start=asked)).running


@pytest.mark.parametrize(
    ("kind", "fields", "ended"),
    [
        ("complete", {}, False),
        ("pause", {}, True),
        ("withdraw", {}, True),
        ("return", {}, True),
    ],
)
def test_nothing_runs_when_it_is_finished(kind, fields, ended):
    made = entry(life(submit(), receive(), command(kind, at=at("2026-03-04"), **fields)))
    assert (made.running, made.ended) == (False, ended)


def test_a_dossier_without_due_date_and_a_historic_one_are_not_on_the_schedule():
    dossier = life(submit(), receive())
    old = dossier.model_copy(update={"state": dossier.state.model_copy(update={"historic": True})})
    assert DEADLINES.entry(old) is None
    assert entry(life(command("progress", at=at("2026-03-05")), start=old)).running
    assert DEADLINES.entry(life(submit(None), receive())) is None


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (at("2026-03-04"), 3),
        (at("2026-03-04", "21:00"), 2.5),
        (at("2026-03-07"), 0.38),  # Saturday: from Monday at midnight
        (at("2026-03-10"), -1),
    ],
)
def test_what_is_left_is_told_in_working_days(now, left):
    standing = DEADLINES.standing(life(submit(), receive()), now)
    assert standing is not None
    assert (standing.days_left, standing.at, standing.running) == (left, now, True)


def test_what_is_left_stands_still_with_the_time():
    asked = life(submit(), receive(), ask("2026-03-04"))
    standing = DEADLINES.standing(asked, at("2026-06-01"))
    assert standing is not None
    assert (standing.days_left, standing.at, standing.running) == (3, at("2026-03-04"), False)


def test_a_finished_dossier_stands_as_it_was_finished():
    done = life(submit(), receive(), command("complete", at=at("2026-03-06")))
    standing = DEADLINES.standing(done, at("2026-06-01"))
    assert standing is not None
    assert (standing.days_left, standing.at) == (1, at("2026-03-06"))


def test_an_answer_that_rests_on_an_unchecked_year_says_so():
    now = at("2026-03-04")
    sure = DEADLINES.standing(life(submit(), receive()), now)
    unsure = DEADLINES.standing(life(submit(), receive(due_at=at("2027-03-02"))), now)
    beyond = DEADLINES.standing(life(submit(), receive(due_at=at("2150-03-02"))), now)
    assert sure is not None
    assert not sure.estimated
    assert unsure is not None
    assert unsure.estimated
    assert beyond is not None
    assert beyond.estimated
    assert beyond.days_left is None
    assert DEADLINES.standing(life(submit(None), receive()), now) is None


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.sampled_from(UNITS))  # noqa: DTZ001
def test_no_date_that_a_client_may_send_stops_a_batch(moment, unit):
    given_date = moment.replace(tzinfo=UTC)
    for steps in (
        [receive(due_at=given_date)],
        [command("receive", at=given_date)],
        [receive(), command("request-supplement", at=given_date), give("2026-03-05")],
        [receive(), ask("2026-03-03"), command("give-supplement", at=given_date)],
    ):
        dossier = life(submit(term(5, unit)), *steps)
        DEADLINES.entry(dossier)
        DEADLINES.standing(dossier, datetime(2026, 3, 4, tzinfo=UTC) + timedelta(days=1))
