"""What an answer of the portal makes of each item of a call."""

from collections.abc import Sequence
from typing import Any

import pytest

from common.contracts.dossier import DossierProgressed
from common.delivery import Ability, Claimed, Line, Outcome, Result
from common.envelope import decode
from national_portal_sync.clients.answers import Answer, read
from national_portal_sync.clients.portal import LoginRefused, NoAnswer, NotTaken
from national_portal_sync.clients.portals import Connected
from national_portal_sync.consumers import items_of
from national_portal_sync.store import disclosures
from national_portal_sync.store import known as store
from national_portal_sync.use_cases import synchronisation
from national_portal_sync.use_cases.synchronisation import Synchronisation
from tests.support.portal import KEYS, account_at, code_of, envelope, fact

R = Result


class Portal:
    """A portal that gives the answers it is told to give, in order, and keeps what it was sent."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[Any] = []

    async def _next(self, *sent: Any) -> Answer:
        self.sent.append(sent)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return read(answer)

    async def sync(self, items: Sequence[Any], *, update: bool) -> Answer:
        return await self._next("sync", update, [item["MaHoSo"] for item in items])

    async def progress(self, items: Sequence[Any]) -> Answer:
        return await self._next("progress", [item["MaHoSo"] for item in items])

    async def look_up(self, code: str) -> Answer:
        return await self._next("look up", code)


def claimed(number: int, kind: str = "dossier", **changed: Any) -> Claimed:
    code = code_of(number)
    told = fact(code, 3, DossierProgressed, "4")
    (item,) = [one for one in items_of(decode(envelope(told, code, 3))) if one.kind == kind]
    values: dict[str, Any] = {
        "id": number,
        "agency": item.agency,
        "subject": code,
        "kind": kind,
        "key": item.key,
        "version": item.version,
        "body": item.body,
        "traceparent": None,
        "attempts": 1,
        "asking": False,
        "asked_version": None,
        "maybe_doubled": False,
        **changed,
    }
    return Claimed(**values)


class Case:
    """The adapter with a portal's double; ``has`` are the numbers of the dossiers it knows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any, has: Any = ()) -> None:
        self.portal = Portal(*answers)
        account = account_at("http://portal")
        self.account = Connected(account, self.portal, Line("default", 4))  # type: ignore[arg-type]
        self.adapter = Synchronisation(self, KEYS, batch=100, parallel=4)
        self.learnt: list[store.Learnt] = []
        self.steps: list[store.StepSent] = []

        async def known(_: Any, codes: Sequence[str]) -> set[str]:
            return {code for code in codes if code in {code_of(number) for number in has}}

        async def learn(_: Any, learnt: Sequence[store.Learnt]) -> None:
            self.learnt += learnt

        async def note_steps(_: Any, steps: Sequence[store.StepSent]) -> None:
            self.steps += steps

        async def keep(_: Any, taken: Any) -> None:
            pass

        monkeypatch.setattr(synchronisation, "keep_snapshots", keep)
        monkeypatch.setattr(disclosures, "note", keep)
        monkeypatch.setattr(store, "known", known)
        monkeypatch.setattr(store, "learn", learn)
        monkeypatch.setattr(store, "note_steps", note_steps)

    def of(self, agency: str) -> Connected | None:
        return self.account

    async def run(self, *items: Claimed, ask: bool = False) -> list[Outcome]:
        await self.adapter.prepare(None, items)  # type: ignore[arg-type]
        outcomes = await (self.adapter.ask if ask else self.adapter.send)(items)
        await self.adapter.settled(None, list(zip(items, outcomes, strict=True)))  # type: ignore[arg-type]
        assert self.adapter._forms == {}
        return list(outcomes)


def results(outcomes: Sequence[Outcome]) -> list[Result]:
    return [outcome.result for outcome in outcomes]


def says(code: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"error_code": code, "message": message, **more}


def exists(*numbers: int) -> dict[str, Any]:
    return says("3", f"Hồ sơ {', '.join(code_of(number) for number in numbers)} đã tồn tại")


