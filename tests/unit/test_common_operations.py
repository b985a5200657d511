"""Health, readiness and history of a service, as operators and other services ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from common import operations, problems
from common.auth import Principal, principal_of
from common.settings import TelemetrySettings
from common.telemetry import Telemetry


class Core:
    telemetry = Telemetry("thing", TelemetrySettings())
    database: Any = None


@pytest.fixture
def app() -> FastAPI:
    made = FastAPI()
    made.include_router(operations.router)
    problems.install(made)
    made.state.ready = True
    made.state.checks = {}
    made.state.core = Core()
    made.dependency_overrides[principal_of] = lambda: Principal(
        "catalog", frozenset({"events:history"}), (), "t"
    )
    return made


@pytest.fixture
def get(app: FastAPI) -> Callable[..., Awaitable[httpx.Response]]:
    async def ask(path: str, **params: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://thing") as http:
            return await http.get(path, params=params)

    return ask


async def test_alive_and_ready(get: Any, app: FastAPI) -> None:
    assert (await get("/healthz")).json() == {"status": "ok"}
    assert (await get("/readyz")).json() == {"status": "ready"}
    assert "events_consumed" in (await get("/metrics")).text
    app.state.ready = False
    assert (await get("/readyz")).status_code == 503
    assert (await get("/healthz")).status_code == 200


async def test_a_condition_that_does_not_hold_is_named(get: Any, app: FastAPI) -> None:
    async def fails() -> None:
        raise ConnectionError("postgresql://user:password@host")

    async def holds() -> None: ...

    app.state.checks = {"database": holds, "transport": fails}
    answer = await get("/readyz")
    assert answer.status_code == 503
    assert "transport (ConnectionError)" in answer.json()["detail_en"]
    assert "password" not in answer.text


async def test_a_condition_that_does_not_answer_does_not_hold(
    get: Any, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_CHECK_SECONDS", 0.05)
    app.state.checks = {"transport": lambda: asyncio.sleep(30)}
    began = time.monotonic()
    assert (await get("/readyz")).status_code == 503
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "change",
    [
        {"first": 0},
        {"last": 2**63},
        {"first": 2**63},
        {"epoch": 0},
        {"epoch": 2**31},
        {"epoch": "x"},
        {"aggregate": "a" * 201},
    ],
)
async def test_history_is_not_asked_for_what_the_database_could_not_hold(
    get: Any, change: dict[str, Any]
) -> None:
    asked = {"aggregate": "a", "epoch": 1, "first": 1, "last": 2} | change
    assert (await get("/internal/events", **asked)).status_code == 422


async def test_history_is_for_those_who_may(get: Any, app: FastAPI) -> None:
    asked = {"aggregate": "a", "epoch": 1, "first": 1, "last": 2}
    app.dependency_overrides[principal_of] = lambda: Principal("x", frozenset(), ("*",), "t")
    assert (await get("/internal/events", **asked)).status_code == 403
    log = {"types": "a", "after": "00000000-0000-0000-0000-000000000000"}
    assert (await get("/internal/log", **log)).status_code == 403
    app.dependency_overrides.clear()
    assert (await get("/internal/events", **asked)).status_code == 401
