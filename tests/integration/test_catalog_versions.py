"""Versions: what was valid on a day, whose word counts, and how other portals follow."""

import asyncio
from datetime import date, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from catalog.domain.catalogue import CodeItem, Duration
from catalog.domain.catalogue import ProcedureFee as Fee
from catalog.domain.details import LegalBasis, ServiceLevelReason
from catalog.domain.versions import vietnam_day
from catalog.store import catalogue as store
from catalog.use_cases.importing import Line, import_lines
from catalog.use_cases.loading import load
from catalog.use_cases.writing import refresh_outdated
from common.contracts.catalog import ProcedurePublished
from tests.support.catalog import (
    H56,
    Listener,
    a_package,
    a_procedure,
    core_of,
    database_of,
    loaded_database,
    operator,
    published,
    running,
)
from tests.support.databases import Databases
from tests.unit.test_catalog_records import RECORD

TODAY = vietnam_day()
DAY = timedelta(days=1)
CODE = "1.000123"


def ndjson(*entries: object) -> bytes:
    return b"\n".join(orjson.dumps(entry) for entry in entries)


async def lines(*entries: object):
    for number, entry in enumerate(entries, 1):
        yield Line(f"{number:09}", orjson.dumps(entry))


def own(valid_from: date | None = None, **changed: Any) -> dict[str, object]:
    entry = a_procedure(CODE, **changed).model_dump(mode="json")
    return {"procedure": entry, "valid_from": valid_from}


def of_code(listener: Listener) -> list[ProcedurePublished]:
    return [
        event
        for event in listener.heard()
        if isinstance(event, ProcedurePublished) and event.code == CODE
    ]


async def test_a_dossier_of_a_day_is_judged_by_the_version_of_that_day(databases: Databases):
    listener = Listener()
    async with running(await loaded_database(databases), listener) as client:

        async def imported(*entries: object) -> Any:
            answer = await client.post("/v1/imports", content=ndjson(*entries), headers=operator())
            assert answer.status_code == 200, answer.text
            return answer.json()

        async def name(on: date | None = None) -> Any:
            params = {"on": on.isoformat()} if on else {}
            answer = await client.get(f"/v1/procedures/{CODE}", params=params)
            return answer.json()["name"]

        first = own(name="Tên đầu", time=Duration(quantity=20, unit="working-day"))
        done = await imported(first, own(TODAY - 10 * DAY, name="Tên giữa"))
        assert (done["changed"], done["faults"], done["state"]) == (2, 0, "ended")
        await imported(own(TODAY + 30 * DAY, name="Tên sắp tới", service_level="full"))
        await imported(own(name="Tên hôm nay"))

        assert await name() == "Tên hôm nay"
        assert await name(TODAY - 11 * DAY) == await name(date(2000, 1, 1)) == "Tên đầu"
        assert await name(TODAY - 10 * DAY) == await name(TODAY - DAY) == "Tên giữa"
        assert await name(TODAY + 29 * DAY) == "Tên hôm nay"
        assert await name(TODAY + 30 * DAY) == await name(date(2100, 1, 1)) == "Tên sắp tới"

        listed = (await client.get(f"/v1/procedures/{CODE}/versions")).json()["items"]
        days = [(one["version"], one["valid_from"], one["valid_to"]) for one in listed]
        assert days == [
            (4, str(TODAY), str(TODAY + 29 * DAY)),
            (3, str(TODAY + 30 * DAY), None),
            (2, str(TODAY - 10 * DAY), str(TODAY - DAY)),
            (1, None, str(TODAY - 11 * DAY)),
        ]
        assert {one["origin"] for one in listed} == {"operator"}
        # The search knows the name of today, not one that is still to come.
        found = await client.get("/v1/procedures", params={"q": "ten sap toi"})
        assert found.json()["items"] == []

        # The other services hear every version, and again when one ends.
        async with asyncio.timeout(30):
            while len(told := of_code(listener)) < 7:
                await asyncio.sleep(0.05)
        last: dict[int, Any] = {event.version: event for event in told}
        assert last[1].valid_to == TODAY - 11 * DAY
        assert (last[1].time.quantity, last[1].time.unit) == (20, "working-day")
        assert last[3].valid_from == TODAY + 30 * DAY
        assert (last[3].service_level, last[3].valid_to) == ("full", None)
        assert [event.version for event in told] == [1, 1, 2, 2, 3, 2, 4]


