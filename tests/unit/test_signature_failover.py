"""Another provider serves only while nobody can have been asked; and how long is waited."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from common.settings import TelemetrySettings
from common.telemetry import Telemetry
from signature_connector.domain.provider import (
    Abilities,
    Accepted,
    Credentials,
    NeverSent,
    Reply,
    Unavailable,
    Unclear,
)
from signature_connector.domain.requests import Request, State, Step, moved
from signature_connector.domain.waiting import Patience, pause
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.presence import Presence
from signature_connector.use_cases.providers import Always, Call
from signature_connector.use_cases.signers import Signers
from signature_connector.use_cases.steps import Steps
from tests.unit.test_signature_states import (
    CREDENTIAL,
    KEYS,
    Examiner,
    Files,
    Provider,
    step_of,
    wish,
)

LATER = Abilities(signs="files", waits=False, confirms="any")


def steps_with(*providers: Provider) -> Steps:
    return Steps(
        Always(providers),
        Files(),
        Examiner(),
        KEYS,
        file_limit=1000,
        patience=timedelta(hours=72),
    )


def provider(name: str, **answers: Any) -> Provider:
    listed = Credentials([CREDENTIAL], Reply("200"))
    given = {"abilities": LATER, "lists": listed, "signs": Accepted("S1", Reply("200"))}
    return Provider(name=name, **{**given, **answers})


async def run(steps: Steps, request: Request, times: int = 12) -> Request:
    """Until it waits for a person, or for another try."""
    order = None
    for _ in range(times):
        taken = await steps.take(request, order)
        order, step = taken.order, step_of(taken)
        request = moved(request, step)
        if step.wait is not None and step.wait > 0:
            break
        if request.state in (State.MANUAL_REVIEW, State.FAILED):
            break
    return request


async def test_one_that_is_away_is_passed_over() -> None:
    first, second = provider("first", lists=Unavailable("HTTP 503")), provider("second")
    request = await run(steps_with(first, second), wish())
    assert (request.state, request.provider) == (State.AWAITING_USER, "second")
    assert first.orders == []


async def test_a_call_that_never_left_goes_to_the_other() -> None:
    first, second = provider("first", signs=NeverSent("ConnectError")), provider("second")
    request = await run(steps_with(first, second), wish())
    assert (request.state, request.provider) == (State.AWAITING_USER, "second")
    assert (request.submissions, len(second.orders)) == (2, 1)
    assert first.orders[0].outgoing_id != second.orders[0].outgoing_id


async def test_a_call_that_may_have_arrived_goes_to_nobody_else() -> None:
    first, second = provider("first", signs=Unclear("HTTP 502")), provider("second")
    request = await run(steps_with(first, second), wish())
    assert (request.state, request.provider) == (State.UNKNOWN, "first")
    assert second.orders == []


async def test_one_that_keeps_failing_is_left_alone_and_leaves_no_trace() -> None:
    steps = steps_with(provider("only", lists=Unavailable("HTTP 503")))
    request = wish()
    for _ in range(5):
        request = moved(request, step_of(await steps.take(request, None)))
    taken = await steps.take(request, None)
    assert taken.step is None
    assert taken.put_off > 0


async def test_a_level_that_nobody_can_reach_here_is_refused_before_anybody_is_asked() -> None:
    only = provider("only")
    demanded = wish(profile="pades-b-t", options='{"augment":"required"}')
    request = await run(steps_with(only), demanded)
    assert request.state is State.FAILED
    assert only.orders == []


NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "seconds"), [(0, 3), (4, 3), (12, 3), (40, 10), (80, 20), (200, 30), (295, 5)]
)
def test_a_provider_is_asked_rarer_the_longer_it_takes(age: float, seconds: float) -> None:
    asked_at = NOW - timedelta(seconds=age)
    assert pause(asked_at, asked_at + timedelta(seconds=300), NOW) == pytest.approx(seconds)


def test_waiting_ends_when_the_provider_says_so_and_never_later_than_we_do() -> None:
    patience = Patience()
    ours = NOW + timedelta(seconds=300)
    assert patience.until(NOW, None) == ours
    assert patience.until(NOW, NOW + timedelta(hours=1)) == ours
    assert patience.until(NOW, NOW + timedelta(seconds=60)) == NOW + timedelta(seconds=60)


def test_the_same_wish_is_told_from_another() -> None:
    one = wish()
    assert one.same_wish(replace(one, state=State.PREPARED))
    for changed in ({"profile": "pades-b-t"}, {"options": '{"reason":"x"}'}, {"place": 1}):
        assert not one.same_wish(replace(one, **changed))


async def failing(steps: Steps, request: Request, times: int = 5) -> Request:
    """After so many failures in a row a provider is only tried now and then."""
    for _ in range(times):
        request = moved(request, step_of(await steps.take(request, None)))
    return request


def rested(steps: Steps, call: Call) -> float:
    """What is left to wait for when the pause is over."""
    gate = steps.gates.of("only")
    assert gate.breakers[call].open
    gate.breakers[call]._closed_until = 0.0
    return gate.closed(call)


async def test_a_trial_that_ended_in_an_error_of_ours_does_not_keep_the_next_one_waiting() -> None:
    only = provider("only", lists=Unavailable("HTTP 503"))
    steps = steps_with(only)
    request = await failing(steps, wish())
    assert rested(steps, "credentials") == 0

    only.lists = RuntimeError("a mistake of ours")
    await steps.take(request, None)
    assert rested(steps, "credentials") == 0


async def test_a_trial_order_that_cannot_be_put_together_frees_the_next() -> None:
    steps = steps_with(provider("only"))
    prepared = moved(wish(), step_of(await steps.take(wish(), None)))
    gate = steps.gates.of("only")
    for _ in range(5):
        gate.record("submit", True)
    assert rested(steps, "submit") == 0

    unreadable = replace(prepared, sealed_user="k1:nothing")
    assert (await steps.take(unreadable, None)).order is None
    assert rested(steps, "submit") == 0


class Unwritable:
    """A book whose database goes away when a step is to be written."""

    def __init__(self, *requests: Request) -> None:
        self.due = self.batch = list(requests)
        self.disowned = asyncio.Event()

    async def seen(self, ours: Sequence[UUID], lease: float) -> bool:
        return False

    async def claim(self, worker: UUID, most: int, *, waits: bool) -> list[Request]:
        taken, self.due = self.due, []
        return taken

    async def claim_batch(self, worker: UUID, batch: UUID) -> list[Request]:
        return [one for one in self.batch if one.batch == batch]

    async def move(self, worker: UUID, request: Request, step: Step) -> Request:
        raise ConnectionError("the database is away")

    async def disown(self, worker: UUID, request_id: UUID) -> None:
        self.disowned.set()

    async def leave(self, worker: UUID) -> None:
        pass


@pytest.mark.parametrize("together", [False, True])
async def test_a_trial_order_that_could_not_be_written_frees_the_next(together: bool) -> None:
    steps = steps_with(provider("only"))
    prepared = moved(wish(), step_of(await steps.take(wish(), None)))
    gate = steps.gates.of("only")
    for _ in range(5):
        gate.record("submit", True)
    assert rested(steps, "submit") == 0

    batch = UUID(int=1) if together else None
    requests = [
        replace(prepared, request_id=UUID(int=number), batch=batch, place=number)
        for number in (7, 8)[: 1 + together]
    ]
    book = Unwritable(*requests)
    signers = Signers(
        cast("Book", book),
        steps,
        Telemetry("test", TelemetrySettings()),
        Presence(cast("Book", book), 60.0),
        parallel=4,
        lease=60.0,
        drain=0.0,
    )
    running = asyncio.create_task(signers.run())
    async with asyncio.timeout(10):
        await book.disowned.wait()
    running.cancel()
    await asyncio.wait([running])
    assert rested(steps, "submit") == 0
