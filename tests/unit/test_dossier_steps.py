"""What each step does to a dossier."""

from datetime import timedelta

import pytest

from common.contracts.commands import Command, Complete, SigningWish
from common.contracts.dossier import (
    DossierState,
    ResultSigned,
    ResultSigningFailed,
    SigningRequested,
    SigningWorkflowRequested,
)
from common.contracts.signature import (
    SignatureAugmented,
    SignatureCompleted,
    SignatureFailed,
    SignatureHeld,
)
from dossier.domain import signatures, steps, table
from dossier.domain.model import Dossier, Refusal, SignedInTurn, Taken, Turn
from tests.support.dossiers import AGENCY, FILE, SIGNED, START, code, command, result

TABLE = table.load()
OFFICIAL = {"name": "Lê Văn B", "title": "Chuyên viên", "department": "Một cửa"}


def at(minutes):
    return START + timedelta(minutes=minutes)


def take(before: Dossier | None, what: Command) -> Taken:
    taken = steps.obey(TABLE, before, what, code=code(1), agency=AGENCY)
    assert isinstance(taken, Taken), taken
    return taken


def live(*commands: Command) -> Dossier:
    dossier = None
    for one in commands:
        dossier = take(dossier, one).dossier
    assert dossier is not None
    return dossier


def statuses(*commands: Command) -> list[str]:
    dossier: Dossier | None = None
    seen: list[str] = []
    for one in commands:
        dossier = take(dossier, one).dossier
        seen.append(dossier.state.status)
    return seen


def state(*commands: Command) -> DossierState:
    return live(*commands).state


SUBMIT = command("submit")
RECEIVE = command("receive", 1, due_at=at(1000), receipt_number="BN-1")


def test_submission_keeps_everything_handed_in():
    papers = [{"id": "1", "name": "Tờ khai"}, {"id": "1", "name": "Trang hai cùng mã"}]
    fees = [{"name": "Lệ phí", "amount": 1}, {"name": "Lệ phí", "amount": 2}]
    made = state(command("submit", documents=papers, fees=fees, return_method="1"))
    assert (made.code, made.agency, made.status) == (code(1), AGENCY, "1")
    assert [paper.name for paper in made.documents] == ["Tờ khai", "Trang hai cùng mã"]
    assert [fee.amount for fee in made.fees] == [1, 2]
    assert made.submitted_at == START
    assert made.return_method == "1"
    assert made.sealed == "v1.k1.c2VhbGVk"
    assert made.received_at is None


def test_a_whole_life():
    life = [
        SUBMIT,
        RECEIVE,
        command("progress", 2),
        command("request-supplement", 3),
        command("give-supplement", 4),
        command("request-fee", 5),
        command("record-fee", 6),
        command("complete", 7),
        command("return", 8),
    ]
    assert statuses(*life) == ["1", "2", "4", "5", "4", "6", "4", "9", "10"]
    ended = state(*life)
    assert (ended.received_at, ended.finished_at, ended.returned_at) == (at(1), at(7), at(8))
    assert ended.refused_at is None


@pytest.mark.parametrize(
    ("asked", "answered", "interruption"),
    [("request-supplement", "give-supplement", "5"), ("request-fee", "record-fee", "6")],
)
@pytest.mark.parametrize(
    ("way", "status"), [([], "1"), ([RECEIVE], "2"), ([RECEIVE, command("progress", 2)], "4")]
)
def test_an_interruption_ends_where_it_began(asked, answered, interruption, way, status):
    seen = statuses(SUBMIT, *way, command(asked, 3), command(answered, 4))
    assert seen[-3:] == [status, interruption, status]


def test_of_two_interruptions_both_must_be_answered():
    begun = [SUBMIT, RECEIVE, command("request-supplement", 2), command("request-fee", 3)]
    paid_first = [command("record-fee", 4), command("give-supplement", 5)]
    given_first = [command("give-supplement", 4), command("record-fee", 5)]
    assert statuses(*begun, *paid_first)[-4:] == ["5", "6", "5", "2"]
    assert statuses(*begun, *given_first)[-4:] == ["5", "6", "6", "2"]
    reversed_begin = [SUBMIT, RECEIVE, command("request-fee", 2), command("request-supplement", 3)]
    assert statuses(*reversed_begin, *given_first)[-4:] == ["6", "5", "6", "2"]
    assert statuses(*reversed_begin, *paid_first)[-4:] == ["6", "5", "5", "2"]


