"""The conformance kit judges a client system by what came over the wire."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import orjson
import pytest

from backbone.conformance import disturbances as kinds
from backbone.conformance.disturbances import Disturbances
from backbone.conformance.exchanges import Exchange, answered, asked
from backbone.conformance.report import Verdict, exit_code, judged
from backbone.sandbox import next_erasure

CODE = "H49-261122-0001"


class Wire:
    """What came, request by request, a second apart."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.now = 100.0

    def send(
        self,
        body: dict[str, Any] | None = None,
        *,
        code: str | None = None,
        path: str = "",
        key: str | None = None,
        token: str = "t1",
        disturbed: str | None = None,
        status: int | None = 202,
        answer: dict[str, Any] | None = None,
        after: float = 1.0,
    ) -> Exchange:
        """A request, answered a tenth of a second later unless it was lost."""
        self.now += after
        method = "POST" if body is not None else "GET"
        path = path or (f"/v1/dossiers/{code}/steps" if code else "/v1/dossiers")
        headers = {"authorization": f"Bearer {token}"}
        if key:
            headers["idempotency-key"] = key
        content = orjson.dumps(body) if body is not None else b""
        one = asked(len(self.exchanges) + 1, self.now, method, path, headers, content)
        one.disturbed = disturbed
        if disturbed in (kinds.BUSY, kinds.TOO_MANY):
            one.retry_after = 3.0
        if disturbed in (None, kinds.LOST_ANSWER, kinds.NEW_MEMBER) and status is not None:
            told = answer or {"submission_id": f"s{one.number}", "state": "pending"}
            answered(one, status, orjson.dumps(told))
        lost = disturbed in (kinds.LOST_ANSWER, kinds.LOST_REQUEST)
        if not lost and status is not None:
            one.status, one.answered_at = status, self.now + 0.1
        self.exchanges.append(one)
        return one

    def submit(self, **changed: Any) -> Exchange:
        return self.send({"code": CODE, "summary": "x"}, **changed)

    def step(self, kind: str = "receive", key: str = "k1", **changed: Any) -> Exchange:
        return self.send({"kind": kind}, code=CODE, key=key, **changed)

    def verdict(self, name: str) -> Verdict:
        return next(one for one in judged(self.exchanges) if one.of.name == name)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.mark.parametrize("lost", [kinds.LOST_ANSWER, kinds.LOST_REQUEST])
def test_what_was_not_answered_is_to_come_again(wire: Wire, lost: str) -> None:
    wire.submit(disturbed=lost)
    assert wire.verdict("repeats-what-was-not-answered").state == "not met"
    wire.submit()
    assert wire.verdict("repeats-what-was-not-answered").state == "met"


def test_other_content_is_no_repetition(wire: Wire) -> None:
    wire.submit(disturbed=kinds.LOST_ANSWER)
    wire.send({"code": CODE, "summary": "y"})
    assert wire.verdict("repeats-what-was-not-answered").state == "not met"


def test_a_key_may_come_again_only_with_its_request(wire: Wire) -> None:
    wire.step("receive", "k1")
    wire.step("receive", "k1")
    assert wire.verdict("one-key-for-one-request").state == "met"
    wire.step("progress", "k1")
    assert wire.verdict("one-key-for-one-request").state == "not met"


@pytest.mark.parametrize(("waited", "state"), [(3.2, "met"), (1.0, "not met")])
def test_retry_after_is_to_be_waited_for(wire: Wire, waited: float, state: str) -> None:
    wire.submit(disturbed=kinds.BUSY, status=503)
    wire.submit(after=waited)
    assert wire.verdict("waits-as-it-is-told").state == state


def test_a_busy_server_is_no_reason_to_give_up(wire: Wire) -> None:
    wire.submit(disturbed=kinds.TOO_MANY, status=429)
    assert wire.verdict("waits-as-it-is-told").state == "not met"


def test_a_step_has_to_wait_for_the_answer_to_the_one_before(wire: Wire) -> None:
    wire.submit(disturbed=kinds.LOST_ANSWER)
    wire.step()
    assert wire.verdict("keeps-the-order-of-a-dossier").state == "not met"


