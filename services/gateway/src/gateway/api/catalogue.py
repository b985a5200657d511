"""The public catalogue, which the catalog service answers: no token is needed or passed on."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response

from common.contracts.codes import AGENCY_PATTERN
from gateway.api.fields import Day
from gateway.api.parts import GatewayOf
from gateway.api.passing import ANSWERS, PAGE, given, passed_headers, path_part
from gateway.api.representations import FIELDS, STRICT_PARAMETERS, Members, fields_of, shown
from gateway.domain import shapes
from gateway.domain.shapes import Shape

router = APIRouter(tags=["Danh mục · Catalogue"], dependencies=[STRICT_PARAMETERS])

After = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1F\x7F]*$")]
Limit = Annotated[int | None, Query(ge=1, le=200)]
Words = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1F\x7F]*$")]
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]
IfModifiedSince = Annotated[str | None, Header(max_length=100)]
OnDay = Annotated[Day | None, Query(description="As of this day (Vietnam); today unless given")]

# Either form of an agency code.
AgencyPath = Annotated[str, Path(max_length=35, pattern=AGENCY_PATTERN)]
AgencyQuery = Annotated[str | None, Query(max_length=35, pattern=AGENCY_PATTERN)]
# The national catalogue has irregular codes, too.
_LISTED = r"^[0-9A-Za-z_. -]*[0-9A-Za-z][0-9A-Za-z_. -]*$"
ListedCode = Annotated[str, Path(max_length=60, pattern=_LISTED)]
ListId = Annotated[str, Path(max_length=60, pattern=r"^[A-Za-z0-9_-]+$")]
Level = Literal["ministry", "province", "district", "commune", "other"]
Grouping = Literal["audience", "topic", "level", "agency", "field", "service-level"]
ProcedureFields = Annotated[Annotated[str, Members(shapes.PROCEDURE)] | None, FIELDS]
ProcedureLineFields = Annotated[Annotated[str, Members(shapes.PROCEDURE_LINE)] | None, FIELDS]
AgencyFields = Annotated[Annotated[str, Members(shapes.AGENCY)] | None, FIELDS]


@router.get(
    "/v1/procedures/{code}",
    summary="Một thủ tục hành chính · One procedure",
    responses=ANSWERS,
)
async def read_procedure(
    request: Request,
    gateway: GatewayOf,
    code: ListedCode,
    on: OnDay = None,
    fields: ProcedureFields = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """A procedure of the catalogue; `on` a day, as it was then."""
    wanted = fields_of(fields, shapes.PROCEDURE)
    path = f"/v1/procedures/{path_part(code)}"
    return await _ask(request, gateway, path, given(on=_text(on)), fields=wanted)


@router.get(
    "/v1/procedures/{code}/versions",
    summary="Các phiên bản của thủ tục · Versions of a procedure",
    responses=ANSWERS,
)
async def read_procedure_versions(
    request: Request,
    gateway: GatewayOf,
    code: ListedCode,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """Every version of a procedure with its validity."""
    return await _ask(request, gateway, f"/v1/procedures/{path_part(code)}/versions")


@router.get("/v1/procedures", summary="Thủ tục hành chính · Procedures", responses=PAGE)
async def list_procedures(
    request: Request,
    gateway: GatewayOf,
    q: Words = None,
    field: Words = None,
    level: Level | None = None,
    audience: Words = None,
    topic: Words = None,
    agency: AgencyQuery = None,
    service_level: Literal["full", "partial"] | None = None,
    active: bool | None = None,
    after: After = None,
    limit: Limit = None,
    fields: ProcedureLineFields = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """Procedures by words, best first; by field, level, audience, topic, agency, service level."""
    wanted = fields_of(fields, shapes.PROCEDURE_LINE)
    query = given(
        q=q,
        field=field,
        level=level,
        audience=audience,
        topic=topic,
        agency=agency,
        service_level=service_level,
        active=None if active is None else str(active).lower(),
        after=after,
        limit=limit,
    )
    return await _ask(request, gateway, "/v1/procedures", query, fields=wanted, page="after")


@router.get(
    "/v1/procedure-groups",
    summary="Nhóm thủ tục · Groups of procedures",
    responses=ANSWERS,
)
async def read_procedure_groups(
    request: Request,
    gateway: GatewayOf,
    by: Grouping | None = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """How many procedures are offered, by group."""
    return await _ask(request, gateway, "/v1/procedure-groups", given(by=by))


@router.get(
    "/v1/catalog/changes",
    summary="Thay đổi của danh mục · Changes of the catalogue",
    responses=PAGE,
)
async def read_changes(
    request: Request,
    gateway: GatewayOf,
    since: After = None,
    content: Literal["brief", "full"] | None = None,
    limit: Limit = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """The feed for agencies' own portals: go on with `since` where `next` was."""
    query = given(since=since, content=content, limit=limit)
    return await _ask(request, gateway, "/v1/catalog/changes", query, page="since")