def test_an_answer_that_comes_while_work_goes_on_does_not_stop_it():
    begun = [SUBMIT, RECEIVE, command("request-supplement", 2), command("progress", 3)]
    ended = live(*begun, command("give-supplement", 4))
    assert ended.state.status == "4"
    assert ended.state.supplements[0].given_at == at(4)


@pytest.mark.parametrize(
    ("left", "asked", "answered"),
    [
        ("request-supplement", "request-fee", "record-fee"),
        ("request-fee", "request-supplement", "give-supplement"),
    ],
)
@pytest.mark.parametrize(("on", "status"), [("progress", "4"), ("receive", "2")])
def test_what_work_went_past_is_not_gone_back_to(left, asked, answered, on, status):
    begun = [SUBMIT, RECEIVE, command(left, 2), command(on, 3), command(asked, 4)]
    assert statuses(*begun, command(answered, 5))[-1] == status


def test_papers_asked_for_after_completion_reopen_a_dossier():
    reopened = live(SUBMIT, RECEIVE, command("complete", 2), command("request-supplement", 3))
    assert reopened.state.finished_at is None
    assert take(reopened, command("give-supplement", 4)).dossier.state.status == "4"


def test_a_fee_asked_for_after_completion_does_not():
    asked = live(SUBMIT, RECEIVE, command("complete", 2), command("request-fee", 3))
    assert (asked.state.status, asked.state.finished_at) == ("6", at(2))
    paid = take(asked, command("record-fee", 4)).dossier
    assert paid.state.status == "9"


def test_work_after_completion_takes_the_end_back():
    reopened = state(SUBMIT, RECEIVE, command("complete", 2), command("progress", 3))
    assert (reopened.status, reopened.finished_at) == ("4", None)


def test_receiving_again_keeps_the_first_time_and_takes_the_new_due_date():
    again = state(SUBMIT, RECEIVE, command("receive", 5, due_at=at(2000)))
    assert (again.received_at, again.due_at, again.receipt_number) == (at(1), at(2000), "BN-1")


def test_a_supplement_and_its_answer():
    asked = command("request-supplement", 2, content="Thiếu bản sao", official=OFFICIAL)
    paper = {"id": "s1", "name": "Bản sao"}
    given = command("give-supplement", 3, documents=[paper], due_at=at(1500))
    ended = state(SUBMIT, RECEIVE, asked, given)
    (supplement,) = ended.supplements
    assert supplement.number == 1
    assert supplement.content == "Thiếu bản sao"
    assert supplement.requested_by == "Lê Văn B"
    assert (supplement.requested_at, supplement.given_at) == (at(2), at(3))
    assert (supplement.due_before, supplement.due_after) == (at(1000), at(1500))
    assert ended.due_at == at(1500)
    assert [one.name for one in supplement.documents] == ["Bản sao"]
    assert ended.documents == ()


def test_one_answer_closes_every_open_request():
    two = [command("request-supplement", 2), command("request-supplement", 3)]
    paper = {"id": "s1", "name": "Bản sao"}
    ended = live(SUBMIT, RECEIVE, *two, command("give-supplement", 4, documents=[paper]))
    assert [one.number for one in ended.state.supplements] == [1, 2]
    assert [one.given_at for one in ended.state.supplements] == [at(4), at(4)]
    assert [len(one.documents) for one in ended.state.supplements] == [0, 1]
    assert ended.state.status == "2"


def test_papers_nobody_asked_for_are_kept_with_the_dossier():
    first = command("submit", documents=[{"id": "1", "name": "Cũ"}, {"id": "2", "name": "Khác"}])
    more = [{"id": "1", "name": "Mới"}, {"id": "3", "name": "Thêm"}]
    ended = state(first, RECEIVE, command("give-supplement", 2, documents=more))
    assert {(one.id, one.name) for one in ended.documents} == {
        ("1", "Mới"),
        ("2", "Khác"),
        ("3", "Thêm"),
    }
    assert ended.status == "2"


