"""What becomes of a submission, and how a client hears of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import UUID

import httpx
import pytest

from common.identifiers import new_id
from gateway.use_cases import waiting
from tests.support.databases import Databases
from tests.support.gateway import (
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


async def told(gateway: RunningGateway, count: int = 1) -> list[str]:
    """The ids of the submissions, once that many have been told."""
    async with asyncio.timeout(30):
        while len(found := await gateway.submissions()) < count:
            await asyncio.sleep(0.005)
    return [str(event.submission_id) for event in found]


async def while_waiting(
    gateway: RunningGateway, answering: Awaitable[httpx.Response], decide: Any
) -> httpx.Response:
    """The answer to a request that waits, its outcome decided meanwhile."""
    waits = asyncio.ensure_future(answering)
    (submission_id,) = await told(gateway)
    await asyncio.sleep(0.05)
    assert not waits.done()
    await decide(submission_id)
    async with asyncio.timeout(10):
        return await waits


async def test_an_applied_submission_is_seen_as_such(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    await gateway.apply(taken["submission_id"], flagged="unusual-order")
    seen = await gateway.get(f"/v1/submissions/{taken['submission_id']}")
    assert seen.status_code == 200
    body = seen.json()
    assert body["decided_at"] >= taken["received_at"][:19]
    assert body == {
        **taken,
        "state": "applied",
        "decided_at": body["decided_at"],
        "step_number": 1,
        "flagged": "unusual-order",
    }


async def test_a_refused_submission_says_why(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    await gateway.refuse(taken["submission_id"])
    seen = (await gateway.get(f"/v1/submissions/{taken['submission_id']}")).json()
    assert seen["state"] == "refused"
    assert seen["problem"] == {
        "type": "urn:lienthong:problem:dossier-exists",
        "title": "Từ chối",
        "title_en": "Refused",
        "status": 409,
    }


async def test_the_first_outcome_stands(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    await gateway.apply(taken["submission_id"])
    await gateway.refuse(taken["submission_id"])
    seen = (await gateway.get(f"/v1/submissions/{taken['submission_id']}")).json()
    assert seen["state"] == "applied"
    assert "problem" not in seen


async def test_outcomes_of_unknown_submissions_harm_nothing(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    await gateway.apply(str(new_id()))
    await gateway.apply(taken["submission_id"])
    assert await gateway.rows("SELECT 1 FROM parked") == []
    seen = (await gateway.get(f"/v1/submissions/{taken['submission_id']}")).json()
    assert seen["state"] == "applied"


async def test_a_client_sees_its_own_submissions_only(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    for client in ("other", "foreign", "reader"):
        seen = await gateway.get(f"/v1/submissions/{taken['submission_id']}", client=client)
        assert (seen.status_code, seen.json()["type"]) == (404, "urn:lienthong:problem:not-found")
        assert (await gateway.get("/v1/submissions", client=client)).json()["items"] == []


async def test_reading_submissions_needs_a_token_with_the_scope(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    for path in (f"/v1/submissions/{taken['submission_id']}", "/v1/submissions"):
        assert (await gateway.http.get(path)).status_code == 401
        writer = gateway.bearer(scopes=["dossiers:write"])
        assert (await gateway.http.get(path, headers=writer)).status_code == 403


async def test_submissions_are_listed_page_by_page(gateway: RunningGateway) -> None:
    for number in range(1, 8):
        await gateway.submit(submission(dossier_code(number)))
    seen: list[str] = []
    after: dict[str, str] = {}
    page: dict[str, Any] = {}
    for expected in (3, 3, 1):
        page = (await gateway.get("/v1/submissions", limit=3, **after)).json()
        assert len(page["items"]) == expected
        seen += [item["dossier_code"] for item in page["items"]]
        after = {"after": page["next"]}
    assert page["next"] is None
    assert seen == [dossier_code(number) for number in range(1, 8)]


async def test_submissions_are_listed_by_state(gateway: RunningGateway) -> None:
    for number in range(1, 5):
        await gateway.submit(submission(dossier_code(number)))
    ids = await told(gateway, 4)
    await gateway.apply(ids[0])
    await gateway.refuse(ids[2])
    for state, expected in (
        ("applied", [ids[0]]),
        ("refused", [ids[2]]),
        ("pending", [ids[1], ids[3]]),
    ):
        page = (await gateway.get("/v1/submissions", state=state)).json()
        assert [item["submission_id"] for item in page["items"]] == expected
    assert (await gateway.get("/v1/submissions", state="lost")).status_code == 422


async def test_a_client_that_waits_hears_that_it_was_applied(gateway: RunningGateway) -> None:
    answer = await while_waiting(gateway, gateway.submit(prefer="wait=20"), gateway.apply)
    assert (answer.status_code, answer.json()["state"]) == (200, "applied")
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"].endswith(answer.json()["submission_id"])


@pytest.mark.parametrize("status", [404, 409, 412, 422])
async def test_a_client_that_waits_hears_the_refusal_itself(
    gateway: RunningGateway, status: int
) -> None:
    async def refuse(submission_id: str) -> None:
        await gateway.refuse(submission_id, "step-not-possible", status)

    answer = await while_waiting(gateway, gateway.take_step(step(), prefer="wait=20"), refuse)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == "urn:lienthong:problem:step-not-possible"
    assert answer.headers["location"] == f"/v1/submissions/{body['submission_id']}"


@pytest.mark.parametrize("status", [200, 500, 700])
async def test_a_refusal_never_looks_like_success_or_a_failure_of_ours(
    gateway: RunningGateway, status: int
) -> None:
    async def refuse(submission_id: str) -> None:
        await gateway.refuse(submission_id, status=status)

    answer = await while_waiting(gateway, gateway.submit(prefer="wait=20"), refuse)
    assert answer.status_code == 409
    assert answer.json()["status"] == 409


async def test_whoever_waits_in_vain_has_its_202(gateway: RunningGateway) -> None:
    started = asyncio.get_running_loop().time()
    answer = await gateway.submit(prefer="wait=1")
    assert 0.9 < asyncio.get_running_loop().time() - started < 3
    assert (answer.status_code, answer.json()["state"]) == (202, "pending")


async def test_waiting_for_what_is_decided_already_takes_no_time(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    await gateway.apply(taken["submission_id"])
    async with asyncio.timeout(10):
        answer = await gateway.submit(prefer="wait=30")
    assert (answer.status_code, answer.json()["state"]) == (200, "applied")


async def test_many_wait_and_each_hears_its_own(gateway: RunningGateway) -> None:
    answering = [
        asyncio.ensure_future(gateway.submit(submission(dossier_code(number)), prefer="wait=20"))
        for number in range(1, 31)
    ]
    events = {event.dossier_code: event for event in await _all(gateway, 30)}
    for number in range(1, 31):
        submission_id = str(events[dossier_code(number)].submission_id)
        await (gateway.apply if number % 2 else gateway.refuse)(submission_id)
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*answering)
    assert [answer.status_code for answer in answers] == [200, 409] * 15
    for number, answer in enumerate(answers, start=1):
        expected = str(events[dossier_code(number)].submission_id)
        assert answer.json()["submission_id"] == expected


async def _all(gateway: RunningGateway, count: int) -> list[Any]:
    await told(gateway, count)
    return await gateway.submissions()


async def test_an_outcome_that_another_replica_heard_is_heard(
    databases: Databases, tmp_path
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as asked, running_gateway(url, tmp_path) as other:
        answer = await while_waiting(asked, asked.submit(prefer="wait=20"), other.apply)
        assert (answer.status_code, answer.json()["state"]) == (200, "applied")


async def test_nobody_hears_an_outcome_before_it_is_committed(
    gateway: RunningGateway, monkeypatch
) -> None:
    """The consumer's transaction fails after the use case: those who wait must not have heard."""
    waits = asyncio.ensure_future(gateway.submit(prefer="wait=20"))
    (submission_id,) = await told(gateway)
    consumer = next(c for c in gateway.core.consumers if c.name == "outcomes")
    apply = consumer.subscription.apply

    async def fails(unit: Any, events: Any) -> None:
        await apply(unit, events)
        await asyncio.sleep(0.3)
        raise RuntimeError("no")

    object.__setattr__(consumer.subscription, "apply", fails)
    await gateway.apply(submission_id)
    assert not waits.done()
    object.__setattr__(consumer.subscription, "apply", apply)
    await gateway.apply(submission_id)
    assert (await waits).json()["state"] == "applied"


async def test_where_too_many_wait_the_next_one_does_not(
    gateway: RunningGateway, monkeypatch
) -> None:
    monkeypatch.setattr(waiting, "_MOST_WAITING", 1)
    first = asyncio.ensure_future(gateway.submit(prefer="wait=20"))
    (submission_id,) = await told(gateway)
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        second = await gateway.submit(submission(dossier_code(2)), prefer="wait=20")
    assert second.status_code == 202
    await gateway.apply(submission_id)
    assert (await first).status_code == 200


async def test_waiting_survives_a_failing_look(gateway: RunningGateway, monkeypatch) -> None:
    looks = 0

    async def fail(*_: Any) -> list[UUID]:
        nonlocal looks
        looks += 1
        raise OSError("away")

    waits = asyncio.ensure_future(gateway.submit(prefer="wait=20"))
    (submission_id,) = await told(gateway)
    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.submissions.decided", fail)
        await gateway.apply(submission_id)
        async with asyncio.timeout(30):
            while looks < 2:
                await asyncio.sleep(0.01)
        assert not waits.done()
    async with asyncio.timeout(30):
        assert (await waits).status_code == 200