def test_steps_behind_answers_are_in_order_also_after_a_repetition(wire: Wire) -> None:
    wire.submit(disturbed=kinds.LOST_ANSWER)
    wire.submit()
    wire.step()
    wire.step("progress", "k2")
    assert wire.verdict("keeps-the-order-of-a-dossier").state == "met"


def test_every_outcome_is_to_be_learned(wire: Wire) -> None:
    taken = wire.submit()
    assert wire.verdict("learns-every-outcome").state == "not met"
    told = {"submission_id": taken.submission, "state": "applied"}
    wire.send(path=f"/v1/submissions/{taken.submission}", status=200, answer=told)
    assert wire.verdict("learns-every-outcome").state == "met"


def test_an_outcome_may_be_learned_from_a_page_or_at_once(wire: Wire) -> None:
    taken = wire.submit()
    page = {"items": [{"submission_id": taken.submission, "state": "refused"}], "next": None}
    wire.send(path="/v1/submissions", status=200, answer=page)
    wire.step(status=200, answer={"submission_id": "s9", "state": "applied"})
    assert wire.verdict("learns-every-outcome").state == "met"


def test_what_was_refused_must_not_come_again_unchanged(wire: Wire) -> None:
    refusal = {"type": "urn:lienthong:problem:invalid-content"}
    wire.submit(status=422, answer=refusal)
    wire.send({"code": CODE, "summary": "corrected"})
    assert wire.verdict("corrects-what-was-refused").state == "met"
    wire.submit(status=422, answer=refusal)
    assert wire.verdict("corrects-what-was-refused").state == "not met"


@pytest.mark.parametrize(("token", "state"), [("t2", "met"), ("t1", "not met")])
def test_a_refused_token_is_to_be_renewed(wire: Wire, token: str, state: str) -> None:
    wire.submit(disturbed=kinds.OLD_TOKEN, status=401)
    wire.submit(token=token)
    assert wire.verdict("renews-its-token").state == state


def test_a_new_member_in_an_answer_must_not_stop_the_system(wire: Wire) -> None:
    wire.submit(disturbed=kinds.NEW_MEMBER)
    assert wire.verdict("reads-on-over-new-members").state == "not met"
    wire.step()
    assert wire.verdict("reads-on-over-new-members").state == "met"


def test_a_request_for_supplements_is_to_be_followed_up(wire: Wire) -> None:
    wire.submit()
    wire.step("request-supplement")
    assert wire.verdict("follows-supplements").state == "not met"
    wire.step("give-supplement", "k2")
    assert wire.verdict("follows-supplements").state == "met"


def test_what_was_not_seen_is_neither_met_nor_not(wire: Wire) -> None:
    assert {one.state for one in judged([])} == {"not seen"}
    assert exit_code(judged([])) == 3
    wire.submit(disturbed=kinds.LOST_ANSWER)
    assert exit_code(judged(wire.exchanges)) == 1


def test_nothing_personal_and_no_token_is_written_down(wire: Wire) -> None:
    one = wire.send({"code": CODE, "applicant": {"name": "Nguyễn Thị Bưởi"}}, token="very-secret")
    assert "Bưởi" not in repr(one)
    assert "very-secret" not in repr(one)


def test_each_kind_of_disturbance_strikes_a_few_times_and_repetitions_are_left_in_peace(
    wire: Wire,
) -> None:
    disturb = Disturbances(times=2)
    seen = [disturb.choose(wire.submit(), repeated=False) for _ in range(60)]
    struck = [kind for kind in seen if kind]
    assert sorted(struck) == sorted(2 * list(kinds.EVERY_KIND))
    assert Disturbances().choose(wire.submit(), repeated=True) is None
    reads: list[Callable[[], Exchange]] = [lambda: wire.send(path="/v1/submissions", status=200)]
    assert all(Disturbances().choose(read(), repeated=False) is None for read in reads * 9)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-21T18:59:00+00:00", "2026-11-21T19:00:00+00:00"),  # 01:59 in Vietnam
        ("2026-11-21T19:00:00+00:00", "2026-11-22T19:00:00+00:00"),
        ("2026-11-22T05:00:00+00:00", "2026-11-22T19:00:00+00:00"),
    ],
)
def test_the_sandbox_is_made_anew_at_night_in_vietnam(now: str, then: str) -> None:
    found = next_erasure(datetime.fromisoformat(now), time(2))
    assert found.astimezone(UTC).isoformat() == then