def test_a_fee_asked_for_again_is_not_doubled():
    first = [{"code": "A", "name": "Phí", "amount": 1}, {"code": "B", "name": "Phí", "amount": 2}]
    asked = command("request-fee", 2, fees=[{"code": "A", "name": "Phí", "amount": 5}])
    ended = state(command("submit", fees=first), RECEIVE, asked)
    assert {(fee.code, fee.amount) for fee in ended.fees} == {("A", 5), ("B", 2)}


@pytest.mark.parametrize(
    ("payments", "online"), [([True], True), ([False], False), ([True, False], True)]
)
def test_any_part_paid_online_counts(payments, online):
    paid = [command("record-fee", 2 + n, online=one) for n, one in enumerate(payments)]
    assert state(SUBMIT, RECEIVE, *paid).paid_online is online


@pytest.mark.parametrize("kind", ["withdraw", "pause"])
def test_ending_early_says_when_and_why(kind):
    taken = take(live(SUBMIT, RECEIVE), command(kind, 2, reason="Lý do", note="Ghi chú"))
    assert taken.dossier.state.finished_at == at(2)
    assert taken.step.note == "Lý do\nGhi chú"


def test_a_refusal_says_when_and_why():
    taken = take(live(SUBMIT), command("refuse", 2, reason="Sai thẩm quyền"))
    assert taken.dossier.state.refused_at == at(2)
    assert taken.step.note == "Sai thẩm quyền"


def test_a_step_says_who_and_when():
    what = command(
        "progress", 2, official=OFFICIAL, note="Thẩm định", started_at=at(1), due_at=at(9)
    )
    step = take(live(SUBMIT, RECEIVE), what).step
    assert step.official is not None
    assert step.official.model_dump() == OFFICIAL
    assert (step.at, step.started_at, step.due_at) == (at(2), at(1), at(9))
    assert (step.note, step.number, step.kind, step.status) == ("Thẩm định", 3, "progress", "4")


# Results and signatures


def completed(*results):
    return command("complete", 5, results=list(results))


def outcome(request, kind=SignatureCompleted, **fields):
    least = {
        SignatureCompleted: {"file": SIGNED, "serial_number": "5402"},
        SignatureFailed: {"outcome": "rejected-by-user", "reason": "user said no"},
        SignatureHeld: {"reason": "connection lost"},
        SignatureAugmented: {},
    }[kind]
    said = {
        "request_id": request,
        "dossier_code": code(1),
        "agency": AGENCY,
        "document_id": "kq1",
        "at": at(9),
    }
    return kind(**said, **{**least, **fields})


def asked_with(taken: Taken) -> list[SigningRequested]:
    """What one signer each is asked with."""
    return [one for one in taken.signings if isinstance(one, SigningRequested)]


def test_a_result_to_be_signed_is_asked_for_once():
    taken = take(live(SUBMIT, RECEIVE), completed(result("kq1", signed=True), result("kq2")))
    (request,) = asked_with(taken)
    assert (request.dossier_code, request.agency) == (code(1), AGENCY)
    assert (request.document_id, request.file) == ("kq1", FILE)
    assert request.signer.ca_name == "VNPT-CA"
    assert [one.signing for one in taken.dossier.state.results] == ["asked", "none"]


def test_the_request_id_is_the_same_for_the_same_step_and_another_for_another():
    before = live(SUBMIT, RECEIVE)
    one = take(before, completed(result("kq1", signed=True), result("kq2", signed=True)))
    same = take(before, completed(result("kq1", signed=True), result("kq2", signed=True)))
    later = take(
        take(before, command("progress", 3)).dossier, completed(result("kq1", signed=True))
    )
    assert [r.request_id for r in asked_with(one)] == [r.request_id for r in asked_with(same)]
    ids = {r.request_id for r in (*asked_with(one), *asked_with(later))}
    assert len(ids) == 3


def asked_once() -> tuple[Dossier, Taken]:
    taken = take(live(SUBMIT, RECEIVE), completed(result("kq1", signed=True), result("kq2")))
    return taken.dossier, taken