async def test_a_version_is_served_from_its_first_day(database_url):
    async with database_of(await database_url("catalog")) as (database, outbox):
        await import_lines(outbox, "file", lines(own(name="Cũ"), own(TODAY + DAY, name="Mới")))

        async def served() -> Any:
            async with database.reading() as connection:
                found = await store.current(connection, "procedure", CODE)
            return orjson.loads(found.body)["name"] if found else None

        assert await served() == "Cũ"
        for day, name in ((TODAY, "Cũ"), (TODAY + DAY, "Mới"), (TODAY + 2 * DAY, "Mới")):
            async with outbox.transaction() as unit:
                await refresh_outdated(unit, day)
            assert await served() == name


async def test_a_later_package_does_not_undo_what_the_portal_said(database_url):
    listener = Listener()
    level: dict[str, Any] = {
        "service_level": "partial",
        "service_level_from": "official-name",
        "service_level_reason": ServiceLevelReason(
            reason="Phải nộp bản chính", basis=LegalBasis(number="42/2022/NĐ-CP")
        ),
    }
    async with database_of(await database_url("catalog")) as (database, outbox):
        await load(outbox, a_package(1, a_procedure(CODE, **level), agencies=[H56]))
        run = await import_lines(outbox, "file", lines(RECORD))
        assert (run.changed, run.unchanged) == (1, 0)
        await published(outbox, listener)

        await load(outbox, a_package(2, a_procedure(CODE, "Gói sau"), agencies=[H56]))
        await load(outbox, a_package(3, agencies=[H56]))  # nor is it closed by absence
        assert await published(outbox, listener) == []
        # The same record again is no change; an operator's correction stands until it changes.
        assert (await import_lines(outbox, "file", lines(RECORD))).unchanged == 1
        assert (await import_lines(outbox, "file", lines(own(name="Sửa")))).changed == 1
        assert (await import_lines(outbox, "file", lines(RECORD))).changed == 0
        changed = {**RECORD, "TENTTHC": "Tên mới của Cổng"}
        assert (await import_lines(outbox, "file", lines(changed))).changed == 1

        async with database.reading() as connection:
            rows = await connection.execute(
                text(
                    "SELECT version, origin, body FROM entry_version "
                    "WHERE code = :code ORDER BY version"
                ),
                {"code": CODE},
            )
            versions = [(row.version, row.origin, orjson.loads(row.body)) for row in rows]
        assert [(number, origin) for number, origin, _ in versions] == [
            (1, "package"),
            (2, "national"),
            (3, "operator"),
            (4, "national"),
        ]
        # A record has no place for the service level: its silence takes nothing back.
        assert versions[1][2]["service_level"] == "partial"
        assert versions[1][2]["service_level_reason"]["basis"]["number"] == "42/2022/NĐ-CP"


