"""The catalogue as its readers and the other services see it, on a real PostgreSQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio

from catalog.domain.catalogue import ProcedureFee as Fee
from catalog.domain.catalogue import fold
from catalog.domain.versions import vietnam_day
from catalog.use_cases.loading import Loaded, load
from common.contracts.catalog import AgencyPublished, ProcedurePublished
from tests.support.catalog import (
    H56,
    Listener,
    a_package,
    a_procedure,
    database_of,
    published,
    running,
)
from tests.support.databases import Databases


async def test_the_whole_catalogue_is_told_once_and_a_second_start_tells_nothing(database_url):
    url = await database_url("catalog")
    listener = Listener()
    async with running(url, listener) as client:
        async with asyncio.timeout(30):
            while not listener.editions() or len(listener.heard()) < 5674 + 107:
                await asyncio.sleep(0.05)
        assert (await client.get("/v1/procedures/1.000016")).json()["version"] == 1
    heard = listener.heard()
    procedures = {told.code: told for told in heard if isinstance(told, ProcedurePublished)}
    agencies = {told.code: told for told in heard if isinstance(told, AgencyPublished)}
    assert (len(heard), len(procedures), len(agencies)) == (5781, 5674, 107)
    assert {told.version for told in heard} == {1}
    assert " 1.014325" not in procedures
    assert procedures["1.014325"].active
    assert not procedures["1.002520"].active  # left the national catalogue
    assert agencies["H47"].successor == "H17"
    assert not agencies["H47"].active
    assert {event.stream for event in listener.events} >= {
        "catalog/1/procedure:1.000016",
        "catalog/1/agency:H56",
    }

    (edition,) = listener.editions()
    assert (edition.revision, edition.procedures, edition.agencies) == (1, 5674, 107)

    again = Listener()
    async with running(url, again):
        await asyncio.sleep(0.3)
    assert again.events == []


async def test_replicas_that_start_together_load_once(database_url):
    url = await database_url("catalog")
    listener = Listener()
    package = a_package(1, *(a_procedure(f"1.{number:06}") for number in range(300)))
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(database_of(url)) for _ in range(3)]
        loaded = await asyncio.gather(*(load(outbox, package) for _, outbox in replicas))
        assert sorted(loaded, key=str) == [Loaded(300, 0), None, None]
        assert len(await published(replicas[0][1], listener)) == 300
    assert {event.sequence for event in listener.events} == {1}


async def test_only_what_changed_is_told_with_a_higher_version(database_url):
    listener = Listener()
    async with database_of(await database_url("catalog")) as (_, outbox):
        first = a_package(1, a_procedure("1.000001"), a_procedure("1.000002"), agencies=[H56])
        assert await load(outbox, first) == Loaded(procedures=2, agencies=1)
        assert len(await published(outbox, listener)) == 3

        changed = a_procedure("1.000002", fee=Fee(kind="fixed", amount=50_000))
        await load(outbox, a_package(2, a_procedure("1.000001"), changed, agencies=[H56]))
        ended, told = await published(outbox, listener)
        assert (ended.code, ended.version, ended.has_fee) == ("1.000002", 1, None)
        assert (told.code, told.version, told.has_fee) == ("1.000002", 2, True)
        assert ended.valid_from is None
        assert told.valid_from == ended.valid_to + timedelta(days=1) == vietnam_day()

        # The same content under a new revision is no change.
        unchanged = a_package(3, a_procedure("1.000001"), changed, agencies=[H56])
        assert await load(outbox, unchanged) == Loaded(0, 0)
        assert await published(outbox, listener) == []


async def test_what_is_no_longer_listed_is_closed_and_told_once(database_url):
    listener = Listener()
    async with database_of(await database_url("catalog")) as (_, outbox):
        await load(outbox, a_package(1, a_procedure("1.000001"), a_procedure("1.000002")))
        await published(outbox, listener)
        await load(outbox, a_package(2, a_procedure("1.000001")))
        _, told = await published(outbox, listener)
        assert (told.code, told.active, told.version) == ("1.000002", False, 2)
        assert [edition.procedures for edition in listener.editions()] == [2, 2]
        await load(outbox, a_package(3, a_procedure("1.000001")))
        assert await published(outbox, listener) == []
        # It comes back.
        await load(outbox, a_package(4, a_procedure("1.000001"), a_procedure("1.000002")))
        _, told = await published(outbox, listener)
        assert (told.code, told.active, told.version) == ("1.000002", True, 3)


async def test_older_data_never_takes_the_place_of_newer(database_url):
    listener = Listener()
    async with database_of(await database_url("catalog")) as (_, outbox):
        await load(outbox, a_package(7, a_procedure("1.000001", "Mới")))
        await published(outbox, listener)
        assert await load(outbox, a_package(6, a_procedure("1.000001", "Cũ"))) is None
        assert await load(outbox, a_package(7, a_procedure("1.000001", "Cũ"))) is None
        assert await published(outbox, listener) == []


async def test_a_load_that_fails_leaves_nothing_behind(database_url):
    async with database_of(await database_url("catalog")) as (database, outbox):
        twice = a_package(1, a_procedure("1.000001"), a_procedure("1.000001", "Khác"))
        with pytest.raises(Exception, match="entry_version"):
            await load(outbox, twice)
        assert await load(outbox, a_package(1, a_procedure("1.000001"))) == Loaded(1, 0)
        async with database.reading() as connection:
            rows = await connection.exec_driver_sql("SELECT count(*) FROM event_log")
            assert rows.scalar_one() == 2


reading = pytest.mark.asyncio(loop_scope="module")
"""Tests that only read share one service, which is loaded once."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def catalogue(postgres: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service with the whole catalogue."""
    databases = Databases(postgres, f"t{secrets.token_hex(4)}")
    async with running(await databases.create("catalog"), Listener()) as client:
        yield client
    await databases.drop()


