"""Reads that other services answer: dossiers, signing requests, and the public catalogue."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel

from common.auth import Principal, requires
from common.contracts.codes import AGENCY_PATTERN, DossierCode, ProcedureCode
from common.contracts.dossier import Status
from common.middleware import request_id
from common.telemetry import current_traceparent
from gateway.api.document import READ
from gateway.api.parts import GatewayOf
from gateway.clients import Answer
from gateway.domain import Submission

router = APIRouter()

Reader = Annotated[Principal, requires("dossiers:read")]
After = Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00-\x1F\x7F]*$")]
Limit = Annotated[int | None, Query(ge=1, le=200)]
Words = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1F\x7F]*$")]
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]

# Either form of an agency code.
AgencyPath = Annotated[str, Path(max_length=35, pattern=AGENCY_PATTERN)]
AgencyQuery = Annotated[str | None, Query(max_length=35, pattern=AGENCY_PATTERN)]
# The national catalogue has irregular codes, too.
_LISTED = r"^[0-9A-Za-z_. -]*[0-9A-Za-z][0-9A-Za-z_. -]*$"
ListedCode = Annotated[str, Path(max_length=60, pattern=_LISTED)]
ListId = Annotated[str, Path(max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]
Level = Literal["ministry", "province", "district", "commune", "other"]

_OBJECT: dict[str, Any] = {"content": {"application/json": {"schema": {"type": "object"}}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _OBJECT,
    304: {"description": "Unchanged since `If-None-Match`"},
    **READ,
}


class PendingDossier(BaseModel):
    """A dossier whose submission has been taken in and not decided yet."""

    code: str
    agency: str
    state: Literal["pending"]
    submission_id: UUID
    received_at: datetime


@router.get(
    "/v1/dossiers/{code}",
    tags=["Hồ sơ · Dossiers"],
    summary="Xem hồ sơ · One dossier",
    responses=_ANSWERS,
)
async def read_dossier(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    code: DossierCode,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """As the dossier service has it, or `pending` until it has decided on the submission."""
    headers = _headers(request, token=True)
    found = await gateway.dossiers.read(principal, code, f"/v1/dossiers/{_part(code)}", headers)
    return _pending(found) if isinstance(found, Submission) else _passed_on(found)


@router.get(
    "/v1/dossiers/{code}/steps",
    tags=["Hồ sơ · Dossiers"],
    summary="Tiến độ hồ sơ · Steps of a dossier",
    responses=_ANSWERS,
)
async def read_steps(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    code: DossierCode,
    after: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    limit: Limit = None,
) -> Response:
    """The dossier's history."""
    path = f"/v1/dossiers/{_part(code)}/steps"
    query = _query(after=after, limit=limit)
    headers = _headers(request, token=True)
    return _passed_on(await gateway.dossiers.service.get(path, query, headers))


@router.get(
    "/v1/dossiers",
    tags=["Hồ sơ · Dossiers"],
    summary="Danh sách hồ sơ · Dossiers",
    responses=_ANSWERS,
)
async def list_dossiers(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    agency: AgencyQuery = None,
    status: Status | None = None,
    procedure: ProcedureCode | None = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """Dossiers of the client's agencies."""
    query = _query(agency=agency, status=status, procedure=procedure, after=after, limit=limit)
    headers = _headers(request, token=True)
    return _passed_on(await gateway.dossiers.service.get("/v1/dossiers", query, headers))


@router.get(
    "/v1/signing-requests/{request_id}",
    tags=["Ký số · Signing"],
    summary="Yêu cầu ký số · One signing request",
    responses=_ANSWERS,
)
async def read_signing_request(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("signing:read")],
    signing_request: Annotated[UUID, Path(alias="request_id")],
) -> Response:
    """How far a result's signature is."""
    path = f"/v1/signing-requests/{signing_request}"
    return _passed_on(await gateway.signatures.get(path, {}, _headers(request, token=True)))


