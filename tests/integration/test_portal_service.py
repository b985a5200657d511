"""The whole service: events in, calls out, and what operators see of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from common.auth import TokenKeys
from common.envelope import decode
from common.service import Shared
from common.transport.base import Message
from common.transport.local import LocalTransport
from national_portal_sync.main import create_app
from national_portal_sync.settings import Settings
from simulators.national_portal import NationalPortal as Simulator
from tests.support.databases import Databases
from tests.support.portal import SEALING_KEYS, code_of, life, prepared, serving

KEY = ec.generate_private_key(ec.SECP256R1())
HELD, FINE, FOREIGN = code_of(1), code_of(2), code_of(3, "H56.14")


async def published_keys() -> dict[str, Any]:
    key = jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return {"keys": [{**key, "kid": "t", "alg": "ES256", "use": "sig"}]}


def token(scope: str = "operations", *agencies: str) -> dict[str, str]:
    claims = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": time.time(),
        "exp": time.time() + 60,
        "jti": str(uuid4()),
        "client_id": "operator",
        "sub": "operator",
        "scope": scope,
        "agencies": agencies or ("*",),
        "procedures": ["*"],
    }
    return {"authorization": "Bearer " + jwt.encode(claims, KEY, "ES256", headers={"kid": "t"})}


@dataclass
class Service:
    """The service and the outside it talks to."""

    http: httpx.AsyncClient
    transport: LocalTransport
    portal: Simulator

    async def tell(self, *bodies: bytes) -> None:
        messages = [Message(event.type, str(event.id), event.body) for event in map(decode, bodies)]
        assert all(await self.transport.publish(messages))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=headers or token())

    async def until(self, path: str, **wanted: Any) -> dict[str, Any]:
        """What a path says once these members have these values."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.get(path)
                shown: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
                if shown and all(shown[name] == value for name, value in wanted.items()):
                    return shown
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    databases: Databases, portal_url: str, portal: Simulator
) -> AsyncIterator[Service]:
    template = await databases.template("portal", prepared)
    settings = Settings(
        database_url=SecretStr(await databases.create("portal", template=template)),
        sealing_keys=SEALING_KEYS,
        portal_url=portal_url,
        portal_username="tinh",
        portal_password=SecretStr("mat-khau"),
        portal_unit="H10",
        portal_dstcode="G22",
    )
    transport = LocalTransport()
    app = create_app(settings, Shared(transport=transport, token_keys=TokenKeys(published_keys)))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://service"
        ) as http,
    ):
        yield Service(http, transport, portal)


@pytest.fixture
async def service(databases: Databases) -> AsyncIterator[Service]:
    portal = Simulator()
    async with serving(portal) as url, running(databases, url, portal) as made:
        yield made


async def test_events_become_calls_and_operators_see_both(service: Service) -> None:
    await service.tell(*life(FINE), *life(FOREIGN, 1, 1))
    shown = await service.until(f"/v1/sync/{FINE}", waiting=[], steps_sent=5)
    assert (shown["code"], shown["agency"], shown["known"]) == (FINE, "H10.15", True)
    assert (shown["sent"]["sequence"], shown["sent"]["status"]) == (5, "9")
    assert shown["maybe_doubled_steps"] == []
    kept = service.portal.dossiers[FINE]
    assert (kept.created, list(kept.steps.values())) == (1, [1] * 5)
    await service.until(f"/v1/sync/{FOREIGN}", waiting=[])
    summary = (await service.get("/v1/sync/summary")).json()
    assert (summary["waiting"], summary["held"], summary["oldest_seconds"]) == ([], 0, None)
    assert (summary["portal_failing"], summary["portal_paused_seconds"]) == (False, 0)