async def test_faults_are_put_down_and_stop_nothing(databases: Databases):
    async with running(await loaded_database(databases), Listener()) as client:
        broken = b"{not json\n\n" + ndjson({"MaTTHC": CODE}, RECORD, {"code": "x"}) + b"\n"
        answer = await client.post("/v1/imports", content=broken, headers=operator())
        report = answer.json()
        assert (report["read"], report["changed"], report["faults"]) == (4, 1, 3)
        assert [(fault["place"], fault["code"]) for fault in report["fault_list"]] == [
            ("000000001", None),
            ("000000003", CODE),
            ("000000005", "x"),
        ]
        again = (await client.post("/v1/imports", content=broken, headers=operator())).json()
        assert (again["changed"], again["unchanged"]) == (0, 1)
        log = (await client.get("/v1/imports", headers=operator(), params={"limit": 1})).json()
        assert [run["id"] for run in log["items"]] == [again["id"]]
        older = {"limit": 1, "after": log["next"]}
        log = (await client.get("/v1/imports", headers=operator(), params=older)).json()
        assert ([run["id"] for run in log["items"]], log["next"]) == ([report["id"]], None)
        one = await client.get(f"/v1/imports/{report['id']}", headers=operator())
        assert one.json() == report

        long = b'{"code":"' + b"1" * 1_100_000 + b'"}\n' + orjson.dumps(RECORD)
        report = (await client.post("/v1/imports", content=long, headers=operator())).json()
        assert (report["read"], report["faults"], report["unchanged"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (operator(scope="dossiers:write"), 403), (operator("H56"), 403)],
)
async def test_only_operators_of_all_agencies_import(databases: Databases, headers, status):
    async with running(await loaded_database(databases), Listener()) as client:
        for path in ("/v1/imports", "/v1/imports/sync"):
            answer = await client.post(path, content=ndjson(RECORD), headers=headers)
            assert answer.status_code == status
        assert (await client.get("/v1/imports", headers=operator())).json()["items"] == []
        none = await client.post("/v1/imports/sync", headers=operator())
        assert (none.status_code, none.json()["type"]) == (409, "urn:lienthong:problem:no-portal")


async def test_a_portal_follows_the_feed_and_misses_nothing(databases: Databases):
    async with running(await loaded_database(databases), Listener()) as client:

        async def followed(since: str = "", **more: str) -> tuple[list[dict], str]:
            found: list[dict] = []
            while True:
                params: dict[str, Any] = {"since": since, "limit": 200, **more}
                answer = await client.get("/v1/catalog/changes", params=params)
                assert answer.status_code == 200, answer.text
                part = answer.json()
                found += part["items"]
                since = part["next"]
                if not part["more"]:
                    return found, since

        whole, since = await followed()
        assert len({(one["kind"], one["code"]) for one in whole}) == len(whole) == 5678 + 107
        assert await followed(since) == ([], since)
        await client.post("/v1/imports", content=ndjson(own(name="Mới")), headers=operator())
        await client.post("/v1/imports", content=ndjson(own(name="Mới hơn")), headers=operator())
        news, later = await followed(since, content="full")
        assert [(one["code"], one["name"]) for one in news] == [(CODE, "Mới"), (CODE, "Mới hơn")]
        assert news[0]["valid_to"] == str(TODAY - DAY)
        assert news[1]["entry"]["name"] == "Mới hơn"
        assert (await followed(later))[0] == []

        for cursor in ("x", "WyJjIl0", later + "A", "W10", "bnVsbA"):
            answer = await client.get("/v1/catalog/changes", params={"since": cursor})
            assert answer.status_code == 422, cursor


async def test_a_reader_with_a_date_is_told_that_nothing_changed(database_url):
    async with running(await database_url("catalog"), Listener()) as client:
        fresh = await client.get("/v1/procedures/1.000016")
        assert "last-modified" not in fresh.headers  # another change may follow within the second
        core = core_of(client)
        async with core.database.transaction() as connection:
            for table in ("procedure", "agency", "code_list", "entry_version"):
                past = f"UPDATE {table} SET changed_at = now() - interval '1 hour'"
                await connection.execute(text(past))
        for path in (
            "/v1/procedures/1.000016",
            "/v1/procedures/1.000016?on=2026-01-01",
            "/v1/procedures/1.000016/versions",
            "/v1/procedures?q=dat&limit=2",
            "/v1/agencies",
            "/v1/agencies/H56",
            "/v1/agencies/H56/versions",
            "/v1/code-lists",
            "/v1/code-lists/channel",
            "/v1/code-lists/channel/versions",
            "/v1/procedure-groups?by=level",
            "/v1/catalog/changes?limit=1",
        ):
            first = await client.get(path)
            moment = first.headers["last-modified"]
            same = await client.get(path, headers={"If-Modified-Since": moment})
            assert (same.status_code, same.content) == (304, b""), path
            # The ETag decides where both are given, and a date that is none is ignored.
            both = {"If-Modified-Since": moment, "If-None-Match": '"other"'}
            assert (await client.get(path, headers=both)).status_code == 200
            assert (
                await client.get(path, headers={"If-Modified-Since": "yesterday"})
            ).status_code == 200
            old = {"If-Modified-Since": "Sat, 01 Jan 2022 00:00:00 GMT"}
            assert (await client.get(path, headers=old)).status_code == 200


