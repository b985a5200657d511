"""When the gateway leaves a service behind alone, and when it asks once more."""

import asyncio
from contextlib import suppress

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from common.errors import Upstream
from gateway.clients import Behind
from gateway.clients.circuit import FAILURES_TO_OPEN, LONGEST_PAUSE, Circuit, Open
from gateway.errors import UpstreamAway
from tests.support.gateway import NOWHERE

OK = httpx.Response(200, json={"code": "known"})


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """A service behind that answers what it is told to, one after the other, and counts."""

    def __init__(self, *answers: httpx.Response | Exception | float) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = OK
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def behind(self, seconds: float = 5.0) -> Behind:
        return Behind(httpx.AsyncClient(transport=httpx.MockTransport(self)), "http://a", seconds)


def failed(circuit: Circuit, times: int = FAILURES_TO_OPEN) -> None:
    for _ in range(times):
        circuit.leave(probe=circuit.enter(), failed=True)


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    circuit = Circuit(Clock())
    failed(circuit, FAILURES_TO_OPEN - 1)
    circuit.leave(probe=circuit.enter(), failed=False)
    failed(circuit, FAILURES_TO_OPEN - 1)
    assert not circuit.open
    failed(circuit, 1)
    assert circuit.open
    with pytest.raises(Open):
        circuit.enter()


def test_one_call_probes_after_the_pause_and_its_success_closes_it() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    failed(circuit)
    clock.now += 1.0
    assert circuit.enter() is True
    for _ in range(3):
        with pytest.raises(Open) as waiting:
            circuit.enter()
        assert waiting.value.seconds > 0
    circuit.leave(probe=True, failed=False)
    assert not circuit.open
    assert circuit.enter() is False


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    failed(circuit)
    pauses = []
    for _ in range(8):
        with pytest.raises(Open) as waiting:
            circuit.enter()
        pauses.append(waiting.value.seconds)
        clock.now += waiting.value.seconds + 0.001
        circuit.leave(probe=circuit.enter(), failed=True)
    assert pauses[1] > pauses[0]
    assert pauses[3] > 2 * pauses[0]
    assert max(pauses) <= LONGEST_PAUSE


def test_a_probe_that_was_given_up_leaves_room_for_the_next() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    failed(circuit)
    clock.now += 1.0
    circuit.leave(probe=circuit.enter(), failed=None)
    assert circuit.enter() is True


def test_a_late_success_from_before_the_failures_does_not_close_it() -> None:
    circuit = Circuit(Clock())
    slow = circuit.enter()
    failed(circuit)
    circuit.leave(probe=slow, failed=False)
    assert circuit.open


async def test_a_service_that_is_away_is_left_alone_and_told_at_once() -> None:
    service = Service(httpx.ConnectTimeout("no"))
    behind = service.behind()
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(UpstreamAway):
            await behind.get("/v1/x", {}, {})
    asked = len(service.asked)
    with pytest.raises(UpstreamAway) as refused:
        await behind.get("/v1/x", {}, {})
    assert len(service.asked) == asked
    assert int(refused.value.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_answers_that_show_it_alive_never_open_it(status: int) -> None:
    service = Service(httpx.Response(status, json={}))
    behind = service.behind()
    for _ in range(3 * FAILURES_TO_OPEN):
        with suppress(Upstream):
            await behind.get("/v1/x", {}, {})
    assert len(service.asked) == 3 * FAILURES_TO_OPEN


async def test_an_impatient_client_opens_it_for_nobody() -> None:
    service = Service(3.0)
    behind = service.behind(seconds=5.0)
    calls = [behind.get("/v1/x", {}, {"prefer": "wait=1"}) for _ in range(2 * FAILURES_TO_OPEN)]
    async with asyncio.timeout(2.5):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, UpstreamAway) for answer in answers)
    service.answers = [OK]
    assert (await behind.get("/v1/x", {}, {})).status == 200


async def test_no_client_waits_longer_than_the_operator_says() -> None:
    behind = Service(3.0).behind(seconds=0.2)
    async with asyncio.timeout(2):
        with pytest.raises(UpstreamAway):
            await behind.get("/v1/x", {}, {"prefer": "wait=30"})


@pytest.mark.parametrize(
    "first", [httpx.ReadError("broke"), httpx.RemoteProtocolError("cut"), httpx.Response(503)]
)
async def test_a_read_that_failed_is_tried_once_more(first: httpx.Response | Exception) -> None:
    service = Service(first, OK)
    assert (await service.behind().get("/v1/x", {}, {})).status == 200
    assert len(service.asked) == 2


async def test_a_read_is_not_tried_a_third_time() -> None:
    service = Service(httpx.ReadError("broke"))
    with pytest.raises(UpstreamAway):
        await service.behind().get("/v1/x", {}, {})
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    "first",
    [httpx.ReadTimeout("slow"), httpx.Response(503, headers={"retry-after": "7"})],
)
async def test_what_is_overloaded_is_not_asked_again(first: httpx.Response | Exception) -> None:
    service = Service(first, OK)
    with pytest.raises(UpstreamAway):
        await service.behind().get("/v1/x", {}, {})
    assert len(service.asked) == 1


@pytest.mark.parametrize(("method", "headers"), [("POST", {}), ("GET", {"x-purpose": "tra cuu"})])
async def test_what_may_have_been_done_is_not_done_twice(
    method: str, headers: dict[str, str]
) -> None:
    service = Service(httpx.ReadError("broke"), OK)
    with pytest.raises(UpstreamAway):
        await service.behind().ask(method, "/v1/x", {}, headers, b"{}")
    assert len(service.asked) == 1


async def test_what_never_left_is_sent_again_whatever_it_is() -> None:
    """A refused connection, on the real transport: nothing of the request can have arrived."""
    tried = []

    class Counted(AiohttpTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            tried.append(request.method)
            return await super().handle_async_request(request)

    async with httpx.AsyncClient(transport=Counted()) as http:
        with pytest.raises(UpstreamAway):
            await Behind(http, NOWHERE, 5.0).ask("POST", "/v1/x", {}, {}, b"{}")
    assert tried == ["POST", "POST"]


async def test_both_attempts_share_one_deadline() -> None:
    started = asyncio.get_running_loop().time()
    service = Service(httpx.ReadError("broke"), 5.0)
    with pytest.raises(UpstreamAway):
        await service.behind(seconds=0.5).get("/v1/x", {}, {})
    assert asyncio.get_running_loop().time() - started < 2
    assert len(service.asked) == 2