def missing(number: int) -> dict[str, Any]:
    return says("-1", f"Hồ sơ {code_of(number)} không tồn tại")


async def test_creates_and_updates_go_in_calls_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(monkeypatch, has=[2])
    items = [claimed(1), claimed(2), claimed(3), claimed(3, "step")]
    await case.adapter.prepare(None, items)  # type: ignore[arg-type]
    one, two, three, step = (case.adapter.group(item) for item in items)
    assert one == three
    assert len({one, two, step}) == 3
    assert case.adapter.ability("dossier") is Ability.LOOK_UP
    assert case.adapter.ability("step") is Ability.NONE


@pytest.mark.parametrize("known", [True, False])
async def test_done_is_noted_with_what_was_sent(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    case = Case(monkeypatch, says("0"), has=[1] if known else [])
    item = claimed(1)
    assert results(await case.run(item)) == [R.DONE]
    assert case.portal.sent == [("sync", known, [code_of(1)])]
    assert case.learnt == [store.Learnt(code_of(1), "H10.15", True, item.version, "4", "default")]


@pytest.mark.parametrize(
    ("answer", "has", "wanted", "learnt"),
    [
        (exists(1), (), R.AGAIN, [True]),
        (exists(1), (1,), R.REFUSED, []),
        (missing(1), (1,), R.AGAIN, [False]),
        (missing(1), (), R.REFUSED, []),
        (says("-2", "data[0].MaTTHC: sai"), (), R.REFUSED, []),
        (says("0", "không thành công"), (), R.UNKNOWN, []),
        (says("", ""), (1,), R.UNKNOWN, []),
        (says("", "Cập nhật thành công"), (1,), R.DONE, [True]),
    ],
)
async def test_what_is_said_of_a_dossier_alone(
    monkeypatch: pytest.MonkeyPatch, answer: Any, has: Any, wanted: Result, learnt: list[bool]
) -> None:
    case = Case(monkeypatch, answer, has=has)
    assert results(await case.run(claimed(1))) == [wanted]
    assert [one.known for one in case.learnt] == learnt


async def test_a_portal_that_says_yes_and_no_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(monkeypatch, exists(1))
    (outcome,) = await case.run(claimed(1, attempts=20))
    assert outcome.result is R.REFUSED


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (exists(2), [R.WHOLE, R.AGAIN, R.WHOLE]),
        (exists(1, 2, 3), [R.AGAIN] * 3),
        (says("3", "Hồ sơ đã tồn tại"), [R.WHOLE] * 3),
        (says("-2", f"Hồ sơ {code_of(2)}: sai"), [R.WHOLE] * 3),
        (missing(2), [R.WHOLE, R.REFUSED, R.WHOLE]),
        (says("0", "thất bại"), [R.UNKNOWN] * 3),
        (
            says("0", result=[{"MaHoSo": code_of(2), **says("3", "đã tồn tại")}]),
            [R.UNKNOWN, R.AGAIN, R.UNKNOWN],
        ),
        (
            says(
                "-2",
                "một phần",
                result=[
                    {"MaHoSo": code_of(1), **says("0")},
                    {"MaHoSo": code_of(2), **says("-2", "sai")},
                    {"MaHoSo": code_of(3), **says("00")},
                ],
            ),
            [R.DONE, R.REFUSED, R.DONE],
        ),
        (says("0", result=[]), [R.DONE] * 3),
    ],
)
async def test_what_is_said_of_dossiers_together(
    monkeypatch: pytest.MonkeyPatch, answer: Any, wanted: list[Result]
) -> None:
    case = Case(monkeypatch, answer)
    assert results(await case.run(claimed(1), claimed(2), claimed(3))) == wanted


