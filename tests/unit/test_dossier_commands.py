"""Putting off, passing on, rating; and what every step says of itself."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from common.contracts.commands import Command
from common.contracts.dossier import (
    DeadlineExtended,
    DossierRated,
    DossierState,
    DossierTransferred,
)
from dossier.domain import steps, table
from dossier.domain.model import Dossier, Refusal, Taken
from tests.support.dossiers import AGENCY, START, code, command, result

TABLE = table.load()
SUBMISSION = UUID(int=7)
OFFICIAL = {"name": "Lê Văn B", "title": "Chuyên viên", "department": "Một cửa"}


def at(minutes):
    return START + timedelta(minutes=minutes)


def ask(before: Dossier | None, what: Command, **given) -> Taken | Refusal:
    said = {"code": code(1), "agency": AGENCY, "submission": SUBMISSION, **given}
    return steps.obey(TABLE, before, what, **said)


def take(before: Dossier | None, what: Command, **given) -> Taken:
    taken = ask(before, what, **given)
    assert isinstance(taken, Taken), taken
    return taken


def live(*commands: Command) -> Dossier:
    dossier = None
    for one in commands:
        dossier = take(dossier, one).dossier
    assert dossier is not None
    return dossier


def state(*commands: Command) -> DossierState:
    return live(*commands).state


SUBMIT = command("submit")
RECEIVE = command("receive", 1, due_at=at(1000))
RETURNED = [SUBMIT, RECEIVE, command("complete", 2), command("return", 3)]


# Putting off


def test_an_extension_puts_the_due_date_off_and_says_why():
    what = command("extend", 2, due_at=at(2000), reason="Chờ ý kiến Sở", official=OFFICIAL)
    taken = take(live(SUBMIT, RECEIVE), what)
    assert (taken.dossier.state.due_at, taken.dossier.state.extensions) == (at(2000), 1)
    assert taken.dossier.state.status == "2"
    assert (taken.step.due_at, taken.step.note) == (at(2000), "Chờ ý kiến Sở")
    assert taken.step.flagged is None
    assert isinstance(taken.fact, DeadlineExtended)
    again = take(taken.dossier, command("extend", 3, due_at=at(3000)))
    assert again.dossier.state.extensions == 2


@pytest.mark.parametrize("minutes", [999, 1000])
def test_an_extension_to_no_later_day_is_recorded_and_flagged(minutes):
    taken = take(live(SUBMIT, RECEIVE), command("extend", 2, due_at=at(minutes)))
    assert taken.step.flagged == "due-date-not-later"
    assert (taken.dossier.state.due_at, taken.dossier.state.extensions) == (at(minutes), 1)


def test_an_extension_while_papers_are_waited_for_leaves_what_is_waited_for():
    asked = live(SUBMIT, RECEIVE, command("progress", 2), command("request-supplement", 3))
    taken = take(asked, command("extend", 4, due_at=at(2000)))
    assert (taken.dossier.state.status, taken.step.flagged) == ("5", None)
    assert take(taken.dossier, command("give-supplement", 5)).dossier.state.status == "4"


def test_an_extension_of_what_is_finished_is_recorded_and_flagged():
    finished = live(SUBMIT, RECEIVE, command("complete", 2))
    taken = take(finished, command("extend", 3, due_at=at(2000)))
    assert taken.step.flagged == "already-completed"
    assert taken.dossier.state.finished_at == at(2)


def test_what_has_ended_cannot_be_put_off():
    refused = ask(live(*RETURNED), command("extend", 9))
    assert isinstance(refused, Refusal)
    assert refused.problem.slug == "dossier-closed"


# Passing on


def test_a_transfer_changes_the_agency_and_nothing_else():
    before = live(SUBMIT, RECEIVE, command("request-fee", 2))
    basis = "Nghị quyết về sắp xếp đơn vị hành chính"
    what = command("transfer", 3, reason="Sáp nhập tỉnh", legal_basis=basis)
    taken = take(before, what)
    after = taken.dossier.state
    assert (after.agency, after.former_agencies) == ("H11.15", (AGENCY,))
    changed = {"agency", "former_agencies"}
    assert after.model_dump(exclude=changed) == before.state.model_dump(exclude=changed)
    assert isinstance(taken.fact, DossierTransferred)
    assert (taken.fact.from_agency, taken.fact.dossier.agency) == (AGENCY, "H11.15")
    assert taken.step.agency == AGENCY
    assert taken.step.note == f"Sáp nhập tỉnh\nCăn cứ: {basis}"
    assert taken.step.flagged is None
    paid = take(taken.dossier, command("record-fee", 4))
    assert (paid.step.agency, paid.dossier.state.status) == ("H11.15", "2")


def test_agencies_are_remembered_from_the_first_one_on():
    moves = [command("transfer", n, agency=f"H{n}.15") for n in (20, 21, 22)]
    assert state(SUBMIT, *moves).former_agencies == (AGENCY, "H20.15", "H21.15")


def test_the_records_of_an_ended_dossier_pass_on_too_and_are_flagged():
    taken = take(live(*RETURNED), command("transfer", 9))
    assert (taken.step.flagged, taken.dossier.state.agency) == ("already-ended", "H11.15")
    assert taken.dossier.state.status == "10"


def test_a_signature_is_asked_for_by_the_agency_that_has_the_dossier():
    passed = live(SUBMIT, RECEIVE, command("transfer", 2))
    taken = take(passed, command("complete", 3, results=[result(signed=True)]))
    assert [one.agency for one in taken.signings] == ["H11.15"]


# Rating


def test_a_rating_is_kept_with_its_source_also_after_the_end():
    taken = take(live(*RETURNED), command("rate", 9, satisfaction="neutral", source="kiosk"))
    rating = taken.dossier.state.rating
    assert rating is not None
    assert (rating.satisfaction, rating.source, rating.at) == ("neutral", "kiosk", at(9))
    assert (taken.dossier.state.status, taken.step.flagged) == ("10", None)
    assert taken.step.note == "Bình thường (nguồn: kiosk)"
    assert isinstance(taken.fact, DossierRated)


def test_a_dossier_that_nobody_rated_is_not_measured():
    assert state(*RETURNED).rating is None


def test_a_second_rating_replaces_the_first_which_stays_in_the_history():
    first = take(live(*RETURNED), command("rate", 9, satisfaction="satisfied"))
    second = take(first.dossier, command("rate", 10, satisfaction="dissatisfied"))
    assert second.dossier.state.rating is not None
    assert second.dossier.state.rating.satisfaction == "dissatisfied"
    assert second.step.flagged == "already-rated"
    assert first.step.note is not None
    assert "Hài lòng" in first.step.note


@pytest.mark.parametrize("end", ["refuse", "withdraw", "pause"])
def test_who_was_not_served_can_say_so(end):
    taken = take(live(SUBMIT, command(end, 1)), command("rate", 2, satisfaction="dissatisfied"))
    assert taken.step.flagged is None


def test_a_rating_before_the_end_is_flagged():
    taken = take(live(SUBMIT, RECEIVE), command("rate", 2))
    assert taken.step.flagged == "not-completed"


# What a submission and each step say


def test_everything_a_submission_says_is_kept():
    said: dict[str, Any] = {
        "other_papers": [{"name": "Ảnh 4x6", "quantity": 2, "kind": 1}],
        "vneid_verified": True,
        "online_payment": "1",
        "filed_at": "2",
        "databases": ["dan-cu"],
        "remark": "Nộp thay",
        "processing_unit": "Phòng Đăng ký kinh doanh",
        "return_method": "1",
        "documents": [{"id": "1", "name": "Tờ khai", "file": "a" * 64, "reused": "1"}],
        "fees": [{"name": "Lệ phí", "amount": 1, "method": "2"}],
    }
    made = state(command("submit", **said)).model_dump(mode="json")
    for name, value in said.items():
        if isinstance(value, list):
            for kept, given in zip(made[name], value, strict=True):
                assert kept == given if isinstance(given, str) else given.items() <= kept.items()
        else:
            assert made[name] == value


def test_a_dossiers_name_is_the_submission_that_began_it():
    begun = take(None, SUBMIT)
    assert begun.dossier.state.id == SUBMISSION
    assert take(begun.dossier, RECEIVE, submission=UUID(int=8)).dossier.state.id == SUBMISSION


def test_a_code_of_a_result_paper_is_kept():
    made = state(SUBMIT, RECEIVE, command("complete", 2, results=[{**result(), "code": "KQ.01"}]))
    assert [one.code for one in made.results] == ["KQ.01"]


def test_a_supplement_says_what_was_asked_for_and_who_took_it_in():
    asked = command(
        "request-supplement",
        2,
        official=OFFICIAL,
        papers=[{"name": "Ảnh 4x6", "quantity": 2}],
        fees=[{"code": "LP02", "name": "Lệ phí bổ sung", "amount": 5000}],
    )
    given = command("give-supplement", 3, official={"name": "Trần C"}, note="Đủ bản sao")
    (supplement,) = state(SUBMIT, RECEIVE, asked, given).supplements
    assert [(one.name, one.quantity) for one in supplement.papers] == [("Ảnh 4x6", 2)]
    assert [(one.code, one.amount) for one in supplement.fees] == [("LP02", 5000)]
    assert (supplement.requested_by, supplement.received_by) == ("Lê Văn B", "Trần C")
    assert supplement.received_note == "Đủ bản sao"


def test_a_fee_asked_for_with_papers_is_known_when_it_is_paid():
    fees = [{"name": "Lệ phí bổ sung", "amount": 5000}]
    asked = [command("request-supplement", 2, fees=fees), command("give-supplement", 3)]
    taken = take(live(SUBMIT, RECEIVE, *asked), command("record-fee", 4))
    assert taken.step.flagged is None
    assert taken.dossier.state.fees == ()


def test_each_step_says_its_channel_and_agency():
    begun = take(None, command("submit", channel="2"))
    assert (begun.step.channel, begun.step.agency) == ("2", AGENCY)
    received = take(begun.dossier, command("receive", 1, channel="1"))
    assert (received.step.channel, received.step.agency) == ("1", AGENCY)
    unsaid = take(received.dossier, command("progress", 2))
    assert unsaid.step.channel is None
    assert unsaid.dossier.state.channel == "2"


def test_a_fact_goes_the_way_its_submission_came():
    begun = take(None, SUBMIT, lane="bulk")
    assert begun.fact.lane == "bulk"
    assert take(begun.dossier, RECEIVE).fact.lane == "live"


@pytest.mark.parametrize("what", [command("progress", 9), command("rate", 9), command("extend", 9)])
def test_an_old_dossier_is_one_like_any_other_from_its_first_step_here(what):
    old = live(SUBMIT, RECEIVE)
    old = old.model_copy(update={"state": old.state.model_copy(update={"historic": True})})
    assert not take(old, what).dossier.state.historic
    assert old.state.historic