@reading
async def test_a_procedure_is_answered_with_its_details(catalogue):
    answer = await catalogue.get("/v1/procedures/1.000016")
    assert answer.status_code == 200
    body = answer.json()
    assert body["name"].startswith("Thông báo tăng, giảm vốn góp")
    assert body["field"] == {
        "code": "G05-KD06",
        "name": "Hỗ trợ doanh nghiệp nhỏ và vừa",
        "code_from": "name-match",
    }
    assert len(body["documents"]) == 5
    assert body["documents"][0]["originals"] == 1
    assert [way["channel"] for way in body["ways_in"]] == ["3", "1"]
    assert body["time"] == {"quantity": 1, "unit": "none-given"}
    assert body["fee"]["kind"] == "none-recorded"
    assert body["results"][0]["code"] == "KQ.G12.001051"
    assert body["service_level"] is None
    assert (body["active"], body["irregular"]) == (True, None)
    unread = (await catalogue.get("/v1/procedures/1.000005")).json()
    assert unread["documents"] is None  # not known, which is not the same as none


@reading
async def test_an_irregular_code_is_found_as_it_is_and_marked(catalogue):
    body = (await catalogue.get("/v1/procedures/%201.014325")).json()
    assert (body["code"], body["irregular"], body["active"]) == (
        " 1.014325",
        "surrounding-space",
        False,
    )
    body = (await catalogue.get("/v1/procedures/1.014955-Xoa")).json()
    assert (body["irregular"], body["active"]) == ("other-form", False)
    found = await catalogue.get("/v1/procedures", params={"limit": 1})
    assert found.json()["items"][0]["irregular"] == "surrounding-space"


@reading
async def test_search_finds_words_with_and_without_diacritics(catalogue):
    async def codes(**asked: object) -> list[str]:
        answer = await catalogue.get("/v1/procedures", params={"limit": 200, **asked})
        assert answer.status_code == 200
        return [item["code"] for item in answer.json()["items"]]

    plain = await codes(q="cap phep xay dung")
    assert plain
    assert plain == await codes(q="Cấp  PHÉP xây dựng")
    assert sorted(plain) == sorted(await codes(q="dung xay phep cap"))
    assert await codes(q="1.000016") == ["1.000016"]
    assert await codes(q="cap%phep") == await codes(q="cap phep")  # % is no joker
    assert set(await codes(q="khai sinh")) < set(await codes(q="sinh"))
    assert await codes(q="000016") == []  # words are known by their beginning
    assert await codes(q="khai sin")
    by_code = await codes(field="G12-TC04")
    assert by_code == await codes(field="Hải quan")
    assert set(await codes(field="G12-TC04", level="commune")) < set(by_code)
    assert await codes(q="khong co thu tuc nao nhu the") == []


@reading
async def test_the_best_comes_first(catalogue):
    async def names(q: str) -> list[str]:
        answer = await catalogue.get("/v1/procedures", params={"q": q, "limit": 200})
        return [f" {fold(item['name'])} " for item in answer.json()["items"]]

    whole = "Thủ tục đăng ký khai sinh"
    found = await names(whole)
    assert found[0] == f" {fold(whole)} "
    begins = [name.startswith(f" {fold(whole)}") for name in found]
    assert begins == sorted(begins, reverse=True)
    found = await names("khai sinh")
    phrase = [" khai sinh" in name for name in found]
    assert phrase == sorted(phrase, reverse=True)
    assert len(set(phrase)) == 2  # some have both words, apart
    places = [name.index(" khai sinh") for name in found if " khai sinh" in name]
    active = [
        item["active"]
        for item in (await catalogue.get("/v1/procedures", params={"q": "khai sinh"})).json()[
            "items"
        ]
    ]
    assert active == sorted(active, reverse=True)
    assert places == sorted(places)


PAGED = [
    {"q": "hộ tịch"},
    {"q": "thủ tục cấp", "level": "commune"},
    {"q": "đất", "active": "true"},
    {"agency": "000.00.00.G15"},
    {"field": "Hộ tịch"},
]