def test_a_signed_result_takes_the_place_of_the_unsigned():
    before, asked = asked_once()
    taken = signatures.record(before, outcome(asked_with(asked)[0].request_id))
    assert taken is not None
    assert isinstance(taken.fact, ResultSigned)
    first, second = taken.dossier.state.results
    assert (first.signing, first.file) == ("signed", SIGNED)
    assert (second.signing, second.file) == ("none", FILE)
    assert taken.step.number == taken.dossier.steps == before.steps + 1
    assert taken.step.status == before.state.status
    assert taken.fact.dossier == taken.dossier.state


def test_an_augmented_result_takes_the_place_of_the_signed_one_and_of_no_other():
    before, asked = asked_once()
    request_id = asked_with(asked)[0].request_id
    better = {"kind": SignatureAugmented, "file": "c" * 64, "level": "b-t"}
    early = outcome(request_id, **better, replaces=SIGNED)
    assert signatures.record(before, early) is None
    signed = signatures.record(before, outcome(request_id))
    assert signed is not None
    taken = signatures.record(signed.dossier, early)
    assert taken is not None
    assert isinstance(taken.fact, ResultSigned)
    assert [one.file for one in taken.dossier.state.results] == ["c" * 64, FILE]
    assert taken.dossier.state.results[0].signing == "signed"
    assert signatures.record(taken.dossier, early) is None
    other = outcome(request_id, **better, replaces="d" * 64)
    assert signatures.record(signed.dossier, other) is None


@pytest.mark.parametrize(
    ("fact", "signing", "words"),
    [
        ({"kind": SignatureFailed, "outcome": "rejected-by-user"}, "failed", "từ chối"),
        ({"kind": SignatureFailed, "outcome": "expired"}, "failed", "quá thời gian"),
        ({"kind": SignatureFailed, "outcome": "failed"}, "failed", "không ký được"),
        ({"kind": SignatureFailed, "outcome": "cancelled"}, "failed", "hủy"),
        ({"kind": SignatureHeld}, "held", "chờ kiểm tra"),
    ],
)
def test_a_result_that_was_not_signed_says_why(fact, signing, words):
    before, asked = asked_once()
    taken = signatures.record(before, outcome(asked_with(asked)[0].request_id, **fact))
    assert taken is not None
    assert isinstance(taken.fact, ResultSigningFailed)
    assert taken.dossier.state.results[0].signing == signing
    assert taken.dossier.state.results[0].file == FILE
    assert taken.step.note is not None
    assert words in taken.step.note


def test_an_outcome_after_the_return_is_recorded():
    before, asked = asked_once()
    returned = take(before, command("return", 6)).dossier
    taken = signatures.record(returned, outcome(asked_with(asked)[0].request_id))
    assert taken is not None
    assert (taken.step.status, taken.dossier.state.status) == ("10", "10")
    assert taken.dossier.state.results[0].signing == "signed"


def test_a_held_signature_may_still_be_decided():
    before, asked = asked_once()
    request = asked_with(asked)[0].request_id
    held = signatures.record(before, outcome(request, SignatureHeld))
    assert held is not None
    assert signatures.record(held.dossier, outcome(request, SignatureHeld)) is None
    signed = signatures.record(held.dossier, outcome(request))
    assert signed is not None
    assert signed.dossier.state.results[0].signing == "signed"


@pytest.mark.parametrize("first", [SignatureCompleted, SignatureFailed])
@pytest.mark.parametrize("second", [SignatureCompleted, SignatureFailed, SignatureHeld])
def test_a_final_outcome_stays(first, second):
    before, asked = asked_once()
    request = asked_with(asked)[0].request_id
    ended = signatures.record(before, outcome(request, first))
    assert ended is not None
    assert signatures.record(ended.dossier, outcome(request, second)) is None


def test_an_outcome_nobody_asked_for_changes_nothing():
    before, asked = asked_once()
    (other,) = asked_with(take(live(SUBMIT), completed(result("kq1", signed=True))))
    assert other.request_id != asked_with(asked)[0].request_id
    assert signatures.record(before, outcome(other.request_id)) is None


def test_a_failed_result_can_be_asked_for_again_and_the_old_request_no_longer_counts():
    before, asked = asked_once()
    old = asked_with(asked)[0].request_id
    held = signatures.record(before, outcome(old, SignatureHeld))
    assert held is not None
    again = take(held.dossier, completed(result("kq1", signed=True)))
    new = asked_with(again)[0].request_id
    assert new != old
    assert signatures.record(again.dossier, outcome(old)) is None
    signed = signatures.record(again.dossier, outcome(new))
    assert signed is not None


