"""Personal data in clear needs a right and a reason, and every request for it is put down."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from dossier.store.personal import forget_old
from tests.support.dossier_service import dossier_database
from tests.support.dossiers import AGENCY, code
from tests.support.personal import PERSON, PERSONAL, READ, WHY, bearer, dossier_http

MAY = bearer(READ, PERSONAL)
AUDIT = bearer("audit")
FOREIGN = "H10.16"
ONE = code(1)


@pytest.fixture
async def http(databases):
    async with dossier_http(await dossier_database(databases)) as made:
        await made.submit(code(1))
        await made.submit(code(2, FOREIGN), agency=FOREIGN)
        yield made


async def read(http, headers, dossier=ONE):
    return await http.get(f"/v1/dossiers/{dossier}", headers=headers)


async def entries(http, headers=AUDIT, **params):
    answer = await http.get("/v1/personal-reads", headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_clear_data_needs_both_the_right_and_a_purpose(http):
    for headers in (bearer(READ), bearer(READ) | WHY, MAY):
        masked = (await read(http, headers)).json()["applicant"]
        assert (masked["name"], masked["identity"]["number"]) == ("N. T. Á.", "***901")
    clear = await read(http, MAY | WHY)
    assert clear.json()["applicant"]["identity"]["number"] == "012345678901"
    assert clear.headers["cache-control"] == "no-store"
    assert "x-purpose" in clear.headers["vary"].lower()


async def test_each_request_is_put_down_answered_or_not(http):
    assert (await read(http, MAY | WHY | {"X-Request-ID": "r-1"})).status_code == 200
    assert (await read(http, MAY | WHY, code(404))).status_code == 404
    assert (await read(http, MAY | WHY, code(2, FOREIGN))).status_code == 404
    assert (await read(http, bearer(READ) | WHY)).status_code == 200
    await read(http, MAY)  # asks for nothing in clear
    found = await entries(http)
    assert [(one["dossier"], one["agency"], one["status"]) for one in found] == [
        (code(1), AGENCY, 200),
        (code(404), None, 404),
        (code(2, FOREIGN), None, 404),
        (code(1), AGENCY, 200),
    ]
    first = found[0]
    assert first["fields"] == ["address", "email", "identity", "name", "phone"]
    assert (first["form"], first["purpose"]) == ("GET /v1/dossiers/{code}", WHY["X-Purpose"])
    assert (first["client_id"], first["client_agencies"]) == ("one-stop", [AGENCY])
    assert first["request_id"] == "r-1"
    assert datetime.fromisoformat(first["read_at"]) <= datetime.now(UTC)
    assert [one["fields"] for one in found[1:]] == [[], [], []]
    values = (PERSON["name"], PERSON["phone"], PERSON["email"], "012345678901")
    assert not any(value in str(found) for value in values)


PURPOSES = [
    ("Xác minh theo đơn của ông", quote("Xác minh theo đơn của ông").encode()),
    ("Xác minh", "Xác minh".encode()),
    ("100% online", b"100% online"),
]


@pytest.mark.parametrize(("said", "sent"), PURPOSES)
async def test_a_purpose_in_vietnamese_is_kept(http, said, sent):
    answer = await http.get(
        f"/v1/dossiers/{code(1)}",
        headers=[
            (b"authorization", MAY["Authorization"].encode()),
            (b"x-purpose", sent),
        ],
    )
    assert answer.status_code == 200
    assert [one["purpose"] for one in await entries(http)] == [said]


async def test_a_purpose_that_says_nothing_is_refused(http):
    for purpose in ("", "  ", "x" * 201, "%00", "a%0Ab", "%ff"):
        answer = await read(http, MAY | {"X-Purpose": purpose})
        assert answer.status_code == 400, purpose
        assert answer.json()["type"].endswith(":purpose-missing")
    assert await entries(http) == []


async def test_auditors_look_by_dossier_client_and_time_in_pages(http):
    other = bearer(READ, PERSONAL, client="ward") | WHY
    for headers in (MAY | WHY, other, MAY | WHY, other, MAY | WHY):
        await read(http, headers)
    await read(http, MAY | WHY, code(404))
    by_client = await entries(http, client="ward")
    assert [one["client_id"] for one in by_client] == ["ward", "ward"]
    assert len(await entries(http, dossier=code(404))) == 1
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    assert await entries(http, until=(now - hour).isoformat()) == []
    assert len(await entries(http, since=(now - hour).isoformat())) == 6
    seen, after = [], 0
    while after is not None:
        page = (
            await http.get("/v1/personal-reads", headers=AUDIT, params={"after": after, "limit": 4})
        ).json()
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 6


async def test_an_auditor_sees_the_agencies_it_audits(http):
    await read(http, MAY | WHY)
    wide = bearer(READ, PERSONAL, agencies=("H10",), client="wide") | WHY
    await read(http, wide, code(2, FOREIGN))
    await read(http, MAY | WHY, code(404))
    await read(http, wide, code(404))
    everything = [(1, AGENCY), (2, FOREIGN), (3, None), (4, None)]
    seen = {
        agencies: [
            (one["id"], one["agency"])
            for one in await entries(http, bearer("audit", agencies=agencies))
        ]
        for agencies in (("*",), ("H10",), (AGENCY,), ("H10.1",), ())
    }
    assert seen[("*",)] == seen[("H10",)] == everything
    assert seen[(AGENCY,)] == [(1, AGENCY), (3, None)]
    assert seen[("H10.1",)] == seen[()] == []


async def test_only_auditors_see_who_read(http):
    for headers, status in (({}, 401), (bearer(READ, PERSONAL), 403), (bearer("operations"), 403)):
        assert (await http.get("/v1/personal-reads", headers=headers)).status_code == status
    bad = await http.get("/v1/personal-reads", headers=AUDIT, params={"since": "2026-01-01T00:00"})
    assert bad.status_code == 422


async def test_old_entries_fall_and_young_ones_stay(http):
    for _ in range(3):
        await read(http, MAY | WHY)
    await http.execute(
        "UPDATE personal_read SET read_at = now() - interval '801 days' WHERE id <= 2"
    )
    await forget_old(http.app.state.core.database, 800)
    assert [one["id"] for one in await entries(http)] == [3]