@pytest.mark.parametrize("query", PAGED)
@reading
async def test_pages_hold_everything_once(catalogue, query):
    async def listed(limit: int) -> list[str]:
        seen: list[str] = []
        after = ""
        while after is not None:
            params = {**query, "limit": limit, "after": after}
            page = (await catalogue.get("/v1/procedures", params=params)).json()
            seen += [item["code"] for item in page["items"]]
            after = page["next"]
        return seen

    whole = await listed(200)
    assert len(set(whole)) == len(whole) > 0
    for limit in (7, 31):
        assert await listed(limit) == whole


@reading
async def test_a_cursor_of_another_search_is_refused(catalogue):
    page = await catalogue.get("/v1/procedures", params={"q": "đất", "limit": 2})
    cursor = page.json()["next"]
    for query in ({"q": "nhà"}, {"q": "đất", "level": "commune"}):
        answer = await catalogue.get("/v1/procedures", params={**query, "after": cursor})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/after"
    for made_up in ("1.000016", cursor[:-2], "W10", "e30"):
        params = {"q": "đất", "after": made_up}
        assert (await catalogue.get("/v1/procedures", params=params)).status_code == 422


@reading
async def test_both_forms_of_a_code_lead_to_the_same_agency(catalogue):
    new, old = [await catalogue.get(f"/v1/agencies/{code}") for code in ("H17", "000.00.00.H17")]
    assert new.status_code == old.status_code == 200
    assert new.json() == old.json()
    assert new.json()["absorbed"] == ["H47"]
    closed = (await catalogue.get("/v1/agencies/H47")).json()
    assert (closed["active"], closed["successor"], closed["valid_to"]) == (
        False,
        "H17",
        "2025-06-30",
    )
    listed = (await catalogue.get("/v1/agencies")).json()
    assert (len(listed["items"]), listed["next"]) == (107, None)
    part = (await catalogue.get("/v1/agencies", params={"limit": 10})).json()
    assert part["next"] == part["items"][-1]["code"]


@reading
async def test_code_lists_are_listed_and_read_one_by_one(catalogue):
    lists = (await catalogue.get("/v1/code-lists")).json()["items"]
    assert len(lists) == 50
    brief = next(item for item in lists if item["id"] == "dossier_status")
    assert (brief["items"], brief["confidence"], brief["basis"]) == (10, "high", "public-code")
    whole = (await catalogue.get("/v1/code-lists/dossier_status")).json()
    assert whole["items"][9] == {
        "code": "10",
        "name": "Đã trả kết quả",
        "name_en": whole["items"][9]["name_en"],
        "attributes": {"final": True},
    }


@pytest.mark.parametrize(
    "path",
    [
        "/v1/procedures/1.000016",
        "/v1/procedures?q=dat",
        "/v1/agencies",
        "/v1/agencies/000.00.00.H17",
        "/v1/code-lists",
        "/v1/code-lists/channel",
    ],
)
@reading
async def test_a_reader_that_has_the_content_is_told_that_it_is_unchanged(catalogue, path):
    first = await catalogue.get(path)
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await catalogue.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    other = await catalogue.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/v1/procedures/9.999999", 404, "not-found"),
        ("/v1/procedures/1.000016%00", 422, "invalid-content"),
        (f"/v1/procedures/{'1' * 61}", 422, "invalid-content"),
        ("/v1/procedures?q=%00", 422, "invalid-content"),
        ("/v1/procedures?field=%00", 422, "invalid-content"),
        ("/v1/procedures?after=%00", 422, "invalid-content"),
        ("/v1/procedures?limit=0", 422, "invalid-content"),
        ("/v1/procedures?limit=201", 422, "invalid-content"),
        ("/v1/procedures?level=moon", 422, "invalid-content"),
        ("/v1/agencies/H99", 404, "not-found"),
        ("/v1/agencies/hanoi", 422, "invalid-content"),
        ("/v1/agencies/12.34", 422, "invalid-content"),
        ("/v1/code-lists/none", 404, "not-found"),
        ("/v1/code-lists/%27", 422, "invalid-content"),
    ],
)
@reading
async def test_what_is_not_there_or_not_well_formed_is_a_problem(catalogue, path, status, slug):
    answer = await catalogue.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:lienthong:problem:{slug}"
    assert problem["detail"]
    assert problem["detail_en"]


@reading
async def test_every_answer_has_its_declared_form(catalogue):
    document = (await catalogue.get("/openapi.json")).json()
    public = (
        "/v1/procedures/{code}",
        "/v1/procedures/{code}/versions",
        "/v1/procedures",
        "/v1/agencies/{code}",
        "/v1/agencies/{code}/versions",
        "/v1/agencies",
        "/v1/code-lists",
        "/v1/code-lists/{id}",
        "/v1/code-lists/{id}/versions",
        "/v1/catalog/changes",
        "/v1/procedure-groups",
    )
    paths = {path: document["paths"][path]["get"] for path in public}
    for path, operation in paths.items():
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert "$ref" in schema, path
        assert "422" in operation["responses"]
        assert "304" in operation["responses"]
