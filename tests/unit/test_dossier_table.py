"""Every cell of the transition table, taken by a dossier that lived its way there."""

import json
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import get_args

import pytest
from pydantic import ValidationError

from common.contracts.commands import Command
from dossier.domain import steps, table
from dossier.domain.model import Dossier, Refusal, Taken
from dossier.domain.table import KINDS, PLACES, Table, Version
from tests.support.dossiers import AGENCY, START, code, command, result

RAW = json.loads((resources.files("dossier") / "data" / "transitions.json").read_bytes())
TABLE = table.load()
VERSION = TABLE.at(START)

DUE = START + timedelta(days=5)
FEE = [{"code": "LP01", "name": "Lệ phí", "amount": 50000}]
SUBMITTED = command("submit", fees=FEE)
RECEIVED, PROGRESSED = command("receive", 1, due_at=DUE), command("progress", 2)
WANTED, CHARGED = command("request-supplement", 3), command("request-fee", 3)

# How a dossier comes into each status by usual steps, and before reception where that is usual.
WAYS: dict[str, list[Command]] = {
    "none": [],
    "1": [SUBMITTED],
    "2": [SUBMITTED, RECEIVED],
    "3": [SUBMITTED, command("refuse", 1)],
    "4": [SUBMITTED, RECEIVED, PROGRESSED],
    "5": [SUBMITTED, WANTED],
    "6": [SUBMITTED, CHARGED],
    "7": [SUBMITTED, RECEIVED, command("withdraw", 3)],
    "8": [SUBMITTED, RECEIVED, command("pause", 3)],
    "9": [SUBMITTED, RECEIVED, PROGRESSED, command("complete", 3)],
    "10": [SUBMITTED, RECEIVED, PROGRESSED, command("complete", 3), command("return", 4)],
}
# A supplement is usually given where one was asked for, also when work has gone on meanwhile.
WAYS_TO = {
    ("give-supplement", "2"): [SUBMITTED, WANTED, RECEIVED],
    ("give-supplement", "4"): [SUBMITTED, RECEIVED, WANTED, PROGRESSED],
    ("give-supplement", "6"): [SUBMITTED, RECEIVED, WANTED, CHARGED],
    # What is put off was fixed before.
    ("extend", "5"): [SUBMITTED, RECEIVED, WANTED],
    ("extend", "6"): [SUBMITTED, RECEIVED, CHARGED],
}


def take(before: Dossier | None, what: Command) -> Taken | Refusal:
    return steps.obey(TABLE, before, what, code=code(1), agency=AGENCY)


def live(*commands: Command) -> Dossier | None:
    dossier = None
    for one in commands:
        taken = take(dossier, one)
        assert isinstance(taken, Taken), one
        dossier = taken.dossier
    return dossier


CELLS = [(kind, place) for kind in KINDS for place in PLACES]


def test_every_command_has_a_cell_for_every_status_and_there_are_no_others():
    kinds = {
        get_args(one.model_fields["kind"].annotation)[0] for one in get_args(get_args(Command)[0])
    }
    assert set(KINDS) == set(RAW["steps"]) == kinds
    assert len(CELLS) == len(set(CELLS)) == 15 * 11
    assert sum(len(row) for row in RAW["steps"].values()) == 15 * 11


@pytest.mark.parametrize(("kind", "place"), CELLS)
def test_a_step_ends_as_its_cell_says(kind, place):
    before = live(*WAYS_TO.get((kind, place), WAYS[place]))
    assert (before.state.status if before else "none") == place
    outcome = take(before, command(kind, 10))
    verdict, _, reason = RAW["steps"][kind][place].partition(" ")
    if verdict == "impossible":
        assert isinstance(outcome, Refusal)
        assert outcome.problem.slug == reason
        assert outcome.problem.status == (404 if reason == "unknown-dossier" else 409)
        assert outcome.problem.detail
        assert outcome.problem.detail_en
        return
    assert isinstance(outcome, Taken)
    assert outcome.step.flagged == (reason or None)
    assert outcome.step.kind == kind
    assert outcome.step.number == outcome.dossier.steps == (before.steps if before else 0) + 1
    assert outcome.step.status == outcome.dossier.state.status
    assert outcome.fact.step == outcome.step
    assert outcome.fact.dossier == outcome.dossier.state


@pytest.mark.parametrize("place", PLACES)
def test_no_work_follows_a_closed_status_and_nothing_precedes_submission(place):
    """What has ended can still be rated, and its records pass to a successor."""
    closed = place in {"3", "7", "8", "10"}
    for kind in KINDS:
        impossible = RAW["steps"][kind][place].startswith("impossible")
        beginning = (kind == "submit") == (place == "none")
        ended = closed and kind not in {"rate", "transfer"}
        assert impossible == (ended or not beginning), (kind, place)


def test_status_labels_say_which_statuses_are_closed():
    assert {s for s, label in VERSION.statuses.items() if label.closed} == {"3", "7", "8", "10"}


