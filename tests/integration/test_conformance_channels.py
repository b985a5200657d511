"""Agencies register their channels, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.conformance import (
    AGENCY,
    CLOSED,
    HOST,
    OTHER,
    PORTAL,
    UNKNOWN,
    Catalogue,
    catalogue_database,
    running_catalogue,
)

CHANNELS = f"/v1/agencies/{AGENCY}/channels"
STATEMENT = f"/v1/agencies/{AGENCY}/statements/e.shared-tools"


@pytest.fixture
async def catalogue(databases) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await catalogue_database(databases)) as running:
        yield running


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"title", "title_en"} <= answer.json().keys()
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_an_agency_registers_a_channel_and_everybody_can_read_it(catalogue):
    answer = await catalogue.register("vi", {**PORTAL, "name": "Cổng dịch vụ công tỉnh"})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["id"], body["host"], body["registered_by"]) == ("vi", HOST, "one-stop")
    assert (await catalogue.http.get(f"{CHANNELS}/vi")).json() == body
    assert (await catalogue.http.get(CHANNELS)).json() == {"items": [body]}
    old_form = await catalogue.http.get("/v1/agencies/000.00.00.H56/channels")
    assert old_form.json() == {"items": [body]}


async def test_registering_the_same_again_changes_nothing_and_a_change_is_kept_in_the_history(
    catalogue,
):
    first = (await catalogue.register()).json()
    again = await catalogue.register()
    assert (again.status_code, again.json()) == (200, first)
    english = {"kind": "portal-en", "host": "e-services.thanhhoa.gov.vn"}
    assert (await catalogue.register("vi", english)).status_code == 200
    removed = await catalogue.http.delete(f"{CHANNELS}/vi", headers=catalogue.bearer())
    assert (removed.status_code, removed.content) == (204, b"")
    operator = catalogue.bearer("operations", "*")
    path = f"/v1/agencies/{AGENCY}/registration-changes"
    page = (await catalogue.http.get(path, headers=operator, params={"limit": 2})).json()
    rest = await catalogue.http.get(path, headers=operator, params={"after": page["next"]})
    told = [*page["items"], *rest.json()["items"]]
    assert [(one["action"], one["key"], one["client"]) for one in told] == [
        ("put", "vi", "one-stop"),
        ("put", "vi", "one-stop"),
        ("delete", "vi", "one-stop"),
    ]
    assert [one["content"] and one["content"]["host"] for one in told] == [
        HOST,
        "e-services.thanhhoa.gov.vn",
        None,
    ]
    assert rest.json()["next"] is None


async def test_a_foreign_agencys_client_is_refused(catalogue):
    await catalogue.register()
    for headers in (catalogue.bearer("channels:write", OTHER), catalogue.bearer("dossiers:write")):
        for call in (
            catalogue.http.put(f"{CHANNELS}/vi", json=PORTAL, headers=headers),
            catalogue.http.delete(f"{CHANNELS}/vi", headers=headers),
            catalogue.http.put(STATEMENT, json={"text": "x"}, headers=headers),
            catalogue.http.delete(STATEMENT, headers=headers),
        ):
            assert slug(await call) == "forbidden"
    nobody = await catalogue.http.put(f"{CHANNELS}/vi", json=PORTAL)
    assert nobody.status_code == 401
    history = await catalogue.http.get(
        f"/v1/agencies/{AGENCY}/registration-changes", headers=catalogue.bearer()
    )
    assert history.status_code == 403
    assert len((await catalogue.http.get(CHANNELS)).json()["items"]) == 1


async def test_the_client_of_a_department_does_not_register_for_its_province(catalogue):
    below = await catalogue.put(f"{CHANNELS}/vi", PORTAL, f"{AGENCY}.7")
    assert slug(below) == "forbidden"
    above = await catalogue.put(f"/v1/agencies/{AGENCY}.7/channels/vi", PORTAL, AGENCY)
    assert above.status_code == 201


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "[::1]", "localhost", "a.local", "https://a.gov.vn", "a.gov.vn:80", "x", "a b.vn"],
)
async def test_what_is_no_public_host_name_is_not_registered(catalogue, host):
    answer = await catalogue.register("vi", {**PORTAL, "host": host})
    assert answer.status_code == 422
    assert slug(answer) == "invalid-content"
    assert answer.json()["errors"][0]["pointer"] == "/host"
    assert (await catalogue.http.get(CHANNELS)).json() == {"items": []}


async def test_other_faults_are_refused_and_an_international_name_gets_its_wire_form(catalogue):
    faulty: list[Any] = [{**PORTAL, "more": 1}, {**PORTAL, "kind": "fax"}, {"host": HOST}, [], "x"]
    for body in faulty:
        assert (await catalogue.register("vi", body)).status_code == 422
    for id_ in ("Vi", "-a", "a_b", "x" * 41, "%00"):
        assert (await catalogue.register(id_)).status_code == 422
    answer = await catalogue.register("vi", {**PORTAL, "host": "dịchvụcông.vn"})
    assert answer.json()["host"] == "xn--dchvcng-x0a0689dsha.vn"


async def test_an_agency_registers_a_bounded_number_also_when_it_tries_all_at_once(catalogue):
    answers = await asyncio.gather(*(catalogue.register(f"c{number}") for number in range(25)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(409)) == (20, 5)
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert slug(refused) == "too-many-channels"
    kept = (await catalogue.http.get(CHANNELS)).json()["items"]
    assert len(kept) == 20
    changed = {**PORTAL, "name": "Mới"}
    assert (await catalogue.register(kept[0]["id"], changed)).status_code == 200
    assert (await catalogue.register("vi", agency=OTHER)).status_code == 201


async def test_agencies_that_are_closed_or_unknown_register_nothing(catalogue):
    assert slug(await catalogue.register(agency=CLOSED)) == "agency-closed"
    assert slug(await catalogue.register(agency=UNKNOWN)) == "unknown-agency"
    for path in ("channels", "channels/vi"):
        answer = await catalogue.http.get(f"/v1/agencies/{UNKNOWN}/{path}")
        assert slug(answer) == "unknown-agency"
    assert slug(await catalogue.http.get(f"{CHANNELS}/none")) == "unknown-channel"
    gone = await catalogue.http.delete(f"{CHANNELS}/none", headers=catalogue.bearer())
    assert slug(gone) == "unknown-channel"


async def test_a_statement_is_shown_as_what_the_agency_says_and_can_be_taken_back(catalogue):
    said = {"text": "Dùng nền tảng dùng chung", "document": "12/BC-UBND", "dated": "2026-11-01"}
    given = await catalogue.put(STATEMENT, said)
    assert (given.status_code, given.json()["given_by"]) == (200, "one-stop")
    assert (await catalogue.put(STATEMENT, said)).json() == given.json()
    part = await catalogue.part("e.shared-tools")
    assert (part["state"], part["evidence"][0]["facts"]["text"]) == ("unknown", said["text"])
    assert slug(await catalogue.put(STATEMENT.replace("e.shared", "c.no"), said)) == (
        "unknown-statement"
    )
    assert (await catalogue.put(STATEMENT, {**said, "text": " "})).status_code == 422
    for expected in (204, 404):
        answer = await catalogue.http.delete(STATEMENT, headers=catalogue.bearer())
        assert answer.status_code == expected
    assert (await catalogue.part("e.shared-tools"))["evidence"] == []
    changes = await catalogue.rows("SELECT action FROM registration_change ORDER BY number")
    assert [row.action for row in changes] == ["put", "delete"]