# Several signatures on one result


def by_several(many: int = 3, **fields: object) -> Complete:
    """A result that so many have to sign, as a rule has it; and one that nobody does."""
    complete = completed(result("kq1"), result("kq2"))
    first, second = complete.results
    turns = tuple(
        Turn(signer=SigningWish(sealed_user=f"v1.k1.{n}", ca_name="VNPT-CA"), seal=n == many - 1)
        for n in range(many)
    )
    paper = SignedInTurn(**{**dict(first), **fields}, turns=turns)
    changed: Complete = complete.model_copy(update={"results": (paper, second)})
    return changed


def together(taken: Taken) -> SigningWorkflowRequested:
    """What several signers are asked with, and nobody else is."""
    (workflow,) = taken.signings
    assert isinstance(workflow, SigningWorkflowRequested)
    return workflow


def asked_of_several(many: int = 3) -> tuple[Dossier, SigningWorkflowRequested]:
    taken = take(live(SUBMIT, RECEIVE), by_several(many))
    return taken.dossier, together(taken)


def note(taken: Taken) -> str:
    assert taken.step.note is not None
    return taken.step.note


def heard(before: Dossier, *facts) -> tuple[Dossier, list[Taken | None]]:
    answers = []
    for fact in facts:
        answers.append(signatures.record(before, fact))
        before = answers[-1].dossier if answers[-1] else before
    return before, answers


def test_several_are_asked_for_together_and_never_the_first_alone():
    taken = take(live(SUBMIT, RECEIVE), by_several())
    workflow = together(taken)
    assert (workflow.dossier_code, workflow.document_id, workflow.file) == (code(1), "kq1", FILE)
    assert [one.signer.sealed_user for one in workflow.signers] == ["v1.k1.0", "v1.k1.1", "v1.k1.2"]
    assert [one.seal for one in workflow.signers] == [False, False, True]
    assert len({workflow.workflow_id, *(one.request_id for one in workflow.signers)}) == 4
    assert [one.signing for one in taken.dossier.state.results] == ["asked", "none"]


def test_the_ids_of_several_are_the_same_for_the_same_step_and_others_for_another():
    before = live(SUBMIT, RECEIVE)
    one, same = take(before, by_several()), take(before, by_several())
    later = take(take(before, command("progress", 3)).dossier, by_several())
    assert one.signings == same.signings
    ids = {turn.request_id for made in (one, later) for turn in together(made).signers}
    assert len(ids) == 6


def test_a_result_is_signed_when_the_last_has_signed_and_is_what_that_one_left():
    before, workflow = asked_of_several()
    first, second, last = (one.request_id for one in workflow.signers)
    halfway, answers = heard(before, outcome(first, file="c" * 64), outcome(second, file="d" * 64))
    assert answers == [None, None]
    assert halfway == before
    taken = signatures.record(halfway, outcome(last))
    assert taken is not None
    assert isinstance(taken.fact, ResultSigned)
    paper = taken.dossier.state.results[0]
    assert (paper.signing, paper.file) == ("signed", SIGNED)
    better = outcome(last, SignatureAugmented, file="e" * 64, level="b-lt", replaces=SIGNED)
    augmented = signatures.record(taken.dossier, better)
    assert augmented is not None
    assert augmented.dossier.state.results[0].file == "e" * 64


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"outcome": "rejected-by-user"}, "từ chối"),
        ({"outcome": "expired"}, "quá thời gian"),
        ({"outcome": "failed"}, "không ký được"),
        ({"outcome": "cancelled"}, "hủy"),
    ],
)
def test_one_of_several_who_does_not_sign_ends_it_for_all(place, fact, words):
    before, workflow = asked_of_several()
    ids = [one.request_id for one in workflow.signers]
    taken = signatures.record(before, outcome(ids[place], SignatureFailed, **fact))
    assert taken is not None
    assert isinstance(taken.fact, ResultSigningFailed)
    paper = taken.dossier.state.results[0]
    assert (paper.signing, paper.file) == ("failed", FILE)
    assert f"chữ ký thứ {place + 1} trong 3" in note(taken)
    assert words in note(taken)
    cancelled = [outcome(one, SignatureFailed, outcome="cancelled") for one in ids[place + 1 :]]
    _, answers = heard(taken.dossier, *cancelled, *map(outcome, ids))
    assert set(answers) <= {None}  # whoever comes late changes nothing


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_of_several_who_is_held_is_decided_by_an_operator(place):
    before, workflow = asked_of_several()
    ids = [one.request_id for one in workflow.signers]
    held = signatures.record(before, outcome(ids[place], SignatureHeld))
    assert held is not None
    assert held.dossier.state.results[0].signing == "held"
    assert f"chữ ký thứ {place + 1} trong 3" in note(held)
    signed, _ = heard(held.dossier, *map(outcome, ids[place:]))
    assert (signed.state.results[0].signing, signed.state.results[0].file) == ("signed", SIGNED)
    given_up = signatures.record(held.dossier, outcome(ids[place], SignatureFailed))
    assert given_up is not None
    assert given_up.dossier.state.results[0].signing == "failed"


