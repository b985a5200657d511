"""Killed in the middle of the work, started again: nothing lost, nothing doubled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import httpx
import pytest
import pytest_asyncio
from rich.console import Console

from backbone.assembly import MODULES
from backbone.demo import play
from backbone.demo.client import ClientSystem, Sent
from backbone.demo.comparison import Check
from backbone.demo.flags import operators_side
from backbone.demo.lives import lives as make_lives
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOSSIERS = 150
SILENT = Console(quiet=True)
CALLS_WHO_CANNOT_BE_ASKED = {"national-portal-sync", "metrics-exporter", "signature-connector"}
_FIRST = count(1, DOSSIERS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("e2e")) as system:
        yield system


async def play_and_disturb(stack: Stack, disturb: Callable[[], Awaitable[None]]) -> list[Check]:
    """Play the dossiers, disturb in the middle, and hold everybody's books together at the end."""
    async with httpx.AsyncClient(trust_env=False) as http:
        for url in (
            stack.plan.outside.national_portal,
            stack.plan.outside.signing_gateway,
            stack.plan.outside.emc,
        ):
            await http.delete(f"{url}/_books")
    client = stack.plan.clients[0]
    system = ClientSystem(stack.plan.url("gateway"), client.client_id, client.secret)
    procedures = await play.catalogue(system)
    lives = make_lives(DOSSIERS, play.AGENCIES, procedures, seed=7, first=next(_FIRST))
    middle = asyncio.Event()
    half = sum(1 + len(life.steps) for life in lives) // 2

    def step_done(_: Sent) -> None:
        if system.book.submissions >= half:
            middle.set()

    async def disturbance() -> None:
        await middle.wait()
        await disturb()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(system.play(lives, step_done=step_done))
        tasks.create_task(disturbance())
    await play.arrived(SILENT, stack.plan.outside, system.book)
    operator = stack.plan.clients[1]
    desk = ClientSystem(stack.plan.url("gateway"), operator.client_id, operator.secret)
    ask = operators_side(
        desk, stack.plan.url("national-portal-sync"), stack.plan.url("metrics-exporter")
    )
    return await play.held_against(system, stack.plan.outside, ask)


def assert_no_differences(checks: list[Check]) -> None:
    assert [difference for check in checks for difference in check.differences] == []
    assert checks[0].found == checks[0].sent > DOSSIERS


@pytest.mark.parametrize("service", sorted(MODULES))
async def test_a_service_killed_in_the_middle_loses_and_doubles_nothing(
    stack: Stack, service: str
) -> None:
    async def kill() -> None:
        stack.kill(service)
        await asyncio.sleep(0.5)
        stack.start(service)
        await stack.ready(service)

    checks = await play_and_disturb(stack, kill)
    assert_no_differences(checks)
    # What a partner cannot be asked about was sent again under the same key and flagged, or held.
    if service not in CALLS_WHO_CANNOT_BE_ASKED:
        assert sum(check.doubtful for check in checks) == 0


async def test_a_broker_killed_in_the_middle_loses_and_doubles_nothing(stack: Stack) -> None:
    async def kill() -> None:
        await asyncio.to_thread(stack.rabbit.kill)
        await asyncio.to_thread(stack.rabbit.start)

    checks = await play_and_disturb(stack, kill)
    assert_no_differences(checks)
    assert sum(check.doubtful for check in checks) == 0


async def somebody_is_thinking(stack: Stack) -> None:
    """Until the signing gateway has asked a person who has not answered yet."""
    url = f"{stack.plan.outside.signing_gateway}/_books/requests"
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(120):
        while True:
            requests = (await http.get(url)).json()["items"]
            if any(request["outcome"] == "waiting" for request in requests):
                return
            await asyncio.sleep(0.1)


async def test_a_signature_cut_midway_is_held_and_nobody_is_asked_twice(stack: Stack) -> None:
    """The connector dies while persons think: their answers are lost, and that is what is told."""
    slow = {"program": "signing-gateway", "on": "sign_file", "kind": "slow", "ms": 3000}
    await play.set_faults(stack.plan.outside, [slow])

    async def kill() -> None:
        await somebody_is_thinking(stack)
        stack.kill("signature-connector")
        stack.start("signature-connector")
        await stack.ready("signature-connector")

    checks = await play_and_disturb(stack, kill)
    assert_no_differences(checks)
    assert sum(check.doubtful for check in checks) > 0
