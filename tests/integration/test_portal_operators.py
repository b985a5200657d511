"""What operators and agencies ask of national-portal-sync: reconciliation, questions, the desk."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from common.auth import TokenKeys
from common.service import Shared
from common.transport.local import LocalTransport
from national_portal_sync.main import create_app
from national_portal_sync.settings import Settings
from simulators.national_portal import NationalPortal as Simulator
from tests.integration.test_portal_service import Service, published_keys, token
from tests.support.databases import Databases
from tests.support.portal import SEALING_KEYS, code_of, life, prepared, serving

FINE, OTHER, FOREIGN = code_of(1), code_of(2), code_of(3, "H56.14")
QUESTION = {
    "MaHoiDap": "HD/1",
    "MaCoQuan": "H10.15",
    "HoTen": "Lê Văn Kín",
    "NoiDung": "Số 0900000001?",
}
DAY = "2026-11-02"


@pytest.fixture
async def service(databases: Databases) -> AsyncIterator[Service]:
    portal = Simulator(extensions=True, questions=[QUESTION])
    template = await databases.template("portal", prepared)
    async with serving(portal) as url:
        settings = Settings(
            database_url=SecretStr(await databases.create("portal", template=template)),
            sealing_keys=SEALING_KEYS,
            sealing_key="k1",
            portal_url=url,
            portal_username="tinh",
            portal_password=SecretStr("mat-khau"),
            portal_unit="H10",
            portal_dstcode="G22",
            reconciliation_lists=True,
            reconciliation_per_second=1000,
            reconciliation_hour=None,
            questions_seconds=0.2,
        )
        transport = LocalTransport()
        shared = Shared(transport=transport, token_keys=TokenKeys(published_keys))
        app = create_app(settings, shared)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app), base_url="http://service"
            ) as http,
        ):
            yield Service(http, transport, portal)


def post(service: Service, path: str, body: Any, *agencies: str, scope: str = "operations") -> Any:
    return service.http.post(path, json=body, headers=token(scope, *agencies))


async def until(service: Service, path: str, member: str, wanted: Any, **headers: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            told = (await service.get(path, **headers)).json()
            if told[member] == wanted:
                return told
            await asyncio.sleep(0.05)


async def test_an_operator_asks_for_a_reconciliation_and_reads_what_was_found(
    service: Service,
) -> None:
    await service.tell(*life(FINE, 1, 2), *life(OTHER, 1, 2))
    for code in (FINE, OTHER):
        await service.until(f"/v1/sync/{code}", waiting=[], known=True)
    service.portal.in_order.remove(service.portal.dossiers.pop(OTHER))
    begun = await post(service, "/v1/reconciliations", {"agency": "000.00.15.H10", "day": DAY})
    assert (begun.status_code, begun.json()["agency"]) == (202, "H10.15")
    path = f"/v1/reconciliations/{begun.json()['id']}"
    told = await until(service, path, "state", "done")
    assert (told["checked"], told["agreed"], told["healed"]) == (2, 1, 1)
    assert [(one["code"], one["kind"]) for one in told["differences"]] == [(OTHER, "missing-there")]
    await until(service, f"/v1/sync/{OTHER}", "waiting", [])
    assert service.portal.dossiers[OTHER].created == 1
    (healed,) = (await service.get(f"{path}/healings")).json()
    assert healed["code"] == OTHER
    assert healed["sent_at"]
    text = await service.get(f"{path}.csv")
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert text.headers["x-report-sha256"] == told["sha256"]
    assert text.text.count("\r\n") == 2
    assert OTHER in text.text
    listed = (await service.get("/v1/reconciliations")).json()
    assert [one["id"] for one in listed["items"]] == [begun.json()["id"]]


async def test_runs_are_for_operators_of_the_agency_alone(service: Service) -> None:
    wanted = {"agency": "H10.15", "day": DAY}
    assert (await post(service, "/v1/reconciliations", wanted, "H56")).status_code == 403
    reader = await post(service, "/v1/reconciliations", wanted, scope="dossiers:read")
    assert reader.status_code == 403
    begun = (await post(service, "/v1/reconciliations", wanted, "H10")).json()
    path = f"/v1/reconciliations/{begun['id']}"
    await until(service, path, "state", "done")
    stranger = token("operations", "H56")
    for end in ("", ".csv", "/healings"):
        assert (await service.get(path + end, **stranger)).status_code == 404
    assert (await service.get("/v1/reconciliations", **stranger)).json()["items"] == []
    early = await post(service, "/v1/reconciliations", {**wanted, "day": "1990-01-01"})
    assert early.status_code == 422


async def test_a_question_is_read_masked_and_answered_by_its_agency(service: Service) -> None:
    reader = token("questions:read", "H10")
    async with asyncio.timeout(30):
        while not (items := (await service.get("/v1/questions", **reader)).json()["items"]):
            await asyncio.sleep(0.05)
    assert (items[0]["id"], items[0]["name"], items[0]["content"]) == (
        "HD/1",
        "L*** V*** K***",
        "Số ***?",
    )
    assert (await service.get("/v1/questions", **token("questions:read", "H56"))).json() == {
        "items": [],
        "next": None,
    }
    answer = {"content": "Ngày mai", "official": "Trần Thị Bình"}
    path = "/v1/questions/HD%2F1/answer"
    mute = await post(service, path, answer, "H10", scope="questions:read")
    assert mute.status_code == 403
    stranger = await post(service, path, answer, "H56", scope="questions:write")
    assert stranger.status_code == 404
    told = await post(service, path, answer, "H10", scope="questions:write")
    assert (told.status_code, told.json()["state"]) == (202, "answered")
    async with asyncio.timeout(30):
        while (await service.get("/v1/questions", **reader)).json()["items"][0]["state"] != "told":
            await asyncio.sleep(0.05)
    assert service.portal.replies["HD/1"][0]["NoiDungTraLoi"] == "Ngày mai"


async def test_a_held_item_is_given_up_with_a_reason_and_both_are_written_down(
    service: Service,
) -> None:
    service.portal.faults.post([{"on": "CapNhatTienDoHoSoMC", "kind": "wrong_code", "times": 1}])
    await service.tell(*life(FINE, 1, 1))
    await service.until("/v1/sync/summary", held=1)
    await service.tell(*life(FINE, 2, 2))
    (held,) = (await service.get("/v1/sync/held")).json()
    path = f"/v1/sync/held/{held['id']}/dismiss"
    assert (await post(service, path, {})).status_code == 422
    assert (await post(service, path, {"reason": "không gửi"}, "H56")).status_code == 404
    assert (await post(service, path, {"reason": "không gửi"}, "H10")).status_code == 204
    shown = await service.until(f"/v1/sync/{FINE}", waiting=[], steps_sent=1)
    assert shown["sent"]["sequence"] == 2
    (action,) = (await service.get("/internal/desk")).json()["items"]
    assert (action["client_id"], action["action"], action["item"], action["reason"]) == (
        "operator",
        "dismiss",
        held["id"],
        "không gửi",
    )
