"""A client marked sandbox meets the same API, and nothing of what it does is real."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import pytest
from sqlalchemy import text
from starlette.types import Receive, Scope, Send

from tests.support.databases import Databases
from tests.support.gateway import (
    CLIENTS,
    NOWHERE,
    SCOPES,
    RunningGateway,
    gateway_database,
    listening,
    running_gateway,
    submission,
)

TRIER: dict[str, Any] = {
    "client_id": "trier",
    "secret": "a-secret-for-trying-things-out",
    "scopes": SCOPES,
    "agencies": ["*"],
    "sandbox": True,
}


@dataclass
class Elsewhere:
    """Another installation's gateway; it remembers what came."""

    requests: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(
            {
                "method": scope["method"],
                "path": scope["raw_path"].decode(),
                "query": scope["query_string"].decode(),
                "headers": headers,
                "body": body,
            }
        )
        told = [(b"content-type", b"application/json"), (b"location", b"/v1/submissions/7")]
        await send({"type": "http.response.start", "status": 202, "headers": told})
        await send({"type": "http.response.body", "body": b'{"state":', "more_body": True})
        await send({"type": "http.response.body", "body": b'"pending"}'})


@pytest.fixture
async def url(databases: Databases) -> str:
    return await gateway_database(databases)


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
async def gateway(url: str, tmp_path: Path, elsewhere: Elsewhere) -> AsyncIterator[RunningGateway]:
    clients = json.dumps([*CLIENTS, TRIER])
    async with (
        listening(elsewhere) as sandbox,
        running_gateway(url, tmp_path, clients=clients, sandbox_url=sandbox) as running,
    ):
        yield running


async def token(gateway: RunningGateway) -> dict[str, str]:
    answer = await gateway.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(TRIER["client_id"], TRIER["secret"]),
    )
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


async def test_its_requests_go_to_the_sandbox_as_they_came(
    gateway: RunningGateway, elsewhere: Elsewhere
) -> None:
    body = json.dumps(submission()).encode()
    answer = await gateway.http.post(
        "/v1/dossiers?a=%26b",
        content=body,
        headers={
            **await token(gateway),
            "content-type": "application/json",
            "idempotency-key": "k-1",
            "client-cert": ":AAAA:",
        },
    )
    assert (answer.status_code, answer.json()) == (202, {"state": "pending"})
    assert answer.headers["x-sandbox"] == "true"
    assert answer.headers["location"] == "/v1/submissions/7"
    (came,) = elsewhere.requests
    assert (came["method"], came["path"], came["query"]) == ("POST", "/v1/dossiers", "a=%26b")
    assert came["body"] == body
    assert came["headers"]["idempotency-key"] == "k-1"
    claims = jwt.decode(
        came["headers"]["authorization"].removeprefix("Bearer "),
        options={"verify_signature": False},
    )
    assert (claims["iss"], claims["sub"]) == ("urn:lienthong:gateway", "trier")
    assert "client-cert" not in came["headers"]


async def test_another_installation_knows_it_as_the_client_of_an_outside_issuer(
    databases: Databases, url: str, tmp_path: Path
) -> None:
    issuer = "urn:lienthong:gateway"
    there = {**TRIER, "sandbox": False, "external": [issuer, "trier"], "agencies": ["H56"]}
    clients = json.dumps([TRIER])
    async with AsyncExitStack() as stack:
        issuing = await stack.enter_async_context(
            running_gateway(url, tmp_path / "real", clients=clients)
        )
        trusted = {
            "issuer": issuer,
            "jwks_url": await stack.enter_async_context(listening(issuing.app))
            + "/.well-known/jwks.json",
            "audience": "urn:lienthong:backbone",
        }
        sandbox = await stack.enter_async_context(
            running_gateway(
                await gateway_database(databases),
                tmp_path / "sandbox",
                clients=json.dumps([there]),
                token_issuer="urn:lienthong:sandbox",
                external_issuers=[trusted],
            )
        )
        target = await stack.enter_async_context(listening(sandbox.app))
        door = await stack.enter_async_context(
            running_gateway(url, tmp_path / "real", sandbox_url=target, clients=clients)
        )
        answer = await door.http.post("/v1/dossiers", json=submission(), headers=await token(door))
        assert answer.status_code == 202, answer.text
        (taken,) = await sandbox.submissions()
        assert taken.client_id == "trier"
        assert await door.submissions() == []


async def test_nothing_of_it_is_written_here(gateway: RunningGateway) -> None:
    await gateway.http.post("/v1/dossiers", json=submission(), headers=await token(gateway))
    assert await gateway.rows("SELECT id FROM submission") == []
    assert await gateway.told() == []


@pytest.mark.parametrize("path", ["/v1/dossiers", "/v1/submissions", "/v1/no-such-thing"])
async def test_reads_go_there_too_known_or_not(
    gateway: RunningGateway, elsewhere: Elsewhere, path: str
) -> None:
    answer = await gateway.http.get(path, headers=await token(gateway))
    assert answer.headers["x-sandbox"] == "true"
    assert elsewhere.requests[0]["path"] == path
    assert elsewhere.requests[0]["body"] == b""


async def test_other_clients_never_get_there(gateway: RunningGateway, elsewhere: Elsewhere) -> None:
    taken = await gateway.submit()
    assert taken.status_code == 202
    assert "x-sandbox" not in taken.headers
    assert elsewhere.requests == []


async def test_a_client_that_moves_to_the_sandbox_does_so_with_the_token_that_it_has(
    gateway: RunningGateway, elsewhere: Elsewhere
) -> None:
    """Its token is older than the mark; what counts is what the registry says now."""
    real = gateway.bearer("one-stop")
    async with gateway.core.database.transaction() as connection:
        await connection.execute(
            text("UPDATE client SET sandbox = true WHERE client_id = 'one-stop'")
        )
    await gateway.app.state.gateway.registry.refresh()
    answer = await gateway.http.get("/v1/submissions", headers=real)
    assert answer.headers.get("x-sandbox") == "true"


async def test_without_a_sandbox_it_is_told_so_and_nothing_becomes_real(
    url: str, tmp_path: Path
) -> None:
    async with running_gateway(url, tmp_path, clients=json.dumps([TRIER])) as gateway:
        answer = await gateway.http.post(
            "/v1/dossiers", json=submission(), headers=await token(gateway)
        )
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:lienthong:problem:sandbox-unavailable"
        assert await gateway.rows("SELECT id FROM submission") == []


async def test_a_sandbox_that_is_away_says_when_to_come_again(url: str, tmp_path: Path) -> None:
    async with running_gateway(
        url, tmp_path, clients=json.dumps([TRIER]), sandbox_url=NOWHERE
    ) as gateway:
        answer = await gateway.http.get("/v1/submissions", headers=await token(gateway))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"
