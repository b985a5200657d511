"""Operations on their way out say so: Deprecation (RFC 9745), Sunset (RFC 8594), Link."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query

from common import problems
from common.errors import Conflict
from gateway.api.retirement import Retirement

LEAVING = Retirement(
    since=datetime(2026, 11, 22, tzinfo=UTC),
    until=datetime(2028, 1, 1, 12, 30, tzinfo=UTC),
    more="/docs#/new-way",
)


def application() -> FastAPI:
    router = APIRouter(prefix="/v1", route_class=LEAVING.route_class())
    staying = APIRouter()

    @router.get("/old", openapi_extra={"x-own": 1})
    async def old(limit: Annotated[int, Query(le=3)] = 1) -> dict[str, int]:
        if limit == 2:
            raise Conflict
        return {"limit": limit}

    @staying.get("/v1/new")
    async def new() -> dict[str, str]:
        return {}

    app = FastAPI()
    app.include_router(router)
    app.include_router(staying)
    problems.install(app)
    return app


async def answer(path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=application())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.get(path)


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?limit=2", 409), ("?limit=9", 422)])
async def test_every_answer_of_a_deprecated_operation_says_when_it_ends(
    query: str, status: int
) -> None:
    told = await answer(f"/v1/old{query}")
    assert told.status_code == status
    assert told.headers["deprecation"] == "@1795305600"
    assert told.headers["sunset"] == "Sat, 01 Jan 2028 12:30:00 GMT"
    links = told.headers["link"]
    assert '</docs#/new-way>; rel="deprecation"' in links
    assert '</docs#/new-way>; rel="sunset"' in links


async def test_an_operation_that_stays_says_nothing() -> None:
    told = await answer("/v1/new")
    assert {"deprecation", "sunset", "link"}.isdisjoint(told.headers)


def test_the_document_says_it_too() -> None:
    paths = application().openapi()["paths"]
    old = paths["/v1/old"]["get"]
    assert old["deprecated"] is True
    assert old["x-sunset"] == "2028-01-01T12:30:00+00:00"
    assert old["externalDocs"]["url"] == "/docs#/new-way"
    assert old["x-own"] == 1
    assert "deprecated" not in paths["/v1/new"]["get"]


def test_nothing_goes_without_a_year_of_notice() -> None:
    soon = LEAVING.since + timedelta(days=100)
    with pytest.raises(ValueError, match="a year"):
        Retirement(LEAVING.since, soon, "/docs")


def test_a_time_without_its_zone_is_none() -> None:
    with pytest.raises(ValueError, match="zone"):
        Retirement(datetime(2026, 1, 1), LEAVING.until, "/docs")  # noqa: DTZ001 - the case