async def test_groups_and_the_hierarchy_say_only_what_is_known(databases: Databases):
    async with running(await loaded_database(databases), Listener()) as client:
        below = [
            {"agency": {"code": code, "name": f"Đơn vị {code}", "confidence": "high"}}
            for code in ("H56.14", "H56.14.02", "H5.1")
        ]
        topical = own(
            topics=["Có con nhỏ"], applicants=["ĐT1"], service_level="full", name="Khai sinh thử"
        )
        report = await client.post(
            "/v1/imports", content=ndjson(*below[:2], topical), headers=operator()
        )
        assert (report.json()["changed"], report.json()["faults"]) == (3, 0)

        children = (await client.get("/v1/agencies", params={"parent": "000.00.00.H56"})).json()
        assert [(one["code"], one["parent"]) for one in children["items"]] == [
            ("H56.14", "H56"),
            ("H56.14.02", "H56.14"),
        ]
        told = (await client.get("/v1/agencies/000.00.14.H56")).json()
        assert (told["name"], told["kind"]) == ("Đơn vị H56.14", None)

        groups = (await client.get("/v1/procedure-groups")).json()["groups"]
        by = {group["by"]: {one["code"]: one for one in group["items"]} for group in groups}
        assert by["topic"]["Có con nhỏ"]["procedures"] == 1
        assert by["topic"][None]["procedures"] > 5000  # of these no source says a topic
        assert by["audience"]["ĐT1"]["name"] == "Công dân Việt Nam"
        assert by["agency"]["G12"]["name"] == "Bộ Tài chính"
        for filters in (
            {"topic": "Có con nhỏ"},
            {"q": "khai sinh thu", "audience": "ĐT1", "service_level": "full", "active": "true"},
            {"q": "khai sinh thu", "agency": "G17", "field": "G17-XD01"},
        ):
            found = (await client.get("/v1/procedures", params=filters)).json()["items"]
            assert [one["code"] for one in found] == [CODE], filters


async def test_an_older_edition_of_a_code_list_stays_readable(databases: Databases):
    def listed(name: str) -> dict[str, object]:
        package = a_package(1).code_lists[0]
        item = CodeItem(code="1", name=name)
        return {"code_list": package.model_copy(update={"items": (item,)}).model_dump(mode="json")}

    async with running(await loaded_database(databases), Listener()) as client:
        await client.post("/v1/imports", content=ndjson(listed("Tại quầy")), headers=operator())
        now = (await client.get("/v1/code-lists/channel")).json()
        assert ([one["name"] for one in now["items"]], now["revision"]) == (["Tại quầy"], 2)
        before = {"on": str(TODAY - DAY)}
        old = (await client.get("/v1/code-lists/channel", params=before)).json()
        assert (len(old["items"]), old["revision"], old["origin"]) == (3, 1, "package")
        kept = (await client.get("/v1/code-lists/channel/versions")).json()["items"]
        assert [one["origin"] for one in kept] == ["operator", "package"]


async def test_a_change_of_fee_alone_is_a_version_too(database_url):
    async with database_of(await database_url("catalog")) as (_, outbox):
        await import_lines(outbox, "file", lines(own()))
        run = await import_lines(outbox, "file", lines(own(fee=Fee(kind="fixed", amount=1000))))
        assert run.changed == 1
