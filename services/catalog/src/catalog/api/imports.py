"""Imports: for operators of the whole catalogue, called directly and not through the gateway."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from catalog.errors import NoPortal
from catalog.store import runs as store
from catalog.store.runs import RunKind, State
from catalog.use_cases.importing import import_lines, lines_of_stream
from catalog.use_cases.sync import Sync
from common.auth import Principal, requires
from common.errors import Forbidden, NotFound
from common.service import CoreOf

LARGEST_IMPORT = 256 * 1024 * 1024
"""Bytes of one call."""

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_RIGHTS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No valid access token", **_PROBLEM},
    403: {"description": "Not an operator of all agencies", **_PROBLEM},
    422: {"description": "A parameter is not valid", **_PROBLEM},
}

Operator = Annotated[Principal, requires("operations")]

router = APIRouter()


class ImportRun(BaseModel):
    """One import: how far it is, and what came of it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    kind: RunKind
    state: State
    """`waiting`: goes on by itself; `interrupted`: its process was killed, repeat it."""
    stage: str
    cursor: str
    read: int
    changed: int
    unchanged: int
    """The same as before, or outranked by a source that goes before."""
    faults: int
    asked_by: str | None
    started_at: datetime
    ended_at: datetime | None
    error: str | None


class ImportFault(BaseModel):
    """A record that was left out."""

    model_config = ConfigDict(from_attributes=True)

    place: str
    """Line number, or code in a sync."""
    code: str | None
    reason: str


class ImportReport(ImportRun):
    """An import with its faults, of which the first are kept."""

    fault_list: list[ImportFault] = Field(default_factory=list)


class ImportRuns(BaseModel):
    """Imports, the newest first."""

    items: list[ImportRun]
    next: UUID | None


@router.post(
    "/v1/imports",
    responses={
        **_RIGHTS,
        413: {"description": "More than 256 MiB", **_PROBLEM},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def import_catalogue(request: Request, core: CoreOf, principal: Operator) -> ImportReport:
    """Take records as NDJSON, each line one: `LayThuTuc` records or entries in our own form.

    Lines that cannot be read are left out and listed. The same lines again change nothing, so a
    call that broke off is simply repeated.
    """
    _of_all(principal)
    lines = lines_of_stream(request.stream())
    run = await import_lines(core.outbox, "rest", lines, principal.client_id)
    return await _report(core, run.id)


@router.post("/v1/imports/sync", status_code=202, responses=_RIGHTS | {409: _PROBLEM})
async def sync_now(request: Request, principal: Operator) -> ImportRun:
    """Start the sync with the national portal now; one that is unfinished goes on."""
    _of_all(principal)
    sync: Sync | None = request.app.state.portal_sync
    if sync is None:
        raise NoPortal(
            "Chưa cấu hình Cổng DVCQG để đồng bộ danh mục",
            "No national portal is configured to sync the catalogue with",
        )
    return ImportRun.model_validate(await sync.ask(principal.client_id))


@router.get("/v1/imports", responses=_RIGHTS)
async def list_imports(
    core: CoreOf,
    principal: Operator,
    after: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ImportRuns:
    """The log of imports, the newest first."""
    async with core.database.reading() as connection:
        found = await store.runs(connection, after, limit + 1)
    items = [ImportRun.model_validate(run) for run in found[:limit]]
    return ImportRuns(items=items, next=items[-1].id if len(found) > limit else None)


@router.get(
    "/v1/imports/{id}",
    responses={**_RIGHTS, 404: {"description": "There is none", **_PROBLEM}},
)
async def read_import(
    core: CoreOf, principal: Operator, id_: Annotated[UUID, Path(alias="id")]
) -> ImportReport:
    """One import with its faults."""
    return await _report(core, id_)


async def _report(core: CoreOf, id_: UUID) -> ImportReport:
    async with core.database.reading() as connection:
        run = await store.run(connection, id_)
        faults = await store.faults(connection, id_) if run else []
    if run is None:
        raise NotFound("Không có lần nhập dữ liệu này", "There is no such import")
    report = ImportReport.model_validate(run)
    return report.model_copy(
        update={"fault_list": [ImportFault.model_validate(fault) for fault in faults]}
    )


def _of_all(principal: Principal) -> None:
    if not principal.may_act_for("*"):
        raise Forbidden(
            "Danh mục là của mọi cơ quan: cần quyền cho tất cả",
            "The catalogue belongs to all agencies: rights for all of them are needed",
        )
