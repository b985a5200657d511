"""A dossier begun on one channel goes on over another (NĐ 42/2022 Điều 15.1.c), and on to others.

Clients of different systems, the gateway and the dossier service together.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.domain.submissions import dossier_agency
from tests.support.databases import Databases
from tests.support.dossier_flow import Flow, running_flow
from tests.support.gateway import AGENCY, OTHER, dossier_code, step, submission

PORTAL, COUNTER, OTHER_PROVINCE = "other", "one-stop", "foreign"


@pytest.fixture
async def flow(databases: Databases, tmp_path) -> AsyncIterator[Flow]:
    async with running_flow(databases, tmp_path) as running:
        yield running


def applied(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "applied"
    return answer.json()


def slug(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_begun_online_supplemented_at_the_counter_returned_by_post(flow: Flow) -> None:
    body = submission(channel="2", agency=AGENCY)
    del body["code"]
    begun = applied(await flow.submit(body, client=PORTAL, idempotency_key="d-1"))
    code = begun["dossier_code"]
    assert dossier_agency(code) == AGENCY
    later = {"at": "2026-11-03T09:00:00+07:00"}
    steps: list[tuple[str, Any]] = [
        (COUNTER, step("receive", channel="2")),
        (COUNTER, step("request-supplement", content="Bản chính để đối chiếu", channel="2")),
        (COUNTER, step("give-supplement", channel="1", note="Nhận tại quầy", **later)),
        (COUNTER, step("progress")),
        (COUNTER, step("complete")),
        (COUNTER, step("return", channel="3")),
        (PORTAL, step("rate", satisfaction="satisfied", source="cổng dịch vụ công", channel="2")),
    ]
    for client, what in steps:
        applied(await flow.take(code, what, client=client))
    history = await flow.history(code, client=PORTAL)
    assert [one["channel"] for one in history] == ["2", "2", "2", "1", None, None, "3", "2"]
    assert [one["number"] for one in history] == list(range(1, 9))
    assert {one["agency"] for one in history} == {AGENCY}
    for client in (PORTAL, COUNTER):
        dossier = await flow.read(code, client=client)
        assert dossier["channel"] == "2"  # the one it began on
        assert dossier["id"] == begun["submission_id"]
        assert (dossier["status"], dossier["version"]) == ("10", 8)
        assert dossier["rating"]["satisfaction"] == "satisfied"
        assert dossier["supplements"][0]["received_note"] == "Nhận tại quầy"


async def test_a_code_that_another_channel_uses_is_no_second_dossier(flow: Flow) -> None:
    applied(await flow.submit(submission(), client=PORTAL))
    again = await flow.submit(submission(channel="1"), client=COUNTER)
    assert (again.status_code, slug(again)) == (409, "dossier-code-taken")
    applied(await flow.take(dossier_code(), step("receive", channel="1"), client=COUNTER))
    assert [one["channel"] for one in await flow.history(dossier_code())] == ["2", "1"]


def transfer(agency: str) -> dict[str, Any]:
    return step("transfer", agency=agency, reason="Sáp nhập tỉnh", legal_basis="Nghị quyết")


async def test_rights_follow_a_transfer(flow: Flow) -> None:
    code = dossier_code()
    applied(await flow.submit(submission()))
    not_yet = await flow.take(code, step("receive"), client=OTHER_PROVINCE)
    assert (not_yet.status_code, slug(not_yet)) == (403, "forbidden")
    grabbed = await flow.take(code, transfer(OTHER), client=OTHER_PROVINCE)
    assert (grabbed.status_code, slug(grabbed)) == (403, "forbidden")

    applied(await flow.take(code, transfer(OTHER)))
    refused = await flow.take(code, step("receive"))
    assert (refused.status_code, slug(refused)) == (403, "forbidden")
    received = applied(await flow.take(code, step("receive"), client=OTHER_PROVINCE))
    assert received["step_number"] == 3
    dossier = await flow.read(code, client=OTHER_PROVINCE)
    assert (dossier["agency"], dossier["former_agencies"]) == (OTHER, [AGENCY])
    assert (await flow.gateway.get(f"/v1/dossiers/{code}")).status_code == 404
    agencies = [one["agency"] for one in await flow.history(code, client=OTHER_PROVINCE)]
    assert agencies == [AGENCY, AGENCY, OTHER]
    listed = await flow.gateway.get("/v1/dossiers", client=OTHER_PROVINCE)
    assert [one["code"] for one in listed.json()["items"]] == [code]
    assert (await flow.gateway.get("/v1/dossiers")).json()["items"] == []

    back = applied(await flow.take(code, transfer(AGENCY), client=OTHER_PROVINCE))
    assert back["flagged"] == "transferred-back"
    applied(await flow.take(code, step("progress")))


async def test_a_transfer_goes_to_another_agency_that_exists(flow: Flow) -> None:
    applied(await flow.submit(submission()))
    nowhere = await flow.take(dossier_code(), transfer("H99"))
    assert (nowhere.status_code, slug(nowhere)) == (422, "unknown-agency")
    assert nowhere.json()["errors"][0]["pointer"] == "/agency"
    same = await flow.take(dossier_code(), transfer("000.00.14.H56"))
    assert (same.status_code, slug(same)) == (409, "step-not-possible")
    dossier = await flow.read(dossier_code())
    assert (dossier["agency"], dossier["version"]) == (AGENCY, 1)


async def test_repeating_a_submission_after_its_transfer_is_still_a_repetition(flow: Flow) -> None:
    first = applied(await flow.submit(submission(), idempotency_key="d-1"))
    applied(await flow.take(dossier_code(), transfer(OTHER)))
    again = applied(await flow.submit(submission(), idempotency_key="d-1"))
    assert again["submission_id"] == first["submission_id"]


async def test_many_dossiers_without_codes_become_many_dossiers(flow: Flow) -> None:
    body = submission(agency=AGENCY)
    del body["code"]
    answers = await asyncio.gather(
        *(flow.submit(body, idempotency_key=f"d-{number}") for number in range(40))
    )
    codes = {applied(answer)["dossier_code"] for answer in answers}
    assert len(codes) == 40
    listed = await flow.gateway.get("/v1/dossiers", limit=200)
    assert {one["code"] for one in listed.json()["items"]} == codes
