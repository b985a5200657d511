"""A new sealing key takes over, and an old one goes when nothing is sealed with it any more."""

from uuid import UUID

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from common.blind import BlindIndex
from common.sealing import KeyRing, key_of
from dossier.store import keeping
from dossier.use_cases.indexing import Indexing
from dossier.use_cases.rekeying import Rekeying
from tests.support.dossier_service import dossier_database
from tests.support.dossiers import code, command
from tests.support.personal import (
    PERSON,
    PERSONAL,
    READ,
    SEALING,
    WHY,
    bearer,
    dossier_http,
)

OPERATOR = bearer("operations")


async def sealed_under(http):
    rows = await http.rows("SELECT code, seal_key, body FROM dossier ORDER BY code")
    for row in rows:
        assert key_of(orjson.loads(row.body)["state"]["sealed"]) == row.seal_key
    return {row.code: row.seal_key for row in rows}


async def read(http, dossier):
    answer = await http.get(f"/v1/dossiers/{dossier}", headers=bearer(READ, PERSONAL) | WHY)
    assert answer.status_code == 200, answer.text
    return answer.json()["applicant"]


async def test_everything_is_sealed_anew_and_nothing_is_told(databases):
    url = await dossier_database(databases)
    async with dossier_http(url) as http:
        for number in range(1, 8):
            await http.submit(code(number))
        before = await http.rows("SELECT code, version, updated_at, status FROM dossier ORDER BY 1")
    async with dossier_http(url, sealing_key="k2") as http:
        told = (await http.rows("SELECT count(*) FROM event_log"))[0][0]
        assert 0 <= await http.app.state.rekeying.whole_pass(batch=3) <= 7
        assert set((await sealed_under(http)).values()) == {"k2"}
        assert (await http.rows("SELECT count(*) FROM event_log"))[0][0] == told
        after = await http.rows("SELECT code, version, updated_at, status FROM dossier ORDER BY 1")
        assert after == before
        assert (await read(http, code(3)))["name"] == PERSON["name"]
        assert await http.app.state.rekeying.whole_pass() == 0
        metrics = generate_latest(http.app.state.core.telemetry.registry).decode()
        assert "dossiers_under_other_keys 0.0" in metrics
        progress = (await http.get("/v1/personal-data/keys", headers=OPERATOR)).json()
        assert progress["dossiers_by_sealing_key"] == {"k2": 7}
        assert progress["unreadable"] == 0
    # Without the old key everything still opens.
    async with dossier_http(url, sealing_keys={"k2": SEALING["k2"]}) as http:
        assert (await read(http, code(7)))["name"] == PERSON["name"]


async def test_a_dossier_that_changes_meanwhile_is_left_for_the_next_pass(databases, monkeypatch):
    url = await dossier_database(databases)
    async with dossier_http(url) as http:
        for number in (1, 2):
            await http.submit(code(number))
    async with dossier_http(url, index_keys={}, index_key=None) as http:
        # One beside the service's own, which has no key to seal with and nothing to do.
        keys = KeyRing(SEALING, "k2")
        nothing = Indexing(keys, BlindIndex({}, None))
        database = http.app.state.core.database
        rekeying = Rekeying(database, keys, nothing, CollectorRegistry())
        rewrite = keeping.rewrite

        async def overtaken(connection, rewritten):
            await http.take(code(1), command("receive", 1), first=2)
            monkeypatch.setattr(keeping, "rewrite", rewrite)
            return await rewrite(connection, rewritten)

        monkeypatch.setattr(keeping, "rewrite", overtaken)
        assert await rekeying.whole_pass() == 1
        assert await sealed_under(http) == {code(1): "k1", code(2): "k2"}
        statuses = await http.rows("SELECT status FROM dossier WHERE code = :code", code=code(1))
        assert statuses[0].status == 2
        assert await rekeying.whole_pass() == 1
        assert set((await sealed_under(http)).values()) == {"k2"}
        assert (await http.rows("SELECT status FROM dossier ORDER BY code"))[0].status == 2


async def test_what_does_not_open_is_counted_and_stops_nothing(databases):
    url = await dossier_database(databases)
    stranger = KeyRing(SEALING, "k1").seal(PERSON, "somebody else")
    async with dossier_http(url) as http:
        await http.take(code(1), command("submit", sealed=stranger))
        await http.submit(code(2))
    async with dossier_http(url, sealing_key="k2") as http:
        with capture_logs() as logs:
            await http.app.state.rekeying.whole_pass(batch=1)
        assert await sealed_under(http) == {code(1): "k1", code(2): "k2"}
        progress = (await http.get("/v1/personal-data/keys", headers=OPERATOR)).json()
        assert progress["unreadable"] == 1
        assert code(1) in str(logs)
        assert PERSON["name"] not in str(logs)


async def test_rows_of_before_are_looked_at_once(databases):
    url = await dossier_database(databases)
    async with dossier_http(url) as http:
        await http.submit(code(1))
        await http.take(code(1), command("refuse", 5), first=2)
        await http.execute("UPDATE dossier SET seal_key = '', index_key = '', status_at = NULL; ")
        await http.execute("TRUNCATE dossier_person")
        await http.app.state.rekeying.whole_pass()
        (row,) = await http.rows("SELECT seal_key, index_key, status_at FROM dossier")
        assert (row.seal_key, row.index_key) == ("k1", "i1")
        assert row.status_at == command("refuse", 5).at
        assert len(await http.rows("TABLE dossier_person")) == 3


async def test_operators_see_what_is_still_sealed_under_a_key_and_where(databases):
    url = await dossier_database(databases)
    async with dossier_http(url) as http:
        for number in (1, 2, 3):
            await http.submit(code(number))
        await http.execute(
            "INSERT INTO parked (consumer, event_id, body, reason) "
            "VALUES ('submissions', gen_random_uuid(), '{\"sealed\":\"v1.k1.AAAA\"}', 'failed')"
        )
    async with dossier_http(url, sealing_key="k2") as http:
        await http.app.state.rekeying.whole_pass()
        answer = await http.get("/internal/seals", headers=OPERATOR)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        by_key = {one["key"]: one["places"] for one in body["keys"]}
        assert by_key["k1"] == {"event_log": 3, "parked": 1, "dossier": 0}
        assert by_key["k2"] == {"event_log": 0, "parked": 0, "dossier": 3}
        assert body["next"] is None
        asked = await http.get("/internal/seals", headers=OPERATOR, params={"key": "k9"})
        assert asked.json()["keys"] == [
            {"key": "k9", "places": {"event_log": 0, "parked": 0, "dossier": 0}}
        ]
        assert (await http.get("/internal/seals", headers=bearer(READ))).status_code == 403
        bad = await http.get("/internal/seals", headers=OPERATOR, params={"key": "a.b"})
        assert bad.status_code == 422


async def test_the_log_is_counted_part_by_part(databases, monkeypatch):
    monkeypatch.setattr("common.seals.EVENTS_AT_ONCE", 2)
    async with dossier_http(await dossier_database(databases)) as http:
        for number in (1, 2, 3):
            await http.submit(code(number))
        found, parts, after = 0, 0, str(UUID(int=0))
        while after is not None:
            params = {"key": "k1", "after": after}
            body = (await http.get("/internal/seals", headers=OPERATOR, params=params)).json()
            found += body["keys"][0]["places"]["event_log"]
            parts += 1
            after = body["next"]
        assert (found, parts) == (3, 4)  # three facts, and three outcomes that hold nothing
