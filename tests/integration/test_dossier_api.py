"""Reads over HTTP: rights, masking, the account of who read what, paging, caching."""

import asyncio
import base64
import json
import time
from contextlib import asynccontextmanager

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi.routing import APIRoute
from pydantic import SecretStr
from sqlalchemy import text
from structlog.processors import format_exc_info
from structlog.testing import capture_logs

from common.auth import TokenKeys
from common.envelope import Received, decode
from common.sealing import KeyRing
from common.service import Shared
from common.transport.base import Message, Queue
from common.transport.local import LocalTransport
from dossier.api import dossiers as api
from dossier.main import create_app
from dossier.settings import Settings
from tests.support.dossier_service import dossier_database, dossier_service
from tests.support.dossiers import AGENCY, START, code, command, envelope, submission

KEY = ec.generate_private_key(ec.SECP256R1())
SEALING = {"k1": SecretStr(base64.b64encode(b"k" * 32).decode())}
RING = KeyRing(SEALING, "k1")
PERSON = {
    "name": "Nguyễn Thị Ánh",
    "identity": {"type": "citizen-id", "number": "012345678901"},
    "phone": "0912345678",
    "email": "anh@example.vn",
    "address": "Số 1, phố A",
}
SECRETS = ("Nguyễn", "012345678901", "0912345678", "anh@", "Số 1")
READ, PERSONAL = "dossiers:read", "dossiers:personal"
WHY = {"X-Purpose": "Xac minh"}
OWN, BELOW, FOREIGN, ABOVE = "H10.15", "H10.15.2", "H10.16", "H10"


async def jwks():
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    return {"keys": [{**public, "kid": "t1", "use": "sig", "alg": "ES256"}]}


def bearer(*scopes, agencies=(OWN,), **claims):
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
        "agencies": list(agencies) if isinstance(agencies, tuple) else agencies,
        "procedures": ["*"],
    }
    token = jwt.encode({**said, **claims}, KEY, "ES256", headers={"kid": "t1"})
    return {"Authorization": f"Bearer {token}"}


def sealed(dossier):
    return RING.seal(PERSON, dossier)


async def filled(databases, lives):
    """A database with dossiers: (code, agency, commands after the submission)."""
    url = await dossier_database(databases)
    async with dossier_service(url) as service:
        batch = []
        for name, agency, fields, steps in lives:
            begun = command("submit", sealed=sealed(name), **fields)
            for number, one in enumerate([begun, *steps], 1):
                event = submission(name, one, agency=agency)
                batch.append(envelope(event, number, aggregate=name))
        await service.submissions.take(batch)
    return url


@asynccontextmanager
async def client(url, *, keys=SEALING, transport=None):
    settings = Settings(database_url=SecretStr(url), sealing_keys=keys)
    app = create_app(
        settings, Shared(transport=transport or LocalTransport(), token_keys=TokenKeys(jwks))
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://dossier",
        ) as http,
    ):
        http.app = app  # type: ignore[attr-defined]
        yield http


FEW: list[tuple[str, str, dict, list]] = [
    (code(1), OWN, {}, [command("receive", 1), command("receive", 2), command("progress", 3)]),
    (code(2, BELOW), BELOW, {}, []),
    (code(3, FOREIGN), FOREIGN, {}, []),
]


@pytest.fixture
async def http(databases):
    async with client(await filled(databases, FEW)) as made:
        yield made


async def reads(http):
    core = http.app.state.core
    async with core.database.reading() as connection:
        return list(await connection.execute(text("TABLE personal_read ORDER BY id")))


def by_agency(codes):
    return sorted(codes, key=lambda one: (one.rsplit("-", 2)[0], one))


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["title"]
    assert body["title_en"]
    assert body["status"] == answer.status_code
    return body["type"].rsplit(":", 1)[1]


# Rights


@pytest.mark.parametrize(
    "path", ["/v1/dossiers", f"/v1/dossiers/{code(1)}", f"/v1/dossiers/{code(1)}/steps"]
)
async def test_nothing_is_read_without_a_right(http, path):
    assert (await http.get(path)).status_code == 401
    assert (await http.get(path, headers={"Authorization": "Bearer x.y.z"})).status_code == 401
    expired = bearer(READ, exp=int(time.time()) - 3600)
    assert (await http.get(path, headers=expired)).status_code == 401
    for scopes in ([], [PERSONAL], ["dossiers:write"], ["dossiers:reader"]):
        refused = await http.get(path, headers=bearer(*scopes))
        assert refused.status_code == 403
        assert problem(refused) == "forbidden"
    assert (await http.get(path, headers=bearer(READ))).status_code == 200