@pytest.mark.parametrize(
    ("answer", "attempts", "wanted", "learnt"),
    [
        (says("0"), 1, R.DONE, []),
        (says("3", "Tiến độ đã tồn tại"), 1, R.DONE, []),
        (missing(1), 1, R.RETRY, [False]),
        (missing(1), 20, R.REFUSED, [False]),
        (says("-2", "sai"), 1, R.REFUSED, []),
    ],
)
async def test_what_is_said_of_a_step(
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    attempts: int,
    wanted: Result,
    learnt: list[bool],
) -> None:
    case = Case(monkeypatch, answer)
    assert results(await case.run(claimed(1, "step", attempts=attempts))) == [wanted]
    assert [one.known for one in case.learnt] == learnt
    assert len(case.steps) == (wanted is R.DONE)


async def test_a_step_of_a_lost_dossier_does_not_hold_its_call_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(monkeypatch, missing(2))
    outcomes = await case.run(claimed(1, "step"), claimed(2, "step"))
    assert results(outcomes) == [R.WHOLE, R.WHOLE]


async def test_a_doubtful_step_is_noted_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(monkeypatch, says("0"))
    await case.run(claimed(1, "step", maybe_doubled=True), claimed(2, "step"))
    assert [(step.number, step.maybe_doubled) for step in case.steps] == [(3, True), (3, False)]


@pytest.mark.parametrize(
    ("trouble", "wanted", "pause", "down"),
    [
        (NotTaken("HTTP 503", 7.0), R.RETRY, 7.0, False),
        (NotTaken("ConnectError"), R.RETRY, None, True),
        (LoginRefused("login: refused (-1)"), R.RETRY, 0.0, False),
        (NoAnswer("ReadTimeout"), R.UNKNOWN, None, True),
    ],
)
@pytest.mark.parametrize("kind", ["dossier", "step"])
async def test_trouble_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    trouble: Exception,
    wanted: Result,
    pause: float | None,
    down: bool,
) -> None:
    case = Case(monkeypatch, trouble)
    for outcome in await case.run(claimed(1, kind), claimed(2, kind)):
        assert (outcome.result, outcome.pause, outcome.partner_down) == (wanted, pause, down)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"\xff",
        claimed(9).body.replace(b'"v1.k1.', b'"v1.k2.'),
        claimed(9).body,
    ],
    ids=["empty", "no JSON", "another key", "sealed for another dossier"],
)
async def test_what_cannot_be_converted_is_held_and_the_rest_goes(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    body = body.replace(code_of(9).encode(), code_of(2).encode())
    case = Case(monkeypatch, says("0"))
    outcomes = await case.run(claimed(1), claimed(2, body=body), claimed(3))
    assert results(outcomes) == [R.DONE, R.REFUSED, R.DONE]
    assert (outcomes[1].reason or "").startswith("not convertible: ")
    assert case.portal.sent == [("sync", False, [code_of(1), code_of(3)])]


@pytest.mark.parametrize(
    ("answer", "has", "wanted", "learnt", "calls"),
    [
        (says("0", result=[{"MaHoSo": code_of(1)}]), (), R.AGAIN, [True], 1),
        (says("0", result=[]), (), R.NOT_THERE, [], 1),
        (says("-4", "Dịch vụ không được hỗ trợ"), (), R.UNKNOWN, [], 1),
        (NotTaken("ConnectError"), (), R.UNKNOWN, [], 1),
        (NoAnswer("ReadTimeout"), (), R.UNKNOWN, [], 1),
        (None, (1,), R.AGAIN, [], 0),
    ],
)
async def test_what_became_of_a_create_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    has: Any,
    wanted: Result,
    learnt: list[bool],
    calls: int,
) -> None:
    case = Case(monkeypatch, answer, has=has)
    assert results(await case.run(claimed(1, asking=True), ask=True)) == [wanted]
    assert [one.known for one in case.learnt] == learnt
    assert len(case.portal.sent) == calls


async def test_a_portal_that_does_not_answer_is_not_asked_a_hundred_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case(monkeypatch, *[NoAnswer("ReadTimeout")] * 4)
    outcomes = await case.run(*(claimed(number, asking=True) for number in range(100)), ask=True)
    assert set(results(outcomes)) == {R.UNKNOWN}
    assert len(case.portal.sent) <= 4
