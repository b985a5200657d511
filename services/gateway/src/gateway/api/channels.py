"""Agencies' channels and the conformance report (NĐ 42/2022 Điều 13.2), kept by the catalogue."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from common.auth import Principal, requires
from common.contracts.codes import AgencyCode
from gateway.api.document import problems
from gateway.api.fields import Day
from gateway.api.parts import GatewayOf
from gateway.api.passing import ANSWERS, PAGE, given, passed_headers, passed_on, path_part
from gateway.api.reading import passed_body
from gateway.api.representations import STRICT_PARAMETERS, shown
from gateway.errors import may_not_act_for

router = APIRouter(tags=["Kênh và Điều 13 · Channels and conformance"])

Writer = Annotated[Principal, requires("channels:write")]
AgencyPath = Annotated[AgencyCode, Path(description="In either form of the code")]
ChannelId = Annotated[str, Path(alias="channel", pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
Part = Annotated[str, Path(max_length=60, pattern=r"^[a-z][a-z0-9.-]*$")]
After = Annotated[str | None, Query(max_length=60, pattern=r"^[0-9A-Z.]*$")]
Limit = Annotated[int | None, Query(ge=1, le=200)]
On = Annotated[Day | None, Query(description="The day whose rules are applied")]

_READ: dict[int | str, dict[str, Any]] = {
    status: answer for status, answer in ANSWERS.items() if status != 304
}
_PUT: dict[int | str, dict[str, Any]] = {**_READ, 201: ANSWERS[200], **problems(400, 409, 413, 415)}
_DELETE: dict[int | str, dict[str, Any]] = {
    **{status: answer for status, answer in _READ.items() if status != 200},
    204: {"description": "Removed"},
}
_PAGE: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
_LINE = {"type": "string", "minLength": 1, "maxLength": 200}
_CHANNEL = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind", "host"],
    "properties": {
        "kind": {
            "type": "string",
            "enum": ["portal-vi", "portal-en", "web-portal", "app", "other"],
        },
        "host": {
            "type": "string",
            "maxLength": 253,
            "description": "Host name alone: no address, port or path",
        },
        "name": _LINE,
    },
}
_STATEMENT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 2000},
        "document": _LINE,
        "dated": {"type": "string", "format": "date"},
    },
}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.get(
    "/v1/agencies/{code}/channels",
    summary="Các kênh của cơ quan · Channels of an agency",
    responses=_READ,
)
async def list_channels(request: Request, gateway: GatewayOf, code: AgencyPath) -> Response:
    """All channels that the agency has registered."""
    return await _read(request, gateway, _channels(code))


@router.get(
    "/v1/agencies/{code}/channels/{channel}",
    summary="Một kênh · One channel",
    responses=_READ,
)
async def read_channel(
    request: Request, gateway: GatewayOf, code: AgencyPath, channel: ChannelId
) -> Response:
    """One channel of an agency."""
    return await _read(request, gateway, f"{_channels(code)}/{channel}")


@router.put(
    "/v1/agencies/{code}/channels/{channel}",
    summary="Đăng ký kênh · Register a channel",
    responses=_PUT,
    openapi_extra=_body(_CHANNEL),
)
async def put_channel(
    request: Request,
    gateway: GatewayOf,
    principal: Writer,
    code: AgencyPath,
    channel: ChannelId,
) -> Response:
    """Register or change a channel of an agency that the client acts for."""
    return await _write(request, gateway, principal, code, f"{_channels(code)}/{channel}")


@router.delete(
    "/v1/agencies/{code}/channels/{channel}",
    summary="Xóa kênh · Remove a channel",
    status_code=204,
    responses=_DELETE,
)
async def delete_channel(
    request: Request,
    gateway: GatewayOf,
    principal: Writer,
    code: AgencyPath,
    channel: ChannelId,
) -> Response:
    """Remove a channel of an agency that the client acts for."""
    return _gone(await _write(request, gateway, principal, code, f"{_channels(code)}/{channel}"))


@router.put(
    "/v1/agencies/{code}/statements/{part}",
    summary="Tự khai về một nội dung của Điều 13 · Make a statement",
    responses=_PUT,
    openapi_extra=_body(_STATEMENT),
)
async def put_statement(
    request: Request, gateway: GatewayOf, principal: Writer, code: AgencyPath, part: Part
) -> Response:
    """State how things are with a part of the report that no machine can check."""
    return await _write(request, gateway, principal, code, _statement(code, part))


@router.delete(
    "/v1/agencies/{code}/statements/{part}",
    summary="Rút nội dung tự khai · Take a statement back",
    status_code=204,
    responses=_DELETE,
)
async def delete_statement(
    request: Request, gateway: GatewayOf, principal: Writer, code: AgencyPath, part: Part
) -> Response:
    """Take a statement back."""
    return _gone(await _write(request, gateway, principal, code, _statement(code, part)))


@router.get(
    "/v1/conformance/{code}.html",
    summary="Báo cáo Điều 13, bản in · The report as a page",
    response_class=Response,
    responses={**_READ, 200: _PAGE},
)
async def conformance_page(
    request: Request, gateway: GatewayOf, code: AgencyPath, on: On = None
) -> Response:
    """The conformance report as a page to print (A4)."""
    return await _page(request, gateway, code, on)


@router.get(
    "/v1/conformance/{code}",
    summary="Báo cáo Điều 13 của cơ quan · Conformance report",
    responses={**_READ, 200: {"content": {**ANSWERS[200]["content"], **_PAGE["content"]}}},
)
async def read_conformance(
    request: Request, gateway: GatewayOf, code: AgencyPath, on: On = None
) -> Response:
    """Every point of NĐ 42/2022 Điều 13.2 with state, evidence and time."""
    accepted = ",".join(request.headers.getlist("accept")).lower()
    html, json = accepted.find("text/html"), accepted.find("application/json")
    if html >= 0 and (json < 0 or html < json):
        return await _page(request, gateway, code, on)
    return await _read(request, gateway, f"/v1/conformance/{path_part(code)}", on=_text(on))


@router.get(
    "/v1/conformance",
    summary="Điều 13 theo cơ quan · Conformance of all agencies",
    responses={**_READ, 200: PAGE[200]},
    dependencies=[STRICT_PARAMETERS],
)
async def list_conformance(
    request: Request,
    gateway: GatewayOf,
    after: After = None,
    limit: Limit = None,
    on: On = None,
) -> Response:
    """The state of each point for every agency that exists."""
    query = given(after=after, limit=limit, on=_text(on))
    answer = await gateway.catalog.get(
        "/v1/conformance", query, passed_headers(request, token=False)
    )
    return shown(request, answer, page="after", bilingual=True)


async def _read(
    request: Request, gateway: GatewayOf, path: str, **query: str | int | None
) -> Response:
    headers = passed_headers(request, token=False)
    answer = await gateway.catalog.get(path, given(**query), headers)
    return shown(request, answer, bilingual=True)


async def _page(request: Request, gateway: GatewayOf, code: str, on: date | None) -> Response:
    answer = await gateway.catalog.ask(
        "GET",
        f"/v1/conformance/{path_part(code)}.html",
        given(on=_text(on)),
        passed_headers(request, token=False),
        accept="text/html",
    )
    return passed_on(answer)


async def _write(
    request: Request, gateway: GatewayOf, principal: Principal, code: str, path: str
) -> Response:
    if not principal.may_act_for(code):
        raise may_not_act_for(code)
    headers = passed_headers(request, token=True)
    content = await passed_body(request) if request.method == "PUT" else None
    return passed_on(await gateway.catalog.ask(request.method, path, {}, headers, content))


def _gone(answer: Response) -> Response:
    return Response(status_code=204) if answer.status_code < 300 else answer


def _channels(code: str) -> str:
    return f"/v1/agencies/{path_part(code)}/channels"


def _statement(code: str, part: str) -> str:
    return f"/v1/agencies/{path_part(code)}/statements/{path_part(part)}"


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None
