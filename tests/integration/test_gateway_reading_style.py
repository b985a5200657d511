"""How everything is read: pages, fields, filters, languages, own writes, and services that fail."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    NOWHERE,
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    listening,
    running_gateway,
    step,
    submission,
)

ONE = f"/v1/dossiers/{dossier_code()}"
DOSSIER = {
    "code": dossier_code(),
    "agency": AGENCY,
    "procedure": {"code": "1.000016", "name": "Đăng ký", "version": 3},
    "documents": [{"id": "tl1", "name": "Giấy"}, {"id": "tl2", "name": "Tờ khai"}],
    "version": 7,
}
HANOI = {"code": "H26", "name": "Thành phố Hà Nội", "name_en": "Ha Noi City", "active": True}
CACHING = "max-age=0, stale-if-error=86400"


@dataclass
class Reading:
    gateway: RunningGateway
    dossier: Upstream
    catalog: Upstream

    async def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        given = {**self.gateway.bearer(), **(headers or {})}
        return await self.gateway.http.get(path, headers=given)


@pytest.fixture
async def reading(databases: Databases, tmp_path) -> AsyncIterator[Reading]:
    async with AsyncExitStack() as stack:
        dossier, catalog = [await stack.enter_async_context(Upstream().serving()) for _ in range(2)]
        dossier.body = json.dumps(DOSSIER).encode()
        dossier.headers = {"content-type": "application/json", "etag": '"7"'}
        catalog.body = json.dumps({"items": [HANOI], "next": None}).encode()
        catalog.headers = {
            "content-type": "application/json",
            "etag": '"c1"',
            "cache-control": CACHING,
        }
        gateway = await stack.enter_async_context(
            running_gateway(
                await gateway_database(databases),
                tmp_path,
                dossier_url=dossier.url,
                catalog_url=catalog.url,
                upstream_seconds=2.0,
            )
        )
        yield Reading(gateway, dossier, catalog)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_every_list_is_gone_on_with_in_the_same_way(reading: Reading) -> None:
    page = json.dumps({"items": [], "next": "H56.14:a&b c/đ"}).encode()
    reading.dossier.body = reading.catalog.body = page
    reading.dossier.headers.pop("etag")
    for path in (
        "/v1/dossiers?status=4&after=x&limit=5",
        f"{ONE}/steps?limit=5",
        "/v1/procedures?q=khai%20sinh&limit=5",
        "/v1/agencies?parent=H56",
    ):
        link = (await reading.get(path)).headers["link"]
        assert link.endswith('>; rel="next"')
        target = urlsplit(link[1 : link.index(">")])
        assert target.path == urlsplit(path).path
        before = dict(parse_qsl(urlsplit(path).query))
        assert dict(parse_qsl(target.query)) == {**before, "after": "H56.14:a&b c/đ"}
    reading.dossier.body = reading.catalog.body = b'{"items":[],"next":null}'
    for path in ("/v1/dossiers", f"{ONE}/steps", "/v1/agencies"):
        assert "link" not in (await reading.get(path)).headers


async def test_the_feed_of_changes_is_gone_on_with_while_there_is_more(reading: Reading) -> None:
    reading.catalog.body = b'{"items":[],"next":"c9","more":true}'
    link = (await reading.get("/v1/catalog/changes?limit=1")).headers["link"]
    assert link == '</v1/catalog/changes?limit=1&since=c9>; rel="next"'
    reading.catalog.headers["etag"] = '"c2"'
    reading.catalog.body = b'{"items":[],"next":"c9","more":false}'
    assert "link" not in (await reading.get("/v1/catalog/changes?limit=1")).headers


async def test_submissions_are_paged_filtered_and_chosen_from(reading: Reading) -> None:
    gateway = reading.gateway
    ids = []
    for number in (1, 2, 3):
        taken = await gateway.submit(submission(dossier_code(number)))
        ids.append(taken.json()["submission_id"])
    first = await reading.get("/v1/submissions?limit=2&state=pending")
    assert [one["submission_id"] for one in first.json()["items"]] == ids[:2]
    target = first.headers["link"][1:].partition(">")[0]
    second = await reading.get(target)
    assert [one["submission_id"] for one in second.json()["items"]] == ids[2:]
    assert "link" not in second.headers
    of_one = await reading.get(f"/v1/submissions?dossier={dossier_code(2)}&state=pending")
    assert [one["submission_id"] for one in of_one.json()["items"]] == [ids[1]]
    await gateway.refuse(ids[0])
    refused = await reading.get(f"/v1/submissions/{ids[0]}?fields=state")
    assert "problem" not in refused.json()
    assert "decided_at" not in refused.json()
    assert refused.json()["state"] == "refused"
    assert "problem" in (await reading.get(f"/v1/submissions/{ids[0]}?fields=problem")).json()
    assert "problem" in (await reading.get(f"/v1/submissions/{ids[0]}")).json()


async def test_only_the_fields_asked_for_come(reading: Reading) -> None:
    answer = await reading.get(f"{ONE}?fields=code,procedure.name,documents.id")
    assert answer.json() == {
        "code": dossier_code(),
        "procedure": {"name": "Đăng ký"},
        "documents": [{"id": "tl1"}, {"id": "tl2"}],
    }
    # What is asked for has nothing to do with the version that If-Match names.
    assert answer.headers["etag"] == '"7"'
    reading.catalog.body = json.dumps({"items": [HANOI], "next": "H26"}).encode()
    listed = await reading.get("/v1/agencies?fields=code")
    assert listed.json() == {"items": [{"code": "H26"}], "next": "H26"}
    assert "fields=code" in listed.headers["link"]
    assert all("fields" not in str(asked.url) for asked in reading.catalog.asked)


@pytest.mark.parametrize(
    "path",
    [
        f"{ONE}?fields=nam",
        f"{ONE}?fields=procedure.nam",
        f"{ONE}?fields=",
        f"{ONE}?fields=code,,agency",
        f"{ONE}?fields=code&fields=agency",
        "/v1/dossiers?fields=summary",
        "/v1/procedures?fields=code,x",
        "/v1/agencies/H56?fields=x",
        "/v1/submissions?fields=x",
        "/v1/dossiers?stauts=4",
        "/v1/dossiers?status=4&status=5",
        "/v1/submissions?sate=pending",
        "/v1/procedures?feild=a",
    ],
)
async def test_what_is_not_known_is_refused_and_not_passed_over(
    reading: Reading, path: str
) -> None:
    answer = await reading.get(path)
    assert (answer.status_code, slug(answer)) == (422, "invalid-content")
    assert reading.dossier.asked == reading.catalog.asked == []
    for sent in ("stauts", "sate", "feild", "nam,"):
        assert sent not in answer.text


async def test_a_problem_is_in_the_language_that_is_preferred(reading: Reading) -> None:
    path = f"{ONE}?fields=nam"
    for asked, leading in ((None, "vi"), ("vi", "vi"), ("en-GB, vi;q=0.5", "en"), ("fr", "vi")):
        answer = await reading.get(path, {"accept-language": asked} if asked else {})
        body = answer.json()
        assert answer.headers["content-language"] == leading
        assert "accept-language" in answer.headers["vary"].lower()
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert body["title_en"] == "Invalid content"
        if leading == "en":
            assert (body["title"], body["title_vi"]) == ("Invalid content", "Nội dung không hợp lệ")
            assert body["errors"][0]["detail"].startswith("in its place there are: ")
            assert body["detail_vi"].startswith("fields có tên")
        else:
            assert body["title"] == "Nội dung không hợp lệ"
            assert "title_vi" not in body


async def test_problems_of_services_behind_and_of_the_way_there_are_turned_too(
    reading: Reading,
) -> None:
    english = {"accept-language": "en"}
    reading.dossier.status, reading.dossier.headers = (
        404,
        {"content-type": "application/problem+json"},
    )
    reading.dossier.body = json.dumps(
        {"type": "urn:x", "title": "Không có", "title_en": "None", "status": 404}
    ).encode()
    answer = await reading.get(ONE, english)
    assert (answer.json()["title"], answer.json()["title_vi"]) == ("None", "Không có")
    assert (await reading.gateway.http.get(ONE, headers=english)).json()["title"] == (
        "Not authenticated"
    )
    assert (await reading.get("/v1/nowhere", english)).json()["title"] == "Not found"


async def test_names_that_exist_in_both_languages_follow(reading: Reading) -> None:
    vietnamese = await reading.get("/v1/agencies")
    assert vietnamese.json()["items"] == [HANOI]
    assert vietnamese.headers["content-language"] == "vi"
    assert "accept-language" in vietnamese.headers["vary"]
    english = await reading.get("/v1/agencies", {"accept-language": "en"})
    (city,) = english.json()["items"]
    assert (city["name"], city["name_vi"], city["name_en"]) == (
        "Ha Noi City",
        "Thành phố Hà Nội",
        "Ha Noi City",
    )
    assert english.headers["content-language"] == "en, vi"
    # Other bytes, another tag: neither answers for the other.
    assert (vietnamese.headers["etag"], english.headers["etag"]) == ('"c1"', '"c1.en"')
    both = {"if-none-match": '"c1"', "accept-language": "en"}
    assert (await reading.get("/v1/agencies", both)).status_code == 200
    both["if-none-match"] = '"c1.en"'
    assert (await reading.get("/v1/agencies", both)).status_code == 304


async def test_what_this_client_wrote_and_is_not_applied_is_shown_as_pending(
    reading: Reading,
) -> None:
    gateway = reading.gateway
    submitted = (await gateway.submit()).json()["submission_id"]
    await gateway.apply(submitted)
    assert (await reading.get(ONE)).json()["pending"] == []
    taken = (await gateway.take_step(step())).json()
    answer = await reading.get(ONE)
    shown = {
        "submission_id": taken["submission_id"],
        "kind": "receive",
        "received_at": taken["received_at"],
    }
    assert answer.json() == {**DOSSIER, "pending": [shown]}
    reading.dossier.headers.pop("etag")
    reading.dossier.body = b'{"items":[],"next":null}'
    steps = await reading.get(f"{ONE}/steps")
    assert steps.json() == {"items": [], "next": None, "pending": [shown]}
    reading.dossier.body = json.dumps(DOSSIER).encode()
    other = await gateway.get(ONE, client="other")
    assert other.json()["pending"] == []
    await gateway.refuse(taken["submission_id"])
    assert (await reading.get(ONE)).json()["pending"] == []


async def test_a_write_between_the_two_reads_is_shown_twice_rather_than_nowhere(
    reading: Reading,
) -> None:
    """It is applied while the dossier service answers with what was before."""
    gateway = reading.gateway
    await gateway.apply((await gateway.submit()).json()["submission_id"])
    taken = (await gateway.take_step(step())).json()["submission_id"]
    reading.dossier.delay = 0.3
    asking = asyncio.ensure_future(reading.get(ONE))
    async with asyncio.timeout(30):
        while not reading.dossier.asked:
            await asyncio.sleep(0.005)
    await gateway.apply(taken)
    assert [one["submission_id"] for one in (await asking).json()["pending"]] == [taken]


async def test_a_tag_names_the_version_and_what_is_pending(reading: Reading) -> None:
    gateway = reading.gateway
    await gateway.apply((await gateway.submit()).json()["submission_id"])
    settled = (await reading.get(ONE)).headers["etag"]
    assert settled == '"7"'
    taken = (await gateway.take_step(step())).json()["submission_id"]
    pending = await reading.get(ONE, {"if-none-match": settled})
    assert pending.status_code == 200
    # Behind, the version is the same: asked there, the answer would be that nothing has changed.
    assert "if-none-match" not in reading.dossier.asked[-1].headers
    tag = pending.headers["etag"]
    assert tag.startswith('"7.w')
    assert (await reading.get(ONE, {"if-none-match": tag})).status_code == 304
    await gateway.refuse(taken)
    assert (await reading.get(ONE, {"if-none-match": tag})).status_code == 200


async def test_the_steps_of_a_dossier_that_is_not_known_yet_are_none(reading: Reading) -> None:
    taken = (await reading.gateway.submit()).json()["submission_id"]
    reading.dossier.status = 404
    reading.dossier.headers = {"content-type": "application/problem+json"}
    reading.dossier.body = b'{"type":"urn:x","title":"x","title_en":"x","status":404}'
    answer = await reading.get(f"{ONE}/steps")
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    assert [one["submission_id"] for one in answer.json()["pending"]] == [taken]


async def test_the_catalogue_is_read_on_while_its_service_is_stopped(
    databases: Databases, tmp_path
) -> None:
    catalog = Upstream()
    catalog.body = json.dumps(HANOI).encode()
    catalog.headers |= {"etag": '"c1"', "cache-control": CACHING}
    async with AsyncExitStack() as stack:
        async with listening(catalog) as address:
            gateway = await stack.enter_async_context(
                running_gateway(await gateway_database(databases), tmp_path, catalog_url=address)
            )
            fresh = await gateway.get("/v1/agencies/H26")
            assert fresh.headers["cache-status"] == (
                "gateway; fwd=uri-miss; fwd-status=200; stored"
            )
        # Nobody listens there any more.
        for _ in range(10):
            stale = await gateway.get("/v1/agencies/H26", fields="code")
            assert (stale.status_code, stale.json()) == (200, {"code": "H26"})
            assert int(stale.headers["age"]) >= 0
            assert "detail=stale-if-error" in stale.headers["cache-status"]
            assert "warning" not in stale.headers
        held = await gateway.http.get("/v1/agencies/H26", headers={"if-none-match": '"c1"'})
        assert held.status_code == 304
        never = await gateway.get("/v1/agencies/H10")
        assert (never.status_code, slug(never)) == (503, "upstream-unavailable")
        assert int(never.headers["retry-after"]) >= 1


async def test_a_service_that_is_away_is_told_at_once_and_the_others_answer(
    databases: Databases, tmp_path
) -> None:
    catalog, dossier = Upstream(), Upstream(delay=30)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(catalog.serving())
        await stack.enter_async_context(dossier.serving())
        gateway = await stack.enter_async_context(
            running_gateway(
                await gateway_database(databases),
                tmp_path,
                catalog_url=catalog.url,
                dossier_url=dossier.url,
                signature_url=NOWHERE,
                upstream_seconds=0.3,
            )
        )
        for _ in range(5):
            assert (await gateway.get("/v1/dossiers")).status_code == 503
        asked = len(dossier.asked)
        refused = await gateway.get("/v1/dossiers")
        assert (refused.status_code, slug(refused)) == (503, "upstream-unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert len(dossier.asked) == asked
        assert (await gateway.get("/v1/agencies")).status_code == 200
        # After its pause one read probes, and all is well.
        dossier.delay = 0.0
        async with asyncio.timeout(20):
            while (await gateway.get("/v1/dossiers")).status_code != 200:
                await asyncio.sleep(0.1)
        assert (await gateway.get("/v1/dossiers")).status_code == 200


async def test_a_client_is_not_kept_longer_than_it_waits(reading: Reading) -> None:
    reading.dossier.delay = 1.6
    patient = await reading.get(ONE, {"prefer": "wait=30"})
    assert patient.status_code == 200
    hasty = await reading.get(ONE, {"prefer": "respond-async, wait=1"})
    assert (hasty.status_code, slug(hasty)) == (503, "upstream-unavailable")
