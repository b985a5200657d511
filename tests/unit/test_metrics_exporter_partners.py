"""What an answer of the monitoring system means, and in which order records go out."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from common.delivery import Claimed, Outcome, Result
from metrics_exporter.clients import Emc, Tracker

Answer = Callable[[httpx.Request], httpx.Response]


def item(number: int, subject: str = "D1", **changed: Any) -> Claimed:
    known: dict[str, Any] = {
        "id": number,
        "agency": "H10",
        "subject": subject,
        "kind": "record",
        "key": f"{subject}/{number}",
        "version": 1,
        "body": f"{subject}/{number}".encode(),
        "traceparent": None,
        "attempts": 1,
        "asking": False,
        "asked_version": None,
        "maybe_doubled": False,
    }
    return Claimed(**{**known, **changed})


async def _unused(*_: Any) -> None:
    raise AssertionError("settled by the deliverer, not by the call")


async def sent(
    items: Sequence[Claimed], answer: Answer, partner: str = "emc", parallel: int = 4
) -> Sequence[Outcome]:
    http = httpx.MockTransport(answer)
    if partner == "emc":
        return await Emc(http, "http://emc", parallel, 5, _unused).send(items)
    return await Tracker(http, "http://emc", 5, _unused).send(items)


def always(status: int, body: str = "", **headers: str) -> Answer:
    return lambda _: httpx.Response(status, text=body, headers=headers)


@pytest.mark.parametrize(
    ("status", "headers", "result", "pause"),
    [
        (200, {}, Result.DONE, None),
        (201, {}, Result.DONE, None),
        (302, {"location": "/login"}, Result.RETRY, None),
        (400, {}, Result.REFUSED, None),
        (401, {}, Result.RETRY, None),
        (404, {}, Result.RETRY, None),
        (413, {}, Result.REFUSED, None),
        (422, {}, Result.REFUSED, None),
        (429, {"retry-after": "7"}, Result.RETRY, 7),
        (429, {}, Result.RETRY, 5),
        (500, {}, Result.UNKNOWN, None),
        (502, {}, Result.UNKNOWN, None),
        (503, {"retry-after": "7"}, Result.RETRY, 7),
        (503, {}, Result.RETRY, None),
        (504, {}, Result.UNKNOWN, None),
    ],
)
async def test_the_status_is_the_answer(status, headers, result, pause):
    (outcome,) = await sent([item(1)], always(status, **headers))
    assert (outcome.result, outcome.pause) == (result, pause)


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("<html><body>502 Bad Gateway</body></html>", Result.UNKNOWN),
        ("\n <!DOCTYPE html><title>Bảo trì</title>", Result.UNKNOWN),
        ("OK", Result.DONE),
        ("<response>1</response>", Result.DONE),
        ('{"status": 1}', Result.DONE),
    ],
)
async def test_a_page_for_people_is_not_the_receivers_answer(body: str, result: Result) -> None:
    """Whoever stands in front of it said something, with whatever status."""
    (outcome,) = await sent([item(1)], always(200, body))
    assert outcome.result is result


async def test_an_answer_that_breaks_off_after_a_good_status_is_an_answer():
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b'{"sta'
            raise httpx.ReadError("gone")

    (outcome,) = await sent([item(1)], lambda _: httpx.Response(200, stream=Broken()))
    assert outcome.result is Result.DONE


async def test_a_call_without_an_answer_is_of_unknown_outcome():
    def lost(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone", request=request)

    (outcome,) = await sent([item(1)], lost)
    assert (outcome.result, outcome.partner_down) == (Result.UNKNOWN, True)


async def test_records_of_a_dossier_keep_their_order_and_wait_behind_a_failure():
    seen: list[str] = []

    def third_fails(request: httpx.Request) -> httpx.Response:
        seen.append(request.content.decode())
        return httpx.Response(400 if seen[-1] == "D1/2" else 200)

    items = [item(1), item(2), item(3), item(4), item(5, "D2"), item(6, "D2")]
    outcomes = await sent(items, third_fails)
    assert [outcome.result for outcome in outcomes] == [
        Result.DONE,
        Result.REFUSED,
        Result.RETRY,
        Result.RETRY,
        Result.DONE,
        Result.DONE,
    ]
    assert [text for text in seen if text.startswith("D1")] == ["D1/1", "D1/2"]
    assert [text for text in seen if text.startswith("D2")] == ["D2/5", "D2/6"]
    assert outcomes[2].pause == 0  # costs no attempt


async def test_a_partner_that_asks_for_patience_is_asked_nothing_more():
    calls = 0

    def busy(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(429, headers={"retry-after": "30"})

    outcomes = await sent([item(n, f"D{n}") for n in range(60)], busy)
    assert {outcome.result for outcome in outcomes} == {Result.RETRY}
    assert calls <= 4  # those that were under way
    assert sum(outcome.pause == 30 for outcome in outcomes) == calls


async def test_a_partner_that_is_down_is_given_up_after_a_few_calls():
    calls = 0

    def down(_: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(502)

    outcomes = await sent([item(n, f"D{n}") for n in range(60)], down)
    assert calls <= 3 + 4
    assert any(outcome.partner_down for outcome in outcomes)
    assert sum(outcome.result is Result.UNKNOWN for outcome in outcomes) == calls


async def test_one_bad_record_does_not_count_against_the_partner():
    def one_fails(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500 if request.content == b"D3/3" else 200)

    outcomes = await sent([item(n, f"D{n}") for n in range(10)], one_fails)
    assert sum(outcome.result is Result.DONE for outcome in outcomes) == 9
    assert not any(outcome.partner_down for outcome in outcomes)


@pytest.mark.parametrize(
    ("status", "body", "result", "gap"),
    [
        (200, '{"status":"success","tracked":2,"invalid":0}', Result.DONE, False),
        (200, "GIF89a", Result.DONE, False),
        (200, '{"status":"success","tracked":1,"invalid":1}', Result.DONE, True),
        (400, '{"status":"error","tracked":0,"invalid":2}', Result.REFUSED, False),
        (400, '{"status":"error","tracked":1,"invalid":1}', Result.DONE, True),
        (400, "not JSON", Result.DONE, True),
        (400, "[]", Result.DONE, True),
        (500, "", Result.DONE, True),
        (504, "", Result.DONE, True),
        (429, "", Result.RETRY, False),
        (503, "", Result.RETRY, False),
        (401, "", Result.RETRY, False),
    ],
)
async def test_counts_that_may_have_arrived_are_a_gap_and_others_are_sent_again(
    status, body, result, gap
):
    (outcome,) = await sent([item(1)], always(status, body), "tracker")
    assert outcome.result is result
    if result is Result.DONE:
        assert (outcome.reason is not None) == gap


async def test_counts_of_an_interrupted_call_are_not_sent_again():
    def unexpected(_: httpx.Request) -> httpx.Response:
        raise AssertionError("sent a second time")

    (outcome,) = await sent([item(1, asking=True, maybe_doubled=True)], unexpected, "tracker")
    assert outcome.result is Result.DONE
    assert outcome.reason


async def test_a_reason_is_short_and_printable():
    (outcome,) = await sent([item(1)], always(400, "x\x00\x1b[31m\n" + "y" * 100_000))
    assert outcome.reason is not None
    assert outcome.reason.startswith("HTTP 400 x")
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < 220
