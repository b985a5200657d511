"""The conformance report, as JSON and as a page to print."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from catalog.api.catalogue import After, EitherForm, Limit
from catalog.api.channels import ChecksOf, Operator, only_for
from catalog.api.page import CONTENT_SECURITY_POLICY, page
from catalog.store import evidence
from catalog.use_cases import conformance
from catalog.use_cases.channels import known_agency
from catalog.use_cases.conformance import Brief, Report
from common.service import CoreOf

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_READ: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such agency, or no rules for that day", **_PROBLEM},
    422: {"description": "A parameter is not valid", **_PROBLEM},
}
_CHECK: dict[int | str, dict[str, Any]] = {
    **_READ,
    401: {"description": "No valid access token", **_PROBLEM},
    403: {"description": "Without the scope operations", **_PROBLEM},
}
_HTML: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
_PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
}

On = Annotated[
    date | None,
    Query(description="The day whose rules are applied; today (Vietnam) unless given"),
]

router = APIRouter()


class States(BaseModel):
    """Agencies by code with the state of each point, and behind which code to go on."""

    on: date
    items: list[Brief]
    next: str | None


class Asked(BaseModel):
    """How many channels will be checked now."""

    agency: str
    channels: int


@router.get(
    "/v1/conformance/{code}.html",
    response_class=Response,
    responses={200: _HTML, **_READ},
)
async def conformance_page(core: CoreOf, code: EitherForm, on: On = None) -> Response:
    """The report as a page to print (A4)."""
    return _page(await _report(core, code, on))


@router.get(
    "/v1/conformance/{code}",
    response_model=Report,
    responses={200: {**_HTML, "model": Report}, **_READ},
)
async def read_conformance(
    request: Request, core: CoreOf, code: EitherForm, on: On = None
) -> Response:
    """Every point of NĐ 42/2022 Điều 13.2 with its state, evidence and time."""
    report = await _report(core, code, on)
    if _wants_page(request):
        return _page(report)
    return Response(
        report.model_dump_json(), media_type="application/json", headers={"vary": "accept"}
    )


@router.get("/v1/conformance", responses=_READ)
async def list_conformance(
    core: CoreOf, after: After = "", limit: Limit = 50, on: On = None
) -> States:
    """The state of each point for every agency that exists."""
    day = on or conformance.today()
    async with core.database.reading() as connection:
        found = await conformance.list_states(connection, day, after, limit + 1)
    items = found[:limit]
    return States(on=day, items=items, next=items[-1].agency.code if len(found) > limit else None)


@router.post("/v1/conformance/{code}/check", status_code=202, responses=_CHECK)
async def check_conformance(
    core: CoreOf, checks: ChecksOf, operator: Operator, code: EitherForm, response: Response
) -> Asked:
    """Check the hosts of an agency's channels now; the report has the results soon."""
    only_for(operator, code)
    async with core.database.transaction() as connection:
        await known_agency(connection, code)
        asked = await evidence.check_now(connection, code)
    checks.wake()
    response.headers["location"] = f"/v1/conformance/{code}"
    return Asked(agency=code, channels=asked)


async def _report(core: CoreOf, code: str, on: date | None) -> Report:
    async with core.database.reading() as connection:
        return await conformance.report(connection, code, on or conformance.today())


def _page(report: Report) -> Response:
    return Response(
        page(report),
        media_type="text/html; charset=utf-8",
        headers={**_PAGE_HEADERS, "vary": "accept"},
    )


def _wants_page(request: Request) -> bool:
    """Whether HTML is asked for by name and before JSON, as browsers do."""
    accepted = ",".join(request.headers.getlist("accept")).lower()
    html, json = accepted.find("text/html"), accepted.find("application/json")
    return html >= 0 and (json < 0 or html < json)