def test_what_comes_late_of_those_before_does_not_touch_the_signed_result():
    before, workflow = asked_of_several()
    first, second, last = (one.request_id for one in workflow.signers)
    signed, _ = heard(before, outcome(last))
    late = [
        outcome(first, SignatureHeld),
        outcome(second, SignatureFailed),
        outcome(first, SignatureAugmented, file="c" * 64, level="b-t", replaces=SIGNED),
    ]
    after, answers = heard(signed, *late)
    assert (after, answers) == (signed, [None] * 3)


def test_several_signers_of_a_result_that_was_asked_for_again_no_longer_count():
    before, workflow = asked_of_several()
    ids = [one.request_id for one in workflow.signers]
    held, _ = heard(before, outcome(ids[0], SignatureHeld))
    again = take(held, by_several(2)).dossier
    same, answers = heard(
        again, outcome(ids[1], SignatureFailed), outcome(ids[2]), outcome(ids[0], SignatureHeld)
    )
    assert (same, answers) == (again, [None] * 3)


def test_a_result_that_several_sign_cannot_be_replaced_meanwhile():
    before, _ = asked_of_several()
    assert refused(before, completed(result("kq1"))).problem.slug == "step-not-possible"


def test_a_result_that_several_sign_needs_a_file():
    assert refused(live(SUBMIT, RECEIVE), by_several(file=None)).problem.slug == "invalid-results"


def test_a_seal_alone_is_a_workflow_of_one():
    before, workflow = asked_of_several(1)
    (only,) = workflow.signers
    taken = signatures.record(before, outcome(only.request_id, SignatureFailed))
    assert taken is not None
    assert "chữ ký thứ" not in note(taken)
    signed, _ = heard(before, outcome(only.request_id))
    assert signed.state.results[0].signing == "signed"


def refused(before: Dossier, what: Command) -> Refusal:
    answer = steps.obey(TABLE, before, what, code=code(1), agency=AGENCY)
    assert isinstance(answer, Refusal), answer
    return answer


def test_a_result_cannot_be_replaced_while_somebody_is_asked_to_sign_it():
    before, _ = asked_once()
    problem = refused(before, completed(result("kq1"))).problem
    assert (problem.status, problem.slug) == (409, "step-not-possible")
    assert take(before, completed(result("kq2"))).step.flagged == "already-completed"


def test_results_that_contradict_each_other_are_refused():
    body = refused(
        live(SUBMIT, RECEIVE),
        completed(result("kq1"), result("kq2", signed=True, file=None), result("kq1")),
    ).problem.body()
    assert (body["status"], body["type"]) == (422, "urn:lienthong:problem:invalid-results")
    assert [fault["pointer"] for fault in body["errors"]] == [
        "/results/0/id",
        "/results/1/file",
        "/results/2/id",
    ]
    assert all(fault["detail"] and fault["detail_en"] for fault in body["errors"])


def test_a_refusal_tells_in_both_languages():
    body = refused(live(SUBMIT, command("refuse", 1)), command("receive", 2)).problem.body()
    assert body["type"] == "urn:lienthong:problem:dossier-closed"
    assert body["status"] == 409
    assert "Không được tiếp nhận" in body["detail"]
    assert "not accepted" in body["detail_en"]
    assert body["title"] != body["title_en"]
