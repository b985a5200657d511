"""Whatever comes in at the door: a problem that says what is wrong, and nothing else happens."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.databases import Databases
from tests.support.gateway import (
    NAME,
    NUMBER,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)
from tests.support.logs import service_logs

LIMIT = 1024 * 1024


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


def slug(answer: httpx.Response) -> str:
    """The problem's slug, after looking at what every problem has."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"] != body["title_en"]
    assert body["instance"] == f"urn:lienthong:request:{answer.headers['x-request-id']}"
    return str(body["type"]).removeprefix("urn:lienthong:problem:")


async def nothing_happened(gateway: RunningGateway) -> bool:
    return not (await gateway.rows("SELECT 1 FROM submission") or await gateway.told())


@pytest.mark.parametrize(
    ("body", "status", "problem", "pointer"),
    [
        (b"", 400, "malformed-json", None),
        (b"{", 400, "malformed-json", None),
        (b"\xff\xfe", 400, "malformed-json", None),
        (b"[" * 100_000, 400, "malformed-json", None),
        (json.dumps(submission()).encode()[:-1] + b',"channel":"1"}', 400, "malformed-json", None),
        (b"[]", 422, "invalid-content", "/"),
        (b"null", 422, "invalid-content", "/"),
        (b"{}", 422, "invalid-content", "/procedure"),
        (submission("khong-phai-ma"), 422, "invalid-content", "/code"),
        (submission("12.34-261102-0001"), 422, "invalid-content", "/code"),
        (submission(channel="9"), 422, "invalid-content", "/channel"),
        (submission(summary="a\x00b"), 422, "invalid-content", "/summary"),
        (submission(fees=[{"name": "a", "amount": 1e400}]), 400, "malformed-json", None),
        ({**submission(), "a/b~c": 1}, 422, "invalid-content", "/a~1b~0c"),
        (submission(procedure="9.999999"), 422, "unknown-procedure", "/procedure"),
    ],
    ids=range(15),
)
async def test_bad_bodies(gateway: RunningGateway, body: Any, status, problem, pointer) -> None:
    answer = await gateway.submit(body)
    assert (answer.status_code, slug(answer)) == (status, problem)
    if pointer is not None:
        told = answer.json()["errors"][0]
        assert told["pointer"] == pointer
        assert told["detail"]
        assert told["detail_en"]
    assert await nothing_happened(gateway)


async def test_a_body_above_the_limit_is_refused_by_its_length(gateway: RunningGateway) -> None:
    answer = await gateway.submit(b" " * (LIMIT + 1))
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")
    assert str(LIMIT) in answer.json()["detail_en"]


async def test_a_body_without_a_length_is_counted(gateway: RunningGateway) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 100_000

    headers = {"content-type": "application/json", **gateway.bearer()}
    answer = await gateway.http.post("/v1/dossiers", content=endless(), headers=headers)
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")
    assert sent < 13


async def test_a_large_body_within_the_limit_is_taken(gateway: RunningGateway) -> None:
    documents = [{"id": f"tl{n}", "name": "Giấy tờ " * 60} for n in range(200)]
    assert (await gateway.submit(submission(documents=documents))).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nowhere", 404),
        ("GET", "/", 404),
        ("DELETE", "/v1/dossiers", 405),
        ("PUT", f"/v1/dossiers/{dossier_code()}", 405),
        ("GET", "/oauth/token", 405),
        ("POST", "/v1/dossiers/khong-phai-ma/steps", 422),
        ("POST", "/v1/dossiers/12.34-261102-0001/steps", 422),
        ("GET", "/v1/submissions/1", 422),
        ("GET", "/v1/submissions?after=1", 422),
        ("GET", "/v1/submissions?limit=0", 422),
        ("GET", "/v1/submissions?limit=99999999999999999999", 422),
    ],
)
async def test_bad_addresses(gateway: RunningGateway, method, path, status) -> None:
    headers = {"idempotency-key": "k", **gateway.bearer()}
    content = json.dumps(step()).encode() if method == "POST" else None
    if content:
        headers["content-type"] = "application/json"
    answer = await gateway.http.request(method, path, headers=headers, content=content)
    assert answer.status_code == status
    slug(answer)


@pytest.mark.parametrize("key", ["two words", "x" * 129, "tab\there"])
async def test_bad_keys(gateway: RunningGateway, key: str) -> None:
    answer = await gateway.submit(idempotency_key=key)
    assert (answer.status_code, slug(answer)) == (400, "idempotency-key-malformed")
    assert await nothing_happened(gateway)


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=9e9", ",,,", "wait=1" * 500])
async def test_an_odd_preference_is_no_preference(gateway: RunningGateway, prefer: str) -> None:
    assert (await gateway.submit(prefer=prefer)).status_code == 202


async def test_neither_answers_nor_logs_repeat_personal_data(
    gateway: RunningGateway, monkeypatch
) -> None:
    broken = submission(summary="x" * 2000)
    broken["applicant"]["identity"]["number"] = NUMBER + "9"

    async def fails(wish: Any) -> None:
        raise RuntimeError(f"{wish} {wish.content!r}")

    signing = [{"id": "1", "name": "n", "signing": {"user": NUMBER}}]
    with service_logs() as written:
        answers = [
            await gateway.submit(broken),
            await gateway.submit(json.dumps(submission()).encode() + b"}"),
            await gateway.submit(),
            await gateway.submit(submission(summary="Khác")),
            await gateway.take_step(step("complete", results=signing)),
        ]
        monkeypatch.setattr(gateway.app.state.gateway.intake, "take", fails)
        answers.append(await gateway.submit(submission(dossier_code(2))))
    assert answers[-1].status_code == 500
    logged = written.getvalue()
    assert "request failed" in logged
    for personal in (NAME, NUMBER, "buoi@example.vn", "0903 123 456"):
        assert personal not in logged
        for answer in answers:
            assert personal not in answer.text


async def test_a_request_id_is_kept_only_if_it_is_one(gateway: RunningGateway) -> None:
    kept = await gateway.submit(x_request_id="abc-1.2_3")
    assert kept.headers["x-request-id"] == "abc-1.2_3"
    replaced = await gateway.submit(x_request_id="a b<script>")
    assert "script" not in replaced.headers["x-request-id"]
