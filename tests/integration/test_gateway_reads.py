"""Reads that the services behind the gateway answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from gateway.clients import behind as behind_module
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    PROVINCE,
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    passed_claims,
    running_gateway,
    submission,
)

PROBLEM = {"content-type": "application/problem+json"}
UNKNOWN = (
    b'{"type":"urn:lienthong:problem:unknown-dossier","title":"x","title_en":"x","status":404}'
)
ONE = f"/v1/dossiers/{dossier_code()}"


@dataclass
class Behind:
    gateway: RunningGateway
    dossier: Upstream
    catalog: Upstream
    signatures: Upstream


@pytest.fixture
async def behind(databases: Databases, tmp_path) -> AsyncIterator[Behind]:
    """A gateway with three services behind it."""
    async with AsyncExitStack() as stack:
        dossier, catalog, signatures = [
            await stack.enter_async_context(Upstream().serving()) for _ in range(3)
        ]
        gateway = await stack.enter_async_context(
            running_gateway(
                await gateway_database(databases),
                tmp_path,
                dossier_url=dossier.url,
                catalog_url=catalog.url,
                signature_url=signatures.url + "/",
                upstream_seconds=0.5,
            )
        )
        yield Behind(gateway, dossier, catalog, signatures)


def slug(answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_a_dossier_is_read_with_the_callers_rights(behind: Behind) -> None:
    behind.dossier.headers["etag"] = '"7"'
    answer = await behind.gateway.get(ONE)
    assert (answer.status_code, answer.json()) == (200, {"code": "known", "pending": []})
    assert answer.headers["etag"] == '"7"'
    (asked,) = behind.dossier.asked
    assert asked.url.raw_path.decode() == ONE
    claims = passed_claims(asked)
    assert (claims["client_id"], claims["agencies"]) == ("one-stop", [PROVINCE])
    assert asked.headers["x-request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "service", "query"),
    [
        ("/v1/dossiers", "dossier", {"agency": AGENCY, "status": "4", "limit": "5", "after": "a"}),
        (f"{ONE}/steps", "dossier", {"after": "3", "limit": "10"}),
        (f"{ONE}/deadline", "dossier", {}),
        ("/v1/signing-requests/01a1ffce-9195-77a2-9f38-d89d833587e1", "signatures", {}),
        ("/v1/procedures", "catalog", {"q": "khai sinh", "field": "G15-TP19", "level": "commune"}),
        ("/v1/procedures/1.000016", "catalog", {}),
        ("/v1/procedures/1.000016", "catalog", {"on": "2026-11-02"}),
        ("/v1/procedures/1.000016/versions", "catalog", {}),
        ("/v1/procedures", "catalog", {"audience": "ĐT1", "active": "true", "agency": "H56"}),
        ("/v1/procedure-groups", "catalog", {"by": "audience"}),
        ("/v1/catalog/changes", "catalog", {"since": "WyJjIiwxXQ", "content": "full"}),
        ("/v1/agencies", "catalog", {"parent": "H56"}),
        ("/v1/agencies/H56/versions", "catalog", {}),
        ("/v1/code-lists/channel/versions", "catalog", {}),
        ("/v1/procedures/ 1.014325", "catalog", {}),
        ("/v1/agencies", "catalog", {"after": "H10", "limit": "2"}),
        ("/v1/agencies/000.00.00.H56", "catalog", {}),
        ("/v1/code-lists", "catalog", {}),
        ("/v1/code-lists/trang-thai-ho-so", "catalog", {}),
    ],
)
async def test_each_read_goes_to_its_service(behind: Behind, path, service, query) -> None:
    answer = await behind.gateway.get(path, **query)
    assert answer.status_code == 200
    (asked,) = getattr(behind, service).asked
    assert asked.url.path == path
    assert dict(asked.url.params) == query


async def test_the_catalogue_is_public_and_sees_no_token(behind: Behind) -> None:
    bare = await behind.gateway.http.get("/v1/procedures/1.000016")
    assert bare.status_code == 200
    assert (await behind.gateway.get("/v1/procedures/1.000016")).status_code == 200
    assert all("authorization" not in asked.headers for asked in behind.catalog.asked)


async def test_all_other_reads_need_a_token_with_their_scope(behind: Behind) -> None:
    signing = "/v1/signing-requests/01a1ffce-9195-77a2-9f38-d89d833587e1"
    for path in (ONE, f"{ONE}/steps", f"{ONE}/deadline", "/v1/dossiers", signing):
        assert (await behind.gateway.http.get(path)).status_code == 401
        none = behind.gateway.bearer(scopes=["dossiers:write"])
        assert (await behind.gateway.http.get(path, headers=none)).status_code == 403
    assert behind.dossier.asked == behind.signatures.asked == []


async def test_an_unchanged_catalogue_entry_is_not_sent_again(behind: Behind) -> None:
    moment = "Sat, 01 Nov 2025 00:00:00 GMT"
    behind.catalog.headers |= {"etag": '"abc"', "last-modified": moment}
    asking = behind.gateway.http.get
    for condition in (
        {"if-none-match": '"abc"'},
        {"if-none-match": '"x", W/"abc"'},
        {"if-none-match": "*"},
        {"if-modified-since": moment},
    ):
        answer = await asking("/v1/agencies", headers=condition)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"abc"')
        assert answer.headers["last-modified"] == moment
    for condition in (
        {"if-none-match": '"x"'},
        {"if-none-match": '"x"', "if-modified-since": moment},
        {"if-modified-since": "Fri, 31 Oct 2025 23:59:59 GMT"},
        {"if-modified-since": "yesterday"},
    ):
        assert (await asking("/v1/agencies", headers=condition)).status_code == 200


async def test_only_known_headers_pass_in_either_direction(behind: Behind) -> None:
    behind.dossier.headers |= {
        "set-cookie": "a=b",
        "server": "secret/1.0",
        "keep-alive": "timeout=5",
        "x-internal": "1",
        "cache-control": "private, no-cache",
    }
    sent = {**behind.gateway.bearer(), "cookie": "c=d", "x-forwarded-host": "evil", "te": "x"}
    answer = await behind.gateway.http.get(ONE, headers=sent)
    assert not {"set-cookie", "server", "keep-alive", "x-internal"} & set(answer.headers)
    assert answer.headers["cache-control"] == "private, no-cache"
    asked = behind.dossier.asked[0].headers
    assert not {"cookie", "x-forwarded-host", "te"} & set(asked)


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_a_refusal_of_the_service_behind_is_passed_on(behind: Behind, status: int) -> None:
    behind.dossier.status, behind.dossier.headers = status, PROBLEM
    behind.dossier.body = UNKNOWN.replace(b"404", str(status).encode())
    answer = await behind.gateway.get(ONE)
    assert (answer.status_code, answer.content) == (status, behind.dossier.body)


@pytest.mark.parametrize(
    ("status", "content_type"),
    [(500, "application/problem+json"), (200, "text/html"), (302, "text/html"), (404, "")],
)
async def test_what_is_no_proper_answer_is_told_as_a_failure_behind(
    behind: Behind, status: int, content_type: str
) -> None:
    behind.dossier.status = status
    behind.dossier.headers = {"content-type": content_type, "location": "http://127.0.0.1:1/"}
    behind.dossier.body = b"<h1>secret stack trace</h1>"
    answer = await behind.gateway.get(ONE)
    assert (answer.status_code, slug(answer)) == (502, "upstream-failed")
    assert "secret" not in answer.text


async def test_a_service_behind_that_is_not_ready_is_told_as_such(behind: Behind) -> None:
    behind.dossier.status, behind.dossier.headers = 503, {**PROBLEM, "retry-after": "7"}
    answer = await behind.gateway.get(ONE)
    assert (answer.status_code, slug(answer)) == (503, "upstream-unavailable")
    assert answer.headers["retry-after"] == "7"


async def test_a_slow_service_behind_is_not_waited_for(behind: Behind) -> None:
    behind.dossier.delay = 5
    async with asyncio.timeout(4.5):
        answer = await behind.gateway.get(ONE)
    assert (answer.status_code, slug(answer)) == (503, "upstream-unavailable")


async def test_an_answer_that_trickles_in_is_not_waited_for(behind: Behind) -> None:
    behind.dossier.trickle = 0.2
    async with asyncio.timeout(2):
        answer = await behind.gateway.get(ONE)
    assert (answer.status_code, slug(answer)) == (503, "upstream-unavailable")


async def test_an_endless_answer_is_cut_off(behind: Behind, monkeypatch) -> None:
    monkeypatch.setattr(behind_module, "LARGEST_ANSWER", 1000)
    behind.dossier.body = b'"' + b"x" * 1000 + b'"'
    answer = await behind.gateway.get(ONE)
    assert (answer.status_code, slug(answer)) == (502, "upstream-failed")


async def test_a_dossier_that_is_not_known_yet_is_pending(behind: Behind) -> None:
    taken = (await behind.gateway.submit()).json()
    behind.dossier.status, behind.dossier.headers, behind.dossier.body = 404, PROBLEM, UNKNOWN
    answer = await behind.gateway.get(ONE)
    assert answer.status_code == 200
    assert answer.json() == {
        "code": dossier_code(),
        "agency": AGENCY,
        "state": "pending",
        "submission_id": taken["submission_id"],
        "received_at": taken["received_at"],
        "pending": [
            {
                "submission_id": taken["submission_id"],
                "kind": "submit",
                "received_at": taken["received_at"],
            }
        ],
    }


async def test_a_pending_dossier_is_seen_while_its_service_is_away(behind: Behind) -> None:
    await behind.gateway.submit()
    behind.dossier.status = 500
    assert (await behind.gateway.get(ONE)).json()["state"] == "pending"
    behind.dossier.delay = 5
    assert (await behind.gateway.get(ONE)).json()["state"] == "pending"


async def test_a_pending_dossier_is_seen_by_clients_of_its_agency_only(behind: Behind) -> None:
    await behind.gateway.submit()
    behind.dossier.status, behind.dossier.headers, behind.dossier.body = 404, PROBLEM, UNKNOWN
    assert (await behind.gateway.get(ONE, client="other")).json()["state"] == "pending"
    foreign = await behind.gateway.get(ONE, client="foreign")
    assert (foreign.status_code, slug(foreign)) == (404, "unknown-dossier")


async def test_an_unknown_dossier_stays_unknown(behind: Behind) -> None:
    behind.dossier.status, behind.dossier.headers, behind.dossier.body = 404, PROBLEM, UNKNOWN
    assert (await behind.gateway.get(ONE)).status_code == 404
    refused = (await behind.gateway.submit()).json()
    await behind.gateway.refuse(refused["submission_id"])
    assert (await behind.gateway.get(ONE)).status_code == 404


async def test_a_dossier_applied_while_it_was_asked_for_is_asked_for_again(behind: Behind) -> None:
    """The dossier service said 404 before it applied the submission; we look after it has."""
    taken = (await behind.gateway.submit()).json()
    await behind.gateway.apply(taken["submission_id"])
    behind.dossier.status, behind.dossier.headers, behind.dossier.body = 404, PROBLEM, UNKNOWN
    behind.dossier.delay = 0.1
    asking = asyncio.ensure_future(behind.gateway.get(ONE))
    async with asyncio.timeout(30):
        while not behind.dossier.asked:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.15)
    behind.dossier.status, behind.dossier.headers = 200, {"content-type": "application/json"}
    behind.dossier.body = b'{"state":"known"}'
    assert (await asking).json() == {"state": "known", "pending": []}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/dossiers/..%2F..%2Finternal%2Fevents",
        "/v1/dossiers/H56.14-261102-0001%3Fx=1",
        "/v1/dossiers/%00",
        "/v1/procedures/..",
        "/v1/procedures/..%2F..%2Freadyz",
        "/v1/agencies/h56",
        "/v1/code-lists/a%2Fb",
        "/v1/signing-requests/not-a-uuid",
    ],
)
async def test_no_path_leads_elsewhere(behind: Behind, path: str) -> None:
    answer = await behind.gateway.get(path)
    for service in (behind.dossier, behind.catalog, behind.signatures):
        for asked in service.asked:
            assert asked.url.raw_path.startswith(b"/v1/")
            assert b"internal" not in asked.url.raw_path
            assert b"readyz" not in asked.url.raw_path
    assert answer.status_code in {200, 404, 422}


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "201"}, {"status": "11"}, {"agency": "h56"}]
)
async def test_bad_parameters_are_refused_at_the_door(behind: Behind, query) -> None:
    answer = await behind.gateway.get("/v1/dossiers", **query)
    assert (answer.status_code, slug(answer)) == (422, "invalid-content")
    assert answer.json()["errors"][0]["pointer"] == "/" + next(iter(query))
    assert behind.dossier.asked == []


async def test_a_submit_needs_no_service_behind(behind: Behind) -> None:
    assert (await behind.gateway.submit(submission())).status_code == 202
    assert behind.dossier.asked == behind.catalog.asked == behind.signatures.asked == []
