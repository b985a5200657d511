"""Writes with conditions and preferences: what a client that reads before it writes relies on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.test_gateway_intake import problem_of
from tests.support.databases import Databases
from tests.support.dossier_flow import Flow, running_flow
from tests.support.gateway import (
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)

REPLAYED = "idempotent-replayed"
WAIT = "wait=20"


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


@pytest.fixture
async def flow(databases: Databases, tmp_path) -> AsyncIterator[Flow]:
    async with running_flow(databases, tmp_path) as running:
        yield running


async def tag_of(flow: Flow, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    gateway = flow.gateway
    scopes = ("dossiers:read", "dossiers:write", "dossiers:personal")
    answer = await gateway.http.get(
        f"/v1/dossiers/{dossier_code()}", headers={**gateway.bearer(scopes=scopes), **named}
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["etag"]


async def test_a_step_on_what_was_read_is_applied(flow: Flow) -> None:
    await flow.submit(submission())
    for kind in ("receive", "progress"):
        answer = await flow.gateway.take_step(step(kind), prefer=WAIT, if_match=await tag_of(flow))
        assert (answer.status_code, answer.json()["state"]) == (200, "applied")
    assert (await flow.read(dossier_code()))["version"] == 3


async def test_any_representation_of_the_dossier_will_do(flow: Flow) -> None:
    """Masked or in clear, in part or in another language: it is the same version."""
    await flow.submit(submission())
    tags = set()
    for headers in ({}, {"x_purpose": "tiep nhan"}, {"accept_language": "en"}):
        tag = await tag_of(flow, **headers)
        tags.add(tag.partition(".")[2])
        answer = await flow.gateway.take_step(step("progress"), prefer=WAIT, if_match=tag)
        assert answer.status_code == 200, answer.text
        late = await flow.gateway.take_step(step("progress"), prefer=WAIT, if_match=tag)
        assert late.status_code == 412
    assert len(tags) > 1


async def test_of_two_who_read_the_same_only_one_goes_on(flow: Flow) -> None:
    await flow.submit(submission())
    tag = await tag_of(flow)
    answers = await asyncio.gather(
        *(
            flow.gateway.take_step(step("progress", note=f"{n}"), prefer=WAIT, if_match=tag)
            for n in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 5]
    assert {problem_of(answer) for answer in answers if answer.status_code == 412} == {
        "dossier-changed"
    }
    assert (await flow.read(dossier_code()))["version"] == 2


async def test_a_refused_condition_is_the_outcome_of_its_submission(flow: Flow) -> None:
    await flow.submit(submission())
    taken = await flow.gateway.take_step(step("receive"), if_match='"9"')
    assert taken.status_code == 202
    waited = await flow.gateway.take_step(
        step("receive"), if_match='"9"', idempotency_key="k", prefer=WAIT
    )
    assert waited.status_code == 412
    body = waited.json()
    assert (body["status"], body["type"]) == (412, "urn:lienthong:problem:dossier-changed")
    for location in (taken.headers["location"], waited.headers["location"]):
        seen = (await flow.gateway.get(location)).json()
        assert (seen["state"], seen["problem"]["status"]) == ("refused", 412)
        assert "step_number" not in seen


async def test_whoever_does_not_care_says_nothing_or_anything(flow: Flow) -> None:
    await flow.submit(submission())
    for headers in ({}, {"if_match": "*"}, {"if_match": '"7", "1", "2"'}):
        answer = await flow.gateway.take_step(step("progress"), prefer=WAIT, **headers)
        assert answer.status_code == (412 if "7" in headers.get("if_match", "") else 200)


async def test_the_number_of_a_step_is_the_version_to_go_on_from(flow: Flow) -> None:
    await flow.submit(submission())
    one = await flow.gateway.take_step(step("receive"), prefer=WAIT)
    tag = f'"{one.json()["step_number"]}"'
    two = await flow.gateway.take_step(step("progress"), prefer=WAIT, if_match=tag)
    assert two.status_code == 200


async def test_a_condition_is_told_with_its_submission(gateway: RunningGateway) -> None:
    await gateway.take_step(step("receive"), if_match='"7.p" , "8"')
    await gateway.take_step(step("receive"))
    assert [event.expected for event in await gateway.submissions()] == ['"7.p" , "8"', None]


async def test_the_same_key_with_another_condition_is_another_request(
    gateway: RunningGateway,
) -> None:
    first = await gateway.take_step(step("receive"), idempotency_key="k", if_match='"7"')
    assert first.status_code == 202
    again = await gateway.take_step(step("receive"), idempotency_key="k", if_match='"7"')
    assert again.json() == first.json()
    for condition in ('"8"', ""):
        other = await gateway.take_step(step("receive"), idempotency_key="k", if_match=condition)
        assert (other.status_code, problem_of(other)) == (422, "idempotency-key-reused")
    assert len(await gateway.told()) == 1


async def test_a_condition_that_is_none_is_refused_at_once(gateway: RunningGateway) -> None:
    answer = await gateway.take_step(step("receive"), if_match="7")
    assert (answer.status_code, problem_of(answer)) == (400, "if-match-malformed")
    assert await gateway.told() == []


async def test_what_is_repeated_says_so(gateway: RunningGateway) -> None:
    first = await gateway.submit(idempotency_key="k")
    assert REPLAYED not in first.headers
    for headers in ({"idempotency_key": "k"}, {}):
        again = await gateway.submit(**headers)
        assert (again.headers[REPLAYED], again.json()) == ("true", first.json())
    one = await gateway.take_step(step("receive"), idempotency_key="s")
    two = await gateway.take_step(step("receive"), idempotency_key="s")
    assert (REPLAYED in one.headers, two.headers.get(REPLAYED)) == (False, "true")
    await gateway.refuse(first.json()["submission_id"])
    refused = await gateway.submit(idempotency_key="k", prefer="wait=1")
    assert (refused.status_code, refused.headers[REPLAYED]) == (409, "true")


async def test_a_dossier_without_a_code_is_repeated_as_well(gateway: RunningGateway) -> None:
    body = submission(agency="H56.14")
    del body["code"]
    first, again = [await gateway.submit(body, idempotency_key="k") for _ in range(2)]
    assert (REPLAYED in first.headers, again.headers.get(REPLAYED)) == (False, "true")
    assert first.json() == again.json()


async def test_of_twins_all_but_one_are_told_to_be_repetitions(gateway: RunningGateway) -> None:
    answers = await asyncio.gather(*(gateway.submit(idempotency_key="k") for _ in range(20)))
    assert sum(REPLAYED not in answer.headers for answer in answers) == 1
    assert {answer.status_code for answer in answers} == {202}


async def test_preferences_that_were_followed_are_told(gateway: RunningGateway) -> None:
    async def applied(prefer: str, number: int) -> tuple[int, str | None]:
        answer = await gateway.submit(submission(dossier_code(number)), prefer=prefer)
        return answer.status_code, answer.headers.get("preference-applied")

    assert await applied("", 1) == (202, None)
    assert await applied("handling=lenient", 2) == (202, None)
    assert await applied("respond-async", 3) == (202, "respond-async")
    assert await applied("wait=1", 4) == (202, "wait=1")
    assert await applied("respond-async, wait=1", 5) == (202, "wait=1, respond-async")


async def test_an_outcome_that_was_waited_for_says_so(flow: Flow) -> None:
    done = await flow.gateway.submit(submission(), prefer="respond-async, wait=99")
    assert (done.status_code, done.headers["preference-applied"]) == (200, "wait=30")
    refused = await flow.gateway.take_step(step("receive"), if_match='"5"', prefer="wait=9")
    assert (refused.status_code, refused.headers["preference-applied"]) == (412, "wait=9")
