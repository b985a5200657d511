"""``/docs`` works without the internet: everything it loads comes from the gateway."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
import pytest_asyncio

from tests.support.databases import Databases
from tests.support.gateway import RunningGateway, gateway_database, running_gateway


@pytest_asyncio.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


def policy(answer: httpx.Response) -> dict[str, list[str]]:
    """The directives of the content security policy."""
    told = answer.headers["content-security-policy"]
    return {name: places for name, *places in (one.split() for one in told.split(";"))}


async def test_everything_that_the_page_loads_comes_from_the_gateway(
    gateway: RunningGateway,
) -> None:
    page = await gateway.http.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    wanted = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(wanted) == 4
    for place in wanted:
        assert not urlsplit(place).netloc
        asset = await gateway.http.get(urljoin("/docs", place))
        assert asset.status_code == 200, place
        assert asset.content
        assert asset.headers["x-content-type-options"] == "nosniff"


async def test_the_document_that_the_page_shows_is_the_gateways_own(
    gateway: RunningGateway,
) -> None:
    start = (await gateway.http.get("/docs/start.js")).text
    (place,) = re.findall(r'\burl: "([^"]+)"', start)
    shown = await gateway.http.get(urljoin("/docs", place))
    assert shown.json()["openapi"].startswith("3.1")
    assert "validatorUrl: null" in start  # the default asks a service on the internet


async def test_no_address_of_the_page_or_its_start_leads_outside(gateway: RunningGateway) -> None:
    for path in ("/docs", "/docs/start.js"):
        assert "//" not in (await gateway.http.get(path)).text


async def test_styles_load_nothing_from_outside(gateway: RunningGateway) -> None:
    style = (await gateway.http.get("/docs/swagger-ui.css")).text
    places = re.findall(r"url\(\s*['\"]?([^'\")]+)", style)
    assert [place for place in places if not place.startswith("data:")] == []
    assert "@import" not in style


async def test_the_browser_may_ask_nobody_but_the_gateway(gateway: RunningGateway) -> None:
    told = policy(await gateway.http.get("/docs"))
    assert told["default-src"] == ["'none'"]
    assert told["script-src"] == told["connect-src"] == ["'self'"]
    assert {place for places in told.values() for place in places} <= {
        "'none'",
        "'self'",
        "'unsafe-inline'",
        "data:",
    }
    assert "'unsafe-inline'" not in told["script-src"]


async def test_no_script_stands_in_the_page(gateway: RunningGateway) -> None:
    page = (await gateway.http.get("/docs")).text
    assert re.findall(r"<script[^>]*>([^<]+)</script>", page) == []
    assert not re.search(r"\son[a-z]+=", page)


@pytest.mark.parametrize("name", ["main.py", "..%2fmain.py", "%2e%2e/main.py", "__init__.py", "a"])
async def test_nothing_else_of_the_package_is_served(gateway: RunningGateway, name: str) -> None:
    assert (await gateway.http.get(f"/docs/{name}")).status_code == 404
