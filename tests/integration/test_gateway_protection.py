"""What stands before every route: strict JSON at every door, headers of every answer, CORS."""

import json

import pytest
from pydantic import ValidationError

from tests.support.gateway import (
    NAME,
    dossier_code,
    gateway_database,
    running_gateway,
    settings,
    sign,
    step,
    submission,
)

SCOPES = "dossiers:write dossiers:read dossiers:search questions:write channels:write"
TWICE = b'{"code":1,"code":2}'
PAGE = "https://portal.example.gov.vn"


def bearer() -> dict[str, str]:
    return {"Authorization": "Bearer " + sign(client_id="one-stop", scope=SCOPES, agencies=["*"])}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/dossiers"),
        ("POST", f"/v1/dossiers/{dossier_code()}/steps"),
        ("POST", "/v1/dossiers/search"),
        ("POST", "/v1/questions/q1/answer"),
        ("PUT", "/v1/agencies/H56/channels/2"),
        ("PUT", "/v1/agencies/H56/statements/some-part"),
        ("POST", "/exchange/v1/token"),
        ("POST", "/exchange/v1/GetNextValue"),
        ("POST", "/exchange/v1/NopHoSo"),
    ],
)
async def test_json_that_can_be_read_in_two_ways_enters_nowhere(
    databases, tmp_path, method, path
) -> None:
    url = await gateway_database(databases)
    scopes = SCOPES.split()
    clients = json.dumps(
        [{"client_id": "one-stop", "secret": "x" * 20, "scopes": scopes, "agencies": ["*"]}]
    )
    async with running_gateway(
        url, tmp_path, clients=clients, portal_sync_url="http://127.0.0.1:9"
    ) as gateway:
        for raw in (
            TWICE,
            b'{"code":NaN}',
            b'{"code":1e999}',
            b'{"code":"\\ud800"}',
            b"\xef\xbb\xbf{}",
            b"{}{}",
            b'{"code":' + b"[" * 200 + b"]" * 200 + b"}",
        ):
            answer = await gateway.http.request(
                method,
                path,
                content=raw,
                headers={
                    **bearer(),
                    "content-type": "application/json",
                    "idempotency-key": "k",
                    "x-purpose": "test",
                },
            )
            assert answer.status_code == 400, (raw, answer.text)
            assert "malformed-json" in answer.text


async def test_a_body_of_another_type_is_not_passed_on(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        answer = await gateway.http.post(
            "/v1/dossiers/search",
            content=b"{}",
            headers={**gateway.bearer(), "content-type": "text/html", "x-purpose": "test"},
        )
        assert answer.status_code == 415


async def test_what_was_sent_is_not_told_again(databases, tmp_path) -> None:
    script = "<script>alert(1)</script>"
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        answers = [
            await gateway.submit({**submission(), script: NAME}),
            await gateway.submit({**submission(), "procedure": script}),
            await gateway.submit(submission(script)),
            await gateway.submit(script.encode()),
            await gateway.take_step({**step(), "kind": script}),
            await gateway.take_step(step(), script),
            await gateway.get(f"/{script}"),
            await gateway.get("/v1/submissions", state=script),
            await gateway.get(f"/v1/submissions/{script}"),
            await gateway.http.get("/v1/submissions", headers={"Authorization": script}),
            await gateway.http.post("/oauth/token", data={"grant_type": script}),
            await gateway.http.post("/oauth/token", data={script: script}),
        ]
        for answer in answers:
            assert 400 <= answer.status_code < 500
            assert "json" in answer.headers["content-type"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "<script" not in answer.text.replace('"pointer":"/<script', "")
            assert NAME not in answer.text


async def test_every_answer_has_the_headers_that_protect(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, hsts_seconds=31_536_000) as gateway:
        for answer in (
            await gateway.submit(),
            await gateway.get("/v1/submissions"),
            await gateway.http.get("/nowhere"),
            await gateway.http.get("/.well-known/jwks.json"),
        ):
            headers = answer.headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["strict-transport-security"] == "max-age=31536000"
            assert "server" not in headers
            assert "access-control-allow-origin" not in headers


async def test_pages_of_other_origins_reach_nothing(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    preflight = {"origin": PAGE, "access-control-request-method": "POST"}
    async with running_gateway(url, tmp_path) as gateway:
        answer = await gateway.http.options("/v1/dossiers", headers=preflight)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)
        answer = await gateway.http.get("/v1/submissions", headers={"origin": PAGE})
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_pages_of_named_origins_may_call(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, cors_origins=(PAGE,)) as gateway:
        for origin, allowed in ((PAGE, PAGE), (PAGE + ".evil.vn", None), ("null", None)):
            preflight = {"origin": origin, "access-control-request-method": "POST"}
            answer = await gateway.http.options("/v1/dossiers", headers=preflight)
            assert answer.status_code == (204 if allowed else 405)
            assert answer.headers.get("access-control-allow-origin") == allowed
            headers = {**gateway.bearer(), "origin": origin}
            answer = await gateway.http.get("/v1/submissions", headers=headers)
            assert answer.status_code == 200
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in answer.headers
            assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["*", "null", "portal.example.vn", PAGE + "/", PAGE + "/path"])
def test_an_origin_that_is_none_is_refused_at_start(tmp_path, origin) -> None:

    with pytest.raises(ValidationError):
        settings("postgresql+asyncpg://x@127.0.0.1/x", tmp_path, cors_origins=(origin,))