@router.get(
    "/v1/procedures/{code}",
    tags=["Danh mục · Catalogue"],
    summary="Một thủ tục hành chính · One procedure",
    responses=_ANSWERS,
)
async def read_procedure(
    request: Request,
    gateway: GatewayOf,
    code: ListedCode,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A procedure of the catalogue."""
    return await _catalogue(request, gateway, f"/v1/procedures/{_part(code)}")


@router.get(
    "/v1/procedures",
    tags=["Danh mục · Catalogue"],
    summary="Thủ tục hành chính · Procedures",
    responses=_ANSWERS,
)
async def list_procedures(
    request: Request,
    gateway: GatewayOf,
    q: Words = None,
    field: Words = None,
    level: Level | None = None,
    after: After = None,
    limit: Limit = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Procedures, by words of their names and by field."""
    query = _query(q=q, field=field, level=level, after=after, limit=limit)
    return await _catalogue(request, gateway, "/v1/procedures", query)


@router.get(
    "/v1/agencies/{code}",
    tags=["Danh mục · Catalogue"],
    summary="Một cơ quan · One agency",
    responses=_ANSWERS,
)
async def read_agency(
    request: Request, gateway: GatewayOf, code: AgencyPath, if_none_match: IfNoneMatch = None
) -> Response:
    """An agency, by its code in either form."""
    return await _catalogue(request, gateway, f"/v1/agencies/{_part(code)}")


@router.get(
    "/v1/agencies",
    tags=["Danh mục · Catalogue"],
    summary="Cơ quan · Agencies",
    responses=_ANSWERS,
)
async def list_agencies(
    request: Request,
    gateway: GatewayOf,
    after: After = None,
    limit: Limit = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Agencies with their validity and successors."""
    query = _query(after=after, limit=limit)
    return await _catalogue(request, gateway, "/v1/agencies", query)


@router.get(
    "/v1/code-lists/{list_id}",
    tags=["Danh mục · Catalogue"],
    summary="Một bảng mã · One code list",
    responses=_ANSWERS,
)
async def read_code_list(
    request: Request, gateway: GatewayOf, list_id: ListId, if_none_match: IfNoneMatch = None
) -> Response:
    """A code list with its source."""
    return await _catalogue(request, gateway, f"/v1/code-lists/{_part(list_id)}")


@router.get(
    "/v1/code-lists",
    tags=["Danh mục · Catalogue"],
    summary="Các bảng mã · Code lists",
    responses=_ANSWERS,
)
async def list_code_lists(
    request: Request, gateway: GatewayOf, if_none_match: IfNoneMatch = None
) -> Response:
    """All code lists, without their items."""
    return await _catalogue(request, gateway, "/v1/code-lists")


async def _catalogue(
    request: Request,
    gateway: GatewayOf,
    path: str,
    query: Mapping[str, str | int] | None = None,
) -> Response:
    headers = _headers(request, token=False)
    return _passed_on(await gateway.catalog.get(path, query or {}, headers))


def _headers(request: Request, *, token: bool) -> dict[str, str]:
    """What the service behind gets to see; the caller's token only where it checks rights."""
    passed = ["if-none-match", "accept-language", *(["authorization"] if token else [])]
    headers = {name: value for name in passed if (value := request.headers.get(name))}
    headers["x-request-id"] = request_id.get()
    if traceparent := current_traceparent():
        headers["traceparent"] = traceparent
    return headers


def _query(**given: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in given.items() if value is not None}


def _part(value: str) -> str:
    return quote(value, safe="")


def _passed_on(answer: Answer) -> Response:
    return Response(answer.content, answer.status, headers=dict(answer.headers))


def _pending(submission: Submission) -> Response:
    body = {
        "code": submission.dossier_code,
        "agency": submission.agency,
        "state": "pending",
        "submission_id": str(submission.id),
        "received_at": submission.received_at,
    }
    return Response(orjson.dumps(body), media_type="application/json")