def test_every_route_asks_for_the_scope():
    assert len(api.router.routes) == 3
    for route in api.router.routes:
        assert isinstance(route, APIRoute)
        scopes = {getattr(one.call, "scope", None) for one in route.dependant.dependencies}
        assert READ in scopes, route.path


SEEN = [
    ((OWN,), {code(1), code(2, BELOW)}),
    ((BELOW,), {code(2, BELOW)}),
    ((FOREIGN,), {code(3, FOREIGN)}),
    ((ABOVE,), {code(1), code(2, BELOW), code(3, FOREIGN)}),
    (("*",), {code(1), code(2, BELOW), code(3, FOREIGN)}),
    ("*", {code(1), code(2, BELOW), code(3, FOREIGN)}),
    (("H10.1",), set()),
    ((BELOW, FOREIGN), {code(2, BELOW), code(3, FOREIGN)}),
    ((OWN, BELOW, OWN), {code(1), code(2, BELOW)}),
]


async def test_a_client_sees_the_dossiers_of_its_agencies_and_no_others(http):
    for agencies, seen in SEEN:
        before = len(await reads(http))
        may = bearer(READ, PERSONAL, agencies=agencies) | WHY
        listed = await http.get("/v1/dossiers", headers=may)
        assert [one["code"] for one in listed.json()["items"]] == by_agency(seen), agencies
        for name, _, _, _ in FEW:
            for path in (f"/v1/dossiers/{name}", f"/v1/dossiers/{name}/steps"):
                answer = await http.get(path, headers=may)
                assert answer.status_code == (200 if name in seen else 404), (agencies, path)
        put_down = (await reads(http))[before:]
        assert {row.dossier for row in put_down if row.status == 200} == seen
        assert {row.dossier for row in put_down} == {name for name, *_ in FEW}


async def test_a_client_of_no_agency_sees_nothing(http):
    none = bearer(READ, agencies=())
    assert (await http.get(f"/v1/dossiers/{code(1)}", headers=none)).status_code == 404
    assert (await http.get("/v1/dossiers", headers=none)).status_code == 403


async def test_a_foreign_dossier_and_none_at_all_look_the_same(http):
    answers = [
        await http.get(f"/v1/dossiers/{name}", headers=bearer(READ, PERSONAL))
        for name in (code(3, FOREIGN), code(404))
    ]
    bodies = [{**one.json(), "instance": ""} for one in answers]
    assert [one.status_code for one in answers] == [404, 404]
    assert bodies[0] == bodies[1]
    assert problem(answers[0]) == "unknown-dossier"
    assert await reads(http) == []


async def test_a_list_of_a_foreign_agency_is_refused_and_one_above_is_narrowed(http):
    refused = await http.get("/v1/dossiers", params={"agency": FOREIGN}, headers=bearer(READ))
    assert (refused.status_code, problem(refused)) == (403, "forbidden")
    above = await http.get("/v1/dossiers", params={"agency": ABOVE}, headers=bearer(READ))
    assert {one["code"] for one in above.json()["items"]} == {code(1), code(2, BELOW)}


# Content


async def test_a_dossier_as_it_stands(http):
    body = (await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ))).json()
    assert (body["code"], body["agency"], body["status"]) == (code(1), AGENCY, "4")
    assert (body["state"], body["version"]) == ("known", 4)
    assert body["procedure"]["code"] == "1.000016"
    assert body["submitted_at"] == START.isoformat().replace("+00:00", "Z")


async def test_personal_data_is_masked_and_never_sealed(http):
    answer = await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ))
    assert "sealed" not in answer.text
    assert answer.json()["applicant"] == {
        "name": "N. T. Á.",
        "identity": {"type": "citizen-id", "number": "***901"},
        "portal_account": None,
        "email": "***",
        "phone": "***678",
        "address": "***",
    }
    listed = await http.get("/v1/dossiers", headers=bearer(READ, PERSONAL))
    assert "applicant" not in listed.text
    assert "sealed" not in listed.text
    for secret in SECRETS:
        assert secret not in answer.text + listed.text
    assert await reads(http) == []