async def test_what_is_held_is_shown_and_sent_again_by_an_operator(service: Service) -> None:
    service.portal.faults.post([{"on": "DongBoHoSoMC", "kind": "wrong_code", "times": 1}])
    await service.tell(*life(HELD, 1, 2))
    summary = await service.until("/v1/sync/summary", held=1)
    assert {(one["kind"], one["state"], one["items"]) for one in summary["waiting"]} == {
        ("dossier", "held", 1),
        ("step", "due", 2),
    }
    assert summary["oldest_seconds"] > 0
    (held,) = (await service.get("/v1/sync/held")).json()
    assert (held["dossier_code"], held["kind"], held["state"]) == (HELD, "dossier", "held")
    assert held["error"].startswith("99: Cập nhật không thành công")
    again = await service.http.post(f"/v1/sync/held/{held['id']}/retry", headers=token())
    assert (again.status_code, again.json()["state"]) == (200, "due")
    shown = await service.until(f"/v1/sync/{HELD}", waiting=[])
    assert (shown["known"], shown["steps_sent"]) == (True, 2)
    twice = await service.http.post(f"/v1/sync/held/{held['id']}/retry", headers=token())
    assert (twice.status_code, twice.json()["type"]) == (404, "urn:lienthong:problem:not-found")


async def test_steps_that_may_be_doubled_are_named(service: Service) -> None:
    service.portal.faults.post([{"on": "CapNhatTienDoHoSoMC", "kind": "drop_after", "times": 1}])
    await service.tell(*life(FINE, 1, 2))
    shown = await service.until(f"/v1/sync/{FINE}", waiting=[], steps_sent=2)
    assert shown["maybe_doubled_steps"] == [1, 2]


async def test_an_operator_sees_and_does_only_what_is_theirs(service: Service) -> None:
    service.portal.faults.post([{"on": "DongBoHoSoMC", "kind": "wrong_code"}])
    await service.tell(*life(HELD, 1, 1), *life(FOREIGN, 1, 1))
    await service.until("/v1/sync/summary", held=2)
    mine, root, alike = (token("operations", agency) for agency in ("H56.14", "H56", "H5"))
    (held,) = (await service.get("/v1/sync/held", **mine)).json()
    assert held["dossier_code"] == FOREIGN
    assert len((await service.get("/v1/sync/held", **root)).json()) == 1
    assert (await service.get("/v1/sync/held", **alike)).json() == []
    assert (await service.get("/v1/sync/summary", **mine)).json()["held"] == 1
    assert (await service.get(f"/v1/sync/{FOREIGN}", **mine)).status_code == 200
    assert (await service.get(f"/v1/sync/{HELD}", **mine)).status_code == 404
    others = [one for one in (await service.get("/v1/sync/held")).json() if one != held]
    taken = await service.http.post(f"/v1/sync/held/{others[0]['id']}/retry", headers=mine)
    assert taken.status_code == 404
    assert (await service.get("/v1/sync/summary")).json()["held"] == 2


@pytest.mark.parametrize("path", ["/v1/sync/summary", "/v1/sync/held", f"/v1/sync/{FINE}"])
async def test_nobody_else_sees_anything(service: Service, path: str) -> None:
    assert (await service.http.get(path)).status_code == 401
    answer = await service.get(path, **token("dossiers:read"))
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:lienthong:problem:forbidden")
    post = await service.http.post("/v1/sync/held/1/retry", headers=token("dossiers:read"))
    assert post.status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/sync/{FINE}", 404),
        (f"/v1/sync/{'x' * 61}", 422),
        ("/v1/sync/held?limit=0", 422),
        ("/v1/sync/held?limit=501", 422),
        ("/v1/sync/held?after=-1", 422),
        (f"/v1/sync/held?after={2**63}", 422),
    ],
)
async def test_a_bad_question_is_told_so(service: Service, path: str, status: int) -> None:
    answer = await service.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title_en"]


async def test_a_portal_that_is_away_makes_nobody_unready(databases: Databases) -> None:
    async with running(databases, "http://127.0.0.1:1", Simulator()) as service:
        await service.tell(*life(FINE, 1, 2))
        summary = await service.until("/v1/sync/summary", portal_failing=True)
        assert sum(one["items"] for one in summary["waiting"]) == 3
        assert (await service.http.get("/readyz")).status_code == 200