GUARDED = [
    ("refuse", [SUBMITTED, RECEIVED, WANTED], "already-received"),
    ("refuse", [SUBMITTED, RECEIVED, CHARGED], "already-received"),
    ("give-supplement", [SUBMITTED, RECEIVED], "supplement-not-asked"),
    (
        "give-supplement",
        [SUBMITTED, RECEIVED, WANTED, command("give-supplement", 4)],
        "supplement-not-asked",
    ),
    ("record-fee", [command("submit"), RECEIVED], "fee-not-asked"),
    ("record-fee", [SUBMITTED, RECEIVED, command("record-fee", 2)], "fee-already-paid"),
    ("complete", [SUBMITTED, RECEIVED, WANTED, PROGRESSED], "supplement-open"),
    ("complete", [SUBMITTED, RECEIVED, CHARGED, PROGRESSED], "fee-open"),
    ("return", [SUBMITTED, RECEIVED, WANTED, command("complete", 4)], "supplement-open"),
    ("return", [SUBMITTED, RECEIVED, CHARGED, command("complete", 4)], "fee-open"),
    (
        "return",
        [SUBMITTED, RECEIVED, command("complete", 4, results=[result(signed=True)])],
        "result-not-signed",
    ),
    ("extend", [SUBMITTED, command("receive", 1)], "due-date-unknown"),
    (
        "extend",
        [SUBMITTED, command("receive", 1, due_at=START + timedelta(days=30))],
        "due-date-not-later",
    ),
    (
        "transfer",
        [SUBMITTED, command("transfer", 1), command("transfer", 2, agency="H12.15")],
        "transferred-back",
    ),
    ("rate", [*WAYS["10"], command("rate", 5)], "already-rated"),
]


@pytest.mark.parametrize(("kind", "way", "reason"), GUARDED)
def test_a_guard_flags_what_the_status_does_not_show(kind, way, reason):
    outcome = take(live(*way), command(kind, 10))
    assert isinstance(outcome, Taken)
    assert outcome.step.flagged == reason


def test_every_guard_is_among_those_tried():
    tried = {(kind, reason) for kind, _, reason in GUARDED}
    assert {(guard.step, guard.reason) for guard in VERSION.guards} == tried


def test_paying_what_was_asked_for_again_is_usual():
    paid = [SUBMITTED, RECEIVED, command("record-fee", 2), CHARGED]
    outcome = take(live(*paid), command("record-fee", 10, online=False))
    assert isinstance(outcome, Taken)
    assert outcome.step.flagged is None


def test_a_table_with_a_hole_is_refused():
    broken = json.loads(json.dumps(RAW))
    del broken["steps"]["receive"]["4"]
    with pytest.raises(ValidationError, match="row of receive is not complete"):
        Version.model_validate(broken)


@pytest.mark.parametrize(
    "cell",
    ["", "unusual", "unusual no-such-reason", "impossible", "usual not-received", "sometimes"],
)
def test_a_cell_that_is_no_verdict_is_refused(cell):
    broken = json.loads(json.dumps(RAW))
    broken["steps"]["receive"]["4"] = cell
    with pytest.raises(ValidationError, match="no verdict"):
        Version.model_validate(broken)


def test_a_guard_on_an_unknown_fact_is_refused():
    broken = json.loads(json.dumps(RAW))
    broken["guards"][0]["when"] = "the moon is full"
    with pytest.raises(ValidationError, match="unknown reason or fact"):
        Version.model_validate(broken)


def version(name, day, **cells):
    """A version that begins on a day, with other verdicts for steps of received dossiers."""
    raw = json.loads(json.dumps(RAW))
    for kind, verdict in cells.items():
        raw["steps"][kind]["2"] = verdict
    return Version.model_validate({**raw, "version": name, "effective_from": day})


def test_a_step_is_judged_by_the_table_of_its_day_in_vietnam():
    stricter = version("2", "2026-11-03", progress="unusual already-processing")
    both = Table([stricter, VERSION])
    received = live(SUBMITTED, RECEIVED)
    last = datetime(2026, 11, 2, 16, 59, 59, tzinfo=UTC)  # 23:59:59 in Vietnam
    for moment, flag in ((last, None), (last + timedelta(seconds=1), "already-processing")):
        step = command("progress", at=moment)
        outcome = steps.obey(both, received, step, code=code(1), agency=AGENCY)
        assert isinstance(outcome, Taken)
        assert outcome.step.flagged == flag


def test_a_later_version_can_make_a_step_impossible():
    later = Table([VERSION, version("2", "2026-11-02", progress="impossible dossier-closed")])
    outcome = steps.obey(later, live(SUBMITTED, RECEIVED), PROGRESSED, code=code(1), agency=AGENCY)
    assert isinstance(outcome, Refusal)


def test_the_words_of_every_version_stay_known():
    raw = json.loads(json.dumps(RAW))
    raw["reasons"]["new"] = {"vi": "Mới", "en": "New"}
    newer = Version.model_validate({**raw, "version": "2", "effective_from": "2027-01-01"})
    assert set(Table([newer, VERSION]).reasons) == set(VERSION.reasons) | {"new"}


@pytest.mark.parametrize("days", [[], ["2026-01-01"], [None, None], [None, "2026-01-01"] * 2])
def test_of_every_day_there_is_one_version(days):
    with pytest.raises(ValueError, match="different days"):
        Table(version(str(number), day) for number, day in enumerate(days))


def test_a_transfer_to_the_agency_that_has_it_is_impossible():
    outcome = take(live(SUBMITTED, RECEIVED), command("transfer", 2, agency=AGENCY))
    assert isinstance(outcome, Refusal)
    assert (outcome.problem.status, outcome.problem.slug) == (409, "step-not-possible")
    assert outcome.problem.errors[0]["pointer"] == "/agency"
    assert outcome.problem.detail
    assert outcome.problem.detail_en