async def test_personal_data_in_clear_is_put_down_in_the_same_request(http):
    may = bearer(READ, PERSONAL, agencies=(ABOVE, "H11")) | WHY | {"X-Request-ID": "r-77"}
    answer = await http.get(f"/v1/dossiers/{code(1)}", headers=may)
    given = {key: value for key, value in answer.json()["applicant"].items() if value is not None}
    assert given == PERSON
    assert answer.headers["cache-control"] == "no-store"
    (row,) = await reads(http)
    assert (row.dossier, row.agency, row.client_id) == (code(1), AGENCY, "one-stop")
    assert row.client_agencies == [ABOVE, "H11"]
    assert (row.request_id, row.form, row.status) == ("r-77", "GET /v1/dossiers/{code}", 200)
    assert row.fields == ["address", "email", "identity", "name", "phone"]
    assert row.purpose == "Xac minh"
    assert row.read_at is not None
    assert not any(secret in str(row) for secret in SECRETS)


async def test_what_cannot_be_put_down_is_not_handed_out(http):
    core = http.app.state.core
    async with core.database.transaction() as connection:
        await connection.execute(text("DROP TABLE personal_read"))
    with capture_logs() as logs:
        failed = await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ, PERSONAL) | WHY)
    assert (failed.status_code, problem(failed)) == (500, "internal-error")
    assert "request failed" in {entry["event"] for entry in logs}
    for secret in SECRETS:
        assert secret not in failed.text + str([format_exc_info(None, "", one) for one in logs])
    masked = await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ))
    assert masked.status_code == 200


async def test_without_its_key_a_dossier_is_read_without_its_applicant(databases):
    other = {"k2": SecretStr(base64.b64encode(b"z" * 32).decode())}
    async with client(await filled(databases, FEW), keys=other) as http:
        masked = await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ))
        assert masked.json()["applicant"] is None
        full = await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ, PERSONAL) | WHY)
        assert (full.status_code, problem(full)) == (500, "personal-data-unreadable")
        (row,) = await reads(http)
        assert (row.status, row.fields) == (500, [])


