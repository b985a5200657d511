"""How a dossier stands to its due date, as clients and operators see it."""

import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from common.auth import TokenKeys
from common.contracts.dossier import DeadlineNotice, DossierOverdue
from common.envelope import decode
from common.service import Shared
from common.transport.base import Queue
from common.transport.local import LocalTransport
from dossier.main import create_app
from dossier.settings import Settings
from tests.support.dossier_service import dossier_database, dossier_service
from tests.support.dossiers import AGENCY, code, command, envelope, submission
from tests.support.messaging import until

KEY = ec.generate_private_key(ec.SECP256R1())
PROCEDURE = {
    "code": "1.000016",
    "name": "Cấp phép",
    "field": {"code": "G05", "name": "Đầu tư"},
    "time": {"quantity": 5, "unit": "working-day"},
}
READ = "dossiers:read"


async def jwks():
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    return {"keys": [{**public, "kid": "t1", "use": "sig", "alg": "ES256"}]}


def bearer(*scopes, agency=AGENCY):
    now = int(time.time())
    said = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
        "client_id": "one-stop",
        "sub": "one-stop",
        "scope": " ".join(scopes),
        "agencies": [agency],
        "procedures": ["*"],
    }
    token = jwt.encode(said, KEY, "ES256", headers={"kid": "t1"})
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running(url, transport=None, **settings):
    app = create_app(
        Settings(database_url=SecretStr(url), **settings),
        Shared(transport=transport or LocalTransport(), token_keys=TokenKeys(jwks)),
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://dossier",
        ) as http,
    ):
        yield http


async def filled(databases, *steps, time=PROCEDURE["time"]):
    """A database with one dossier."""
    url = await dossier_database(databases)
    begun = command("submit", procedure={**PROCEDURE, "time": time})
    async with dossier_service(url) as service:
        batch = [
            envelope(submission(code(1), one), number, aggregate=code(1))
            for number, one in enumerate([begun, *steps], 1)
        ]
        await service.submissions.take(batch)
    return url


async def read(url):
    async with running(url) as http:
        answer = await http.get(f"/v1/dossiers/{code(1)}/deadline", headers=bearer(READ))
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()


async def test_a_dossier_shows_how_many_working_days_are_left(databases):
    now = datetime.now(UTC)
    due = now + timedelta(days=30)
    said = await read(await filled(databases, command("receive", at=now, due_at=due)))
    assert datetime.fromisoformat(said["due_at"]) == due
    assert (said["computed"], said["running"], said["overdue_by"]) == (False, True, 0)
    assert 14 < said["working_days_left"] < 24
    assert said["calendar"]


async def test_an_overdue_dossier_shows_by_how_much(databases):
    due = datetime.now(UTC) - timedelta(days=30)
    said = await read(await filled(databases, command("receive", due_at=due)))
    assert said["working_days_left"] == 0
    assert 14 < said["overdue_by"] < 24


async def test_a_computed_date_is_shown_as_such_and_stands_still_when_finished(databases):
    received, done = (datetime(2026, 3, day, 2, tzinfo=UTC) for day in (2, 6))
    steps = (command("receive", at=received), command("complete", at=done))
    said = await read(await filled(databases, *steps))
    assert said["due_at"] == "2026-03-09T02:00:00Z"
    assert (said["computed"], said["running"], said["estimated"]) == (True, False, False)
    assert (said["working_days_left"], said["at"]) == (1, "2026-03-06T02:00:00Z")


async def test_without_a_due_date_there_is_nothing_to_show(databases):
    said = await read(await filled(databases, command("receive"), time=None))
    assert {name for name, value in said.items() if value is not None} == {
        "code",
        "computed",
        "extensions",
        "calendar",
    }


async def test_only_who_may_see_the_dossier_sees_its_due_date(databases):
    async with running(await filled(databases, command("receive"))) as http:
        path = f"/v1/dossiers/{code(1)}/deadline"
        assert (await http.get(path)).status_code == 401
        assert (await http.get(path, headers=bearer("dossiers:write"))).status_code == 403
        assert (await http.get(path, headers=bearer(READ, agency="H10.16"))).status_code == 404
        none = await http.get(f"/v1/dossiers/{code(9)}/deadline", headers=bearer(READ))
        assert none.status_code == 404


async def test_the_running_service_tells_of_an_overdue_dossier_and_counts_it(databases):
    due = datetime.now(UTC) - timedelta(days=1)
    url = await filled(databases, command("receive", due_at=due))
    heard: list[DeadlineNotice] = []
    transport = LocalTransport()

    async def take(bodies):
        events = [decode(body).event for body in bodies]
        heard.extend(event for event in events if isinstance(event, DeadlineNotice))

    async def fine():
        return None

    async with running(url, transport) as http:
        transport.consume(Queue("test", "notices", ("dossier.#",)), take, check=fine, batch=10)
        await until(lambda: heard)
        metrics = (await http.get("/metrics")).text
    (notice,) = heard
    assert isinstance(notice, DossierOverdue)
    assert (notice.dossier_code, notice.due_at, notice.at) == (code(1), due, due)
    assert 'dossiers_at_risk{deadline="overdue"} 1.0' in metrics


async def test_a_file_of_the_operator_takes_the_place_of_the_make_up_days(databases, tmp_path):
    file = tmp_path / "days.json"
    years = {"2026": {"source": "a decision", "confidence": "law"}}
    day = {"off": "2026-11-04", "worked": "2026-11-14", "source": "a decision", "confidence": "law"}
    whole = {"version": "the operator's", "about": "a test", "years": years, "days": [day]}
    file.write_text(json.dumps(whole), encoding="utf-8")
    url = await filled(databases, command("receive"))
    async with running(url, working_days=file) as http:
        answer = await http.get(f"/v1/dossiers/{code(1)}/deadline", headers=bearer(READ))
        year = (await http.get("/v1/working-days/2026", headers=bearer("operations"))).json()
    assert answer.json()["calendar"] == year["calendar"] == "the operator's"
    assert year["worked"] == ["2026-11-14"]
    assert "2026-11-04" in year["off"]


async def test_only_operators_list_the_days_of_a_year(databases):
    async with running(await dossier_database(databases)) as http:
        path = "/v1/working-days/{}".format
        assert (await http.get(path(2026))).status_code == 401
        assert (await http.get(path(2026), headers=bearer(READ))).status_code == 403
        assert (await http.get(path(2100), headers=bearer("operations"))).status_code == 422
        said = (await http.get(path(2026), headers=bearer("operations"))).json()
    assert said["checked"] is True
    assert said["worked"] == ["2026-01-10", "2026-08-22"]


async def test_a_malformed_file_of_make_up_days_stops_the_start(databases, tmp_path):
    file = tmp_path / "days.json"
    file.write_text('{"version": "1"}', encoding="utf-8")
    with pytest.raises(ValueError, match="years"):
        create_app(Settings(database_url=SecretStr("postgresql+asyncpg://x"), working_days=file))
