"""Searches and purposes pass through the gateway to the service that judges and audits them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from tests.support.databases import Databases
from tests.support.gateway import (
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    passed_claims,
    running_gateway,
)

SEARCH = "/v1/dossiers/search"
SOUGHT = {"identity": {"type": "citizen-id", "number": "079199000123"}}


@dataclass
class Dossier(Upstream):
    """The dossier service, which remembers bodies as well."""

    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.bodies.append(body)
        await super().__call__(scope, receive, send)


@dataclass
class Behind:
    gateway: RunningGateway
    dossier: Dossier


@pytest.fixture
async def behind(databases: Databases, tmp_path) -> AsyncIterator[Behind]:
    async with (
        Dossier().serving() as dossier,
        running_gateway(
            await gateway_database(databases), tmp_path, dossier_url=dossier.url
        ) as gateway,
    ):
        assert isinstance(dossier, Dossier)
        yield Behind(gateway, dossier)


async def test_a_search_goes_on_with_body_purpose_and_place(behind: Behind) -> None:
    headers = behind.gateway.bearer(scopes=["dossiers:search"]) | {"X-Purpose": "100% ro rang"}
    answer = await behind.gateway.http.post(
        SEARCH, json=SOUGHT, headers=headers, params={"limit": 5, "after": "H10:x"}
    )
    assert (answer.status_code, answer.content) == (200, behind.dossier.body)
    (asked,) = behind.dossier.asked
    assert (asked.method, asked.url.path) == ("POST", SEARCH)
    assert dict(asked.url.params) == {"limit": "5", "after": "H10:x"}
    assert orjson.loads(behind.dossier.bodies[0]) == SOUGHT
    assert asked.headers["x-purpose"] == "100% ro rang"
    assert asked.headers["content-type"] == "application/json"
    assert passed_claims(asked)["scope"] == "dossiers:search"
    assert "079199000123" not in str(asked.url)


async def test_who_may_not_search_is_refused_by_the_service_that_puts_it_down(
    behind: Behind,
) -> None:
    behind.dossier.status = 403
    behind.dossier.headers = {"content-type": "application/problem+json"}
    headers = behind.gateway.bearer(scopes=["dossiers:read"])
    answer = await behind.gateway.http.post(SEARCH, json=SOUGHT, headers=headers)
    assert answer.status_code == 403
    assert len(behind.dossier.asked) == 1
    assert (await behind.gateway.http.post(SEARCH, json=SOUGHT)).status_code == 401
    assert len(behind.dossier.asked) == 1


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (b"Kiem tra", "Kiem tra"),
        (b"", ""),
        ("Xác minh".encode(), "X%C3%A1c minh"),
        (b"X%C3%A1c minh", "X%C3%A1c minh"),
        (None, None),
    ],
)
async def test_a_purpose_arrives_in_any_language(behind: Behind, sent, passed) -> None:
    token = behind.gateway.bearer()["Authorization"].encode()
    headers = [(b"authorization", token)] + ([(b"x-purpose", sent)] if sent is not None else [])
    path = f"/v1/dossiers/{dossier_code()}"
    assert (await behind.gateway.http.get(path, headers=headers)).status_code == 200
    assert behind.dossier.asked[0].headers.get("x-purpose") == passed


async def test_auditors_ask_through_the_gateway(behind: Behind) -> None:
    path = "/v1/personal-reads"
    query: dict[str, Any] = {"client": "ward", "limit": 3, "after": 7}
    auditor = behind.gateway.bearer(scopes=["audit"])
    moments = {"since": "2026-11-02T00:00:00+07:00"}
    answer = await behind.gateway.http.get(path, headers=auditor, params={**query, **moments})
    assert answer.status_code == 200
    asked = dict(behind.dossier.asked[0].url.params)
    assert asked.pop("since") == "2026-11-01T17:00:00+00:00"  # the same moment
    assert asked == {"client": "ward", "limit": "3", "after": "7"}
    refused = await behind.gateway.http.get(path, headers=behind.gateway.bearer())
    assert refused.status_code == 403