async def test_an_unchanged_dossier_is_not_sent_again(http):
    path = f"/v1/dossiers/{code(1)}"
    first = await http.get(path, headers=bearer(READ))
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"9", {tag}', "*"):
        again = await http.get(path, headers=bearer(READ) | {"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for given in ('"3"', '"44"', "4"):
        changed = await http.get(path, headers=bearer(READ) | {"If-None-Match": given})
        assert changed.status_code == 200
    # The full form is another one: a masked copy must not stand for it, nor a 304 count as a read.
    full = await http.get(path, headers=bearer(READ, PERSONAL) | WHY | {"If-None-Match": tag})
    assert full.status_code == 200
    own = bearer(READ, PERSONAL) | WHY | {"If-None-Match": full.headers["etag"]}
    assert (await http.get(path, headers=own)).status_code == 304
    assert len(await reads(http)) == 1


async def test_the_history_in_order_with_words_for_what_is_unusual(http):
    path = f"/v1/dossiers/{code(1)}/steps"
    page = (await http.get(path, headers=bearer(READ))).json()
    assert [one["number"] for one in page["items"]] == [1, 2, 3, 4]
    assert [one["kind"] for one in page["items"]] == ["submit", "receive", "receive", "progress"]
    assert [one["flagged"] for one in page["items"]] == [None, None, "already-received", None]
    assert page["items"][2]["flagged_reason"]["vi"] == "Hồ sơ đã được tiếp nhận"
    assert page["next"] is None
    first = (await http.get(path, params={"limit": 3}, headers=bearer(READ))).json()
    assert ([one["number"] for one in first["items"]], first["next"]) == ([1, 2, 3], 3)
    rest = (await http.get(path, params={"after": 3}, headers=bearer(READ))).json()
    assert [one["number"] for one in rest["items"]] == [4]


# Lists

MANY_AGENCIES = ["H10", "H10.15", "H10.15.1", "H10.15.10", "H10.150", "H10.2", "H20", "H11"]


def many():
    lives = []
    for number in range(64):
        agency = MANY_AGENCIES[number % len(MANY_AGENCIES)]
        steps = [command("receive", 1)] if number % 3 == 0 else []
        code_of = {
            "code": f"1.00001{number % 2}",
            "name": "X",
            "field": {"code": None, "name": "Y"},
        }
        lives.append((code(number, agency), agency, {"procedure": code_of}, steps))
    return lives


async def paged(http, headers, **params):
    found, after = [], None
    for _ in range(100):
        given = {**params, **({"after": after} if after else {})}
        answer = await http.get("/v1/dossiers", params=given, headers=headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        after = page["next"]
        if after is None:
            return found
    raise AssertionError("pages without end")


async def test_lists_by_agency_status_and_procedure_in_pages_of_any_size(databases):
    lives = many()
    everything = bearer(READ, agencies=("*",))
    async with client(await filled(databases, lives)) as http:
        for agency in (None, "H10", "H10.15", "H10.15.1", "H11"):
            for status in (None, "1", "2", "9"):
                for procedure in (None, "1.000010"):
                    expected = [
                        name
                        for name, of, fields, steps in lives
                        if (agency is None or of == agency or of.startswith(f"{agency}."))
                        and (status is None or status == ("2" if steps else "1"))
                        and (procedure is None or fields["procedure"]["code"] == procedure)
                    ]
                    asked = {"agency": agency, "status": status, "procedure": procedure}
                    params = {key: value for key, value in asked.items() if value}
                    for limit in (5, 200):
                        found = await paged(http, everything, limit=limit, **params)
                        assert [one["code"] for one in found] == by_agency(expected), asked
        several = await paged(http, bearer(READ, agencies=("H11", "H10.15", "H10.15.1")), limit=3)
        assert {one["agency"] for one in several} == {"H10.15", "H10.15.1", "H10.15.10", "H11"}
        assert len(several) == len({one["code"] for one in several}) == 32
        legacy = await paged(http, everything, agency="000.00.15.H10")
        assert {one["agency"] for one in legacy} == {"H10.15", "H10.15.1", "H10.15.10"}


BAD = [
    ("/v1/dossiers", {"limit": 0}, "/limit"),
    ("/v1/dossiers", {"limit": 201}, "/limit"),
    ("/v1/dossiers", {"limit": "x"}, "/limit"),
    ("/v1/dossiers", {"status": "11"}, "/status"),
    ("/v1/dossiers", {"agency": "nowhere"}, "/agency/0"),
    ("/v1/dossiers", {"agency": "H10\x00"}, "/agency/0"),
    ("/v1/dossiers", {"procedure": "16"}, "/procedure"),
    ("/v1/dossiers", {"after": "H10"}, "/after"),
    ("/v1/dossiers", {"after": f"H10:{code(1)}\x00"}, "/after"),
    ("/v1/dossiers", {"after": "H10:" + "1" * 200}, "/after"),
    (f"/v1/dossiers/{code(1)}/steps", {"after": -1}, "/after"),
    (f"/v1/dossiers/{code(1)}/steps", {"after": 2**31}, "/after"),
    (f"/v1/dossiers/{code(1)}/steps", {"limit": 10**9}, "/limit"),
    ("/v1/dossiers/%00", {}, "/code"),
    ("/v1/dossiers/H10", {}, "/code"),
    (f"/v1/dossiers/{'9' * 100}-261102-0001", {}, "/code"),
]


async def test_bad_input_is_named(http):
    for path, params, pointer in BAD:
        answer = await http.get(path, params=params, headers=bearer(READ))
        assert (answer.status_code, problem(answer)) == (422, "invalid-content"), (path, params)
        assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


async def test_what_is_described_is_what_is_answered(http):
    described = (await http.get("/openapi.json")).json()
    schema = described["components"]["schemas"]["DossierView"]
    body = (await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ))).json()
    assert set(schema["properties"]) == set(body)
    assert set(described["paths"]) >= {
        "/v1/dossiers",
        "/v1/dossiers/{code}",
        "/v1/dossiers/{code}/steps",
    }


async def test_the_running_service_takes_submissions_and_tells_what_became_of_them(databases):
    transport = LocalTransport()
    heard: list[Received] = []

    async def listen(bodies):
        heard.extend(decode(body) for body in bodies)

    async def fine():
        pass

    queue = Queue("listener", "all", ("dossier.#", "submission.applied.v1"))
    transport.consume(queue, listen, check=fine, batch=100)
    async with client(await databases.create(), transport=transport) as http:
        begun = submission(code(1), command("submit", sealed=sealed(code(1))))
        body = envelope(begun, 1, aggregate=code(1))
        assert await transport.publish([Message(begun.TYPE, "1", body)]) == [True]
        async with asyncio.timeout(60):
            while len(heard) < 2:
                await asyncio.sleep(0.02)
        assert {one.type for one in heard} == {"dossier.submitted.v1", "submission.applied.v1"}
        answer = await http.get(f"/v1/dossiers/{code(1)}", headers=bearer(READ, PERSONAL) | WHY)
        assert answer.json()["applicant"]["name"] == PERSON["name"]