@router.get("/v1/agencies/{code}", summary="Một cơ quan · One agency", responses=ANSWERS)
async def read_agency(
    request: Request,
    gateway: GatewayOf,
    code: AgencyPath,
    on: OnDay = None,
    fields: AgencyFields = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """An agency, by its code in either form."""
    wanted = fields_of(fields, shapes.AGENCY)
    path = f"/v1/agencies/{path_part(code)}"
    return await _ask(request, gateway, path, given(on=_text(on)), fields=wanted)


@router.get(
    "/v1/agencies/{code}/versions",
    summary="Các phiên bản của cơ quan · Versions of an agency",
    responses=ANSWERS,
)
async def read_agency_versions(
    request: Request,
    gateway: GatewayOf,
    code: AgencyPath,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """Every version of what is known of an agency."""
    return await _ask(request, gateway, f"/v1/agencies/{path_part(code)}/versions")


@router.get("/v1/agencies", summary="Cơ quan · Agencies", responses=PAGE)
async def list_agencies(
    request: Request,
    gateway: GatewayOf,
    parent: AgencyQuery = None,
    after: After = None,
    limit: Limit = None,
    fields: AgencyFields = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """Agencies with their validity and successors; below `parent` if given."""
    wanted = fields_of(fields, shapes.AGENCY)
    query = given(parent=parent, after=after, limit=limit)
    return await _ask(request, gateway, "/v1/agencies", query, fields=wanted, page="after")


@router.get("/v1/code-lists/{list_id}", summary="Một bảng mã · One code list", responses=ANSWERS)
async def read_code_list(
    request: Request,
    gateway: GatewayOf,
    list_id: ListId,
    on: OnDay = None,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """A code list with its source; `on` a day, as it was then."""
    path = f"/v1/code-lists/{path_part(list_id)}"
    return await _ask(request, gateway, path, given(on=_text(on)))


@router.get(
    "/v1/code-lists/{list_id}/versions",
    summary="Các phiên bản của bảng mã · Versions of a code list",
    responses=ANSWERS,
)
async def read_code_list_versions(
    request: Request,
    gateway: GatewayOf,
    list_id: ListId,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """Every version of a code list."""
    return await _ask(request, gateway, f"/v1/code-lists/{path_part(list_id)}/versions")


@router.get("/v1/code-lists", summary="Các bảng mã · Code lists", responses=ANSWERS)
async def list_code_lists(
    request: Request,
    gateway: GatewayOf,
    if_none_match: IfNoneMatch = None,
    if_modified_since: IfModifiedSince = None,
) -> Response:
    """All code lists, without their items."""
    return await _ask(request, gateway, "/v1/code-lists")


async def _ask(
    request: Request,
    gateway: GatewayOf,
    path: str,
    query: Mapping[str, str | int] | None = None,
    *,
    fields: Shape | None = None,
    page: str | None = None,
) -> Response:
    headers = passed_headers(request, token=False)
    answer = await gateway.catalog.get(path, query or {}, headers)
    return shown(request, answer, fields=fields, page=page, bilingual=True)


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None
