"""Refused requests are put down, without anything of their content, and shown to whoever may."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from common.database import DatabaseAway
from common.identifiers import new_id
from gateway.domain.refusals import Refusal, type_of
from gateway.store import refusals as store
from gateway.use_cases.refusals import Refusals
from tests.support.gateway import (
    CLIENTS,
    NAME,
    NUMBER,
    SECRET,
    gateway_database,
    running_gateway,
    step,
    submission,
)

AUDITOR = {
    "client_id": "auditor",
    "secret": SECRET + "-9",
    "scopes": ["audit", "operations"],
    "agencies": ["*"],
}
PROVINCES = {**AUDITOR, "client_id": "province", "agencies": ["H56"]}
ABOVE_NOBODY = {**AUDITOR, "client_id": "commune", "agencies": ["H56.14"]}
ALL = json.dumps([*CLIENTS, AUDITOR, PROVINCES, ABOVE_NOBODY])


async def written(gateway):
    await gateway.app.state.gateway.refusals.write()
    return await gateway.rows("SELECT * FROM refusal ORDER BY id")


async def shown(gateway, auditor: str = "auditor", **query):
    scopes = {"scope": "audit operations"}
    token = await gateway.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", **scopes},
        auth=(auditor, SECRET + "-9"),
    )
    answer = await gateway.http.get(
        "/v1/refusals",
        params=query,
        headers={"Authorization": f"Bearer {token.json()['access_token']}"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_kind_of_refusal_is_put_down(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        assert (await gateway.submit(submission())).status_code == 202
        expected = [
            ((await gateway.http.get("/v1/submissions")).status_code, 401, "unauthorised"),
            ((await gateway.submit(client="reader")).status_code, 403, "forbidden"),
            ((await gateway.get(f"/v1/submissions/{new_id()}")).status_code, 404, "not-found"),
            (
                (await gateway.submit({**submission(), "summary": "khác"})).status_code,
                409,
                "dossier-code-taken",
            ),
            (
                (await gateway.submit(b"x" * (1024 * 1024 + 1))).status_code,
                413,
                "body-too-large",
            ),
            (
                (await gateway.submit(content_type="text/plain")).status_code,
                415,
                "unsupported-media-type",
            ),
            ((await gateway.submit({})).status_code, 422, "invalid-content"),
            ((await gateway.submit(b'{"a":1,"a":2}')).status_code, 400, "malformed-json"),
            ((await gateway.get("/v1/dossiers/khong-phai-ma")).status_code, 422, "invalid-content"),
            ((await gateway.http.get("/nowhere")).status_code, 404, "not-found"),
        ]
        for status, wanted, _ in expected:
            assert status == wanted
        rows = await written(gateway)
        assert [(row.status, row.type) for row in rows] == [
            (status, kind) for _, status, kind in expected
        ]
        assert rows[0].client_id is None
        assert rows[1].client_id == "reader"
        assert (rows[1].method, rows[1].route) == ("POST", "/v1/dossiers")
        assert rows[2].route == "/v1/submissions/{submission_id}"
        assert rows[-2].route == "/v1/dossiers/{code}"
        assert rows[-1].route == "unmatched"
        assert all(row.repeated == 0 and row.request_id for row in rows)


async def test_refusals_of_other_forms_are_put_down_too(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        form = {"grant_type": "client_credentials"}
        await gateway.http.post("/oauth/token", data=form, auth=("one-stop", "not its secret"))
        await gateway.http.post("/oauth/token", data=form, auth=("079199000123", "no client"))
        await gateway.http.post("/exchange/v1/token", json={"client_id": "one-stop"})
        rows = await written(gateway)
        assert [(row.status, row.type, row.claimed) for row in rows] == [
            (401, "invalid_client", "one-stop"),
            # Who is no client of ours could be anything, even a person's number.
            (401, "invalid_client", None),
            (422, "invalid-content", None),
        ]


async def test_nothing_of_the_content_is_put_down(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        await gateway.submit({**submission(), NAME: NUMBER})
        await gateway.get(f"/v1/submissions/{NUMBER}", secret=NAME)
        await gateway.take_step(step("refuse"), f"H56.14-261102-{NUMBER}")
        await gateway.http.get(
            "/v1/submissions", headers={"Authorization": "Bearer a.secret.token"}
        )
        rows = await written(gateway)
        assert len(rows) >= 4
        told = json.dumps([[str(value) for value in row] for row in rows])
        for piece in (NAME, NUMBER, "secret", "Bưởi", "127.0.0.1", "a.secret.token"):
            assert piece not in told


@pytest.mark.parametrize(
    ("kept", "address"), [("plain", "127.0.0.1"), ("none", None), ("hashed", "")]
)
async def test_addresses_are_put_down_as_the_settings_allow(
    databases, tmp_path, kept, address
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL, refusal_addresses=kept) as gateway:
        await gateway.http.get("/v1/submissions")
        (row,) = await written(gateway)
        if kept == "hashed":
            assert len(row.address) == 24
        else:
            assert row.address == address


async def test_an_auditor_sees_its_own_agencies_clients(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        await gateway.http.get("/v1/submissions")
        await gateway.submit({}, client="one-stop")
        await gateway.submit({}, client="foreign")
        await gateway.submit({}, client="reader")
        await written(gateway)
        everybody = [one["client_id"] for one in (await shown(gateway))["items"]]
        assert everybody == ["reader", "foreign", "one-stop", None]
        province = [one["client_id"] for one in (await shown(gateway, "province"))["items"]]
        assert province == ["one-stop"]
        assert (await shown(gateway, "commune"))["items"] == []
        named = await shown(gateway, "province", client="foreign")
        assert named["items"] == []
        answer = await gateway.get("/v1/refusals", client="one-stop")
        assert answer.status_code == 403
        assert (await gateway.http.get("/v1/refusals")).status_code == 401
        answer = await gateway.get("/internal/refusals", client="one-stop")
        assert answer.status_code == 403


async def test_refusals_are_filtered_and_paged(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        for _ in range(3):
            await gateway.submit({})
        await gateway.submit(client="reader")
        await written(gateway)
        assert len((await shown(gateway, status=422))["items"]) == 3
        assert len((await shown(gateway, type="forbidden"))["items"]) == 1
        assert len((await shown(gateway, client="one-stop"))["items"]) == 3
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        assert (await shown(gateway, since=later))["items"] == []
        assert len((await shown(gateway, until=later))["items"]) == 4
        seen: list[str] = []
        before: dict[str, str] = {}
        while True:
            page = await shown(gateway, limit=2, **before)
            seen += [one["id"] for one in page["items"]]
            if page["next"] is None:
                break
            before = {"before": page["next"]}
        assert len(seen) == len(set(seen)) == 4
        assert seen == sorted(seen, reverse=True)


async def test_many_that_are_alike_are_counted(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        await gateway.app.state.gateway.refusals.write()
        for _ in range(100):
            gateway.app.state.gateway.refusals.add(_refusal())
        gateway.app.state.gateway.refusals.add(_refusal("another"))
        rows = await written(gateway)
        assert len(rows) == 20 + 1 + 1
        assert sum(1 + row.repeated for row in rows) == 101
        metrics = (await gateway.http.get("/metrics")).text
        assert "refusals_kept_total 101.0" in metrics


async def test_a_flood_while_the_database_is_away_is_bounded_and_counted(
    databases, tmp_path, monkeypatch
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=ALL) as gateway:
        refusals: Refusals = gateway.app.state.gateway.refusals
        await refusals.write()

        def away():
            raise DatabaseAway("away")

        monkeypatch.setattr(gateway.core.database, "transaction", away)
        for number in range(10_050):
            refusals.add(_refusal(f"type-{number}"))
        await refusals.write()
        assert (await gateway.http.get("/healthz")).status_code == 200
        monkeypatch.undo()
        rows = await written(gateway)
        assert len(rows) == 10_000
        assert "refusals_dropped_total 50.0" in (await gateway.http.get("/metrics")).text


async def test_months_fall_after_their_days(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        old, strayed, new = (datetime(2024, month, 10, tzinfo=UTC) for month in (3, 5, 7))
        async with gateway.core.database.transaction() as connection:
            await store.keep(connection, [_refusal(at=strayed), _refusal(at=old)])
            await store.ensure_month(connection, old)
            await store.ensure_month(connection, new)
            await store.keep(connection, [_refusal(at=new)])
        moved = await gateway.rows("SELECT count(*) FROM refusal_2024_03")
        assert moved[0][0] == 1
        async with gateway.core.database.transaction() as connection:
            fell = await store.drop_before(connection, datetime(2024, 6, 1, tzinfo=UTC))
        assert fell == ["refusal_2024_03"]
        rows = await gateway.rows("SELECT at FROM refusal ORDER BY at")
        assert [row.at for row in rows] == [new]


async def test_a_refusal_is_written_when_the_gateway_stops(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path / "first") as gateway:
        await gateway.http.get("/v1/submissions")
    async with running_gateway(url, tmp_path / "second") as gateway:
        assert len(await gateway.rows("SELECT id FROM refusal")) == 1


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("urn:lienthong:problem:forbidden", "forbidden"),
        ("invalid_client", "invalid_client"),
        ("Nguyễn Thị Bưởi", "other"),
        ("a" * 65, "other"),
        ({"a": 1}, "other"),
        (None, "None"),
    ],
)
def test_only_words_of_ours_are_put_down_as_a_type(told, kind) -> None:
    assert type_of(told) == kind


def _refusal(kind: str = "forbidden", at: datetime | None = None) -> Refusal:
    moment = at or datetime.now(UTC)
    identifier = new_id()
    if at is not None:
        low = int(moment.timestamp() * 1000) << 80
        identifier = type(identifier)(int=low | (identifier.int & ((1 << 80) - 1)))
    return Refusal(
        identifier, moment, "one-stop", None, None, "GET", "/v1/submissions", 403, kind, "request"
    )
