"""What operators see of the accounts, and how they try one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from common.auth import TokenKeys
from common.envelope import decode
from common.service import Shared
from common.transport.base import Message
from common.transport.local import LocalTransport
from national_portal_sync.main import create_app
from national_portal_sync.settings import Settings
from simulators.national_portal import NationalPortal as Simulator
from tests.integration.test_portal_service import Service, published_keys, token
from tests.support.databases import Databases
from tests.support.portal import SEALING_KEYS, code_of, life, prepared, serving

ONE, TWO, OTHER = code_of(1, "H10.15"), code_of(2, "H56.14"), code_of(3, "G01")


class Files:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **passwords: str) -> None:
        for name, password in passwords.items():
            (self.folder / name).write_text(password)
        entries = [
            {"name": "ha", "agencies": ["H10"], "username": "ha", "unit": "H10", "dstcode": "G22"},
            {"name": "hai", "agencies": ["H56"], "username": "hai", "unit": "H56", "dstcode": "G2"},
        ]
        (self.folder / "accounts.json").write_text(json.dumps({"accounts": entries}))


@asynccontextmanager
async def running(databases: Databases, url: str, portal: Simulator, files: Files) -> Any:
    template = await databases.template("portal", prepared)
    settings = Settings(
        database_url=SecretStr(await databases.create("portal", template=template)),
        sealing_keys=SEALING_KEYS,
        portal_url=url,
        accounts_file=files.folder / "accounts.json",
        accounts_seconds=0.05,
    )
    transport = LocalTransport()
    app = create_app(settings, Shared(transport=transport, token_keys=TokenKeys(published_keys)))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service")
    async with app.router.lifespan_context(app), client as http:
        yield Service(http, transport, portal)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.write(ha="mot", hai="hai")
    return made


@pytest.fixture
async def service(databases: Databases, files: Files) -> AsyncIterator[Service]:
    portal = Simulator(accounts={"ha": "mot", "hai": "hai"})
    async with serving(portal) as url, running(databases, url, portal, files) as made:
        yield made


async def check(service: Service, name: str, **headers: str) -> httpx.Response:
    return await service.http.post(
        f"/v1/sync/accounts/{name}/check", headers=headers or token("operations")
    )


async def tell(service: Service, *bodies: bytes) -> None:
    messages = [Message(event.type, str(event.id), event.body) for event in map(decode, bodies)]
    assert all(await service.transport.publish(messages))


async def test_a_check_says_whether_an_account_is_let_in(service: Service, files: Files) -> None:
    answer = await check(service, "ha")
    assert (answer.status_code, answer.json()["let_in"], answer.json()["reason"]) == (
        200,
        True,
        None,
    )
    files.write(ha="sai")
    told = (await check(service, "ha")).json()
    assert (told["let_in"], told["reason"]) == (False, "refused (-1)")
    assert told["account"]["trouble"] == "refused (-1)"
    assert told["account"]["paused_seconds"] > 20
    files.write(ha="mot")
    told = (await check(service, "ha")).json()
    assert (told["let_in"], told["account"]["trouble"]) == (True, None)
    assert told["account"]["paused_seconds"] == 0
    assert (await check(service, "ba")).status_code == 404


async def test_accounts_are_shown_without_their_credentials(service: Service) -> None:
    answer = await service.get("/v1/sync/accounts")
    assert answer.status_code == 200
    shown = answer.json()
    assert [(one["name"], one["agencies"], one["unit"]) for one in shown["accounts"]] == [
        ("ha", ["H10"], "H10"),
        ("hai", ["H56"], "H56"),
    ]
    assert shown["invalid"] is None
    for secret in ("mot", "username", "password"):
        assert secret not in answer.text


async def test_an_operator_sees_and_tries_only_accounts_of_their_agencies(
    service: Service,
) -> None:
    mine = token("operations", "H56")
    shown = (await service.get("/v1/sync/accounts", **mine)).json()
    assert [one["name"] for one in shown["accounts"]] == ["hai"]
    assert (await check(service, "hai", **mine)).status_code == 200
    assert (await check(service, "ha", **mine)).status_code == 404
    assert (await check(service, "hai", **token("operations", "H56.14"))).status_code == 404
    assert (await check(service, "hai", **token("dossiers:read"))).status_code == 403
    assert (await service.http.get("/v1/sync/accounts")).status_code == 401


async def test_a_file_that_cannot_be_read_changes_nothing_and_is_told(
    service: Service, files: Files
) -> None:
    (files.folder / "accounts.json").write_text("{")
    shown = await service.until("/v1/sync/accounts")
    while shown["invalid"] is None:
        shown = await service.until("/v1/sync/accounts")
    assert "accounts.json" in shown["invalid"]
    assert len(shown["accounts"]) == 2
    await tell(service, *life(ONE, 1, 1))
    await service.until(f"/v1/sync/{ONE}", waiting=[], account="ha")


async def test_an_agency_without_an_account_is_named_and_measured(
    service: Service, files: Files
) -> None:
    await tell(service, *life(OTHER, 1, 1), *life(TWO, 1, 1))
    await service.until(f"/v1/sync/{TWO}", waiting=[], account="hai")
    shown = await service.until(f"/v1/sync/{OTHER}", known=False)
    assert {one["state"] for one in shown["waiting"]} == {"due"}
    assert "no account" in shown["waiting"][0]["error"]
    while True:
        measured = (await service.http.get("/metrics")).text
        if "portal_agencies_without_account 1.0" in measured:
            break
    assert 'portal_account_usable{account="ha"} 1.0' in measured
