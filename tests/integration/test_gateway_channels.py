"""Channels and the conformance report through the gateway, with the real catalogue behind it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from pydantic import SecretStr

from gateway.use_cases.tokens import SigningKey
from tests.support.conformance import (
    AGENCY,
    HOST,
    PORTAL,
    Catalogue,
    catalogue_database,
    running_catalogue,
)
from tests.support.gateway import (
    RunningGateway,
    gateway_database,
    listening,
    running_gateway,
    signing_key,
)

CHANNEL = f"/v1/agencies/{AGENCY}/channels/vi"
STATEMENT = f"/v1/agencies/{AGENCY}/statements/dd.guidance"


@dataclass
class Both:
    gateway: RunningGateway
    catalogue: Catalogue

    def rights(self, client: str = "one-stop", *scopes: str) -> dict[str, str]:
        return self.gateway.bearer(client, scopes=scopes or ["channels:write"])

    async def put(self, path: str, body: object, client: str = "one-stop") -> httpx.Response:
        return await self.gateway.http.put(path, json=body, headers=self.rights(client))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.gateway.http.get(path, headers=headers)


@pytest.fixture
async def both(databases, tmp_path) -> AsyncIterator[Both]:
    keys = SigningKey(SecretStr(signing_key())).token_keys()
    url = await gateway_database(databases)
    async with (
        running_catalogue(await catalogue_database(databases), keys=keys) as catalogue,
        listening(catalogue.app) as at,
        running_gateway(url, tmp_path, catalog_url=at) as gateway,
    ):
        yield Both(gateway, catalogue)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_an_agencys_client_registers_changes_and_removes_a_channel(both):
    made = await both.put(CHANNEL, PORTAL)
    assert (made.status_code, made.json()["registered_by"]) == (201, "one-stop")
    old_form = CHANNEL.replace(AGENCY, f"000.00.00.{AGENCY}")
    assert (await both.put(old_form, PORTAL)).status_code == 200
    shown = await both.get(CHANNEL)
    assert (shown.status_code, shown.json()["host"]) == (200, HOST)
    assert len((await both.get(f"/v1/agencies/{AGENCY}/channels")).json()["items"]) == 1
    assert slug(await both.put(CHANNEL, {**PORTAL, "host": "10.0.0.1"})) == "invalid-content"
    gone = await both.gateway.http.delete(CHANNEL, headers=both.rights())
    assert (gone.status_code, gone.content) == (204, b"")
    assert slug(await both.get(CHANNEL)) == "unknown-channel"
    said = await both.put(STATEMENT, {"text": "Theo hướng dẫn"})
    assert (said.status_code, said.json()["part"]) == (200, "dd.guidance")
    taken_back = await both.gateway.http.delete(STATEMENT, headers=both.rights())
    assert taken_back.status_code == 204


async def test_a_foreign_agencys_client_and_one_without_the_scope_are_refused(both):
    for headers in (both.rights("foreign"), both.rights("one-stop", "dossiers:write")):
        for call in (
            both.gateway.http.put(CHANNEL, json=PORTAL, headers=headers),
            both.gateway.http.delete(CHANNEL, headers=headers),
            both.gateway.http.put(STATEMENT, json={"text": "x"}, headers=headers),
            both.gateway.http.delete(STATEMENT, headers=headers),
        ):
            assert slug(await call) == "forbidden"
    assert (await both.gateway.http.put(CHANNEL, json=PORTAL)).status_code == 401
    assert await both.catalogue.rows("SELECT 1 FROM channel") == []


async def test_everybody_reads_the_report_as_json_and_as_a_page_with_its_policy(both):
    report = await both.get(f"/v1/conformance/{AGENCY}?on=2026-11-21")
    assert (report.status_code, report.headers["content-type"]) == (200, "application/json")
    assert len(report.json()["points"]) == 6
    listed = await both.get("/v1/conformance?limit=1")
    assert [one["agency"]["code"] for one in listed.json()["items"]] == ["H10"]
    rest = await both.get(f"/v1/conformance?after={listed.json()['next']}")
    assert [one["agency"]["code"] for one in rest.json()["items"]] == [AGENCY, f"{AGENCY}.7"]
    for answer in (
        await both.get(f"/v1/conformance/{AGENCY}.html"),
        await both.get(f"/v1/conformance/{AGENCY}", accept="text/html,*/*;q=0.8"),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (
            200,
            "text/html; charset=utf-8",
        )
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "13.2.đ" in answer.text
    assert slug(await both.get("/v1/conformance/H99.html")) == "unknown-agency"
    assert slug(await both.get(f"/v1/conformance/{AGENCY}?on=1999-01-01")) == "no-rules"


async def test_operators_orders_do_not_pass_the_gateway(both):
    headers = both.rights("one-stop", "operations")
    for path in (f"/v1/conformance/{AGENCY}/check", f"/v1/agencies/{AGENCY}/registration-changes"):
        answer = await both.gateway.http.post(path, headers=headers)
        assert answer.status_code == 404
