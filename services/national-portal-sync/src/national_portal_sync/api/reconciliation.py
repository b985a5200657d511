"""Reconciliation runs: asked for, listed, read as a report."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Row

from common.auth import Principal, requires
from common.contracts.codes import AgencyCode
from common.errors import Conflict, Forbidden, Invalid, NotFound
from common.service import CoreOf
from national_portal_sync.store import healing
from national_portal_sync.store import reconciliation as store
from national_portal_sync.use_cases.reconciliation import Reconciliation
from national_portal_sync.use_cases.report import as_csv, report

log = structlog.get_logger()
router = APIRouter(prefix="/v1/reconciliations", tags=["reconciliation"])

Operator = Annotated[Principal, requires("operations", procedures="all")]
_EARLIEST = date(2010, 1, 1)


def _reconciliation(request: Request) -> Reconciliation:
    reconciliation: Reconciliation = request.app.state.reconciliation
    return reconciliation


ReconciliationOf = Annotated[Reconciliation, Depends(_reconciliation)]


class Wanted(BaseModel):
    """What is to be reconciled."""

    model_config = ConfigDict(extra="forbid")

    agency: AgencyCode
    """The agency itself, without those below it."""
    day: date
    """Of reception (Vietnam's time); of submission for what was not received yet."""


class Run(BaseModel):
    """A run, without what it found."""

    id: UUID
    agency: str
    day: date
    asked_by: str
    asked_at: datetime
    state: str
    """``queued``, ``running`` or ``done``."""
    checked: int
    agreed: int
    on_the_way: int
    """Not compared, since something of them was going to the portal at that moment."""
    healed: int
    """Sent again."""
    error: str | None
    """Why it waits, while it does."""
    finished_at: datetime | None
    sha256: str | None


class Runs(BaseModel):
    """A page of runs; ``next`` continues it as ``before``, and is null at the end."""

    items: list[Run]
    next: UUID | None


class Healed(BaseModel):
    """A dossier that a run queued again, and when the portal took it."""

    id: int
    code: str
    version: int
    reason: str
    queued_at: datetime
    sent_at: datetime | None


@router.post("", status_code=202)
async def begin(
    wanted: Wanted, core: CoreOf, reconciliation: ReconciliationOf, operator: Operator
) -> Run:
    """Reconcile an agency's day; a run that is not done yet is not begun twice."""
    if not operator.may_act_for(wanted.agency):
        raise Forbidden(
            f"Không có quyền với cơ quan {wanted.agency}",
            f"No rights for the agency {wanted.agency}",
        )
    if wanted.day < _EARLIEST:
        raise Invalid("Ngày nằm ngoài khoảng cho phép", "The day is out of range")
    async with core.database.transaction() as connection:
        row = await store.ask(connection, wanted.agency, wanted.day, operator.client_id)
    log.info("reconciliation asked for", run=str(row.id), client=operator.client_id)
    reconciliation.wake()
    return _run(row)


@router.get("")
async def runs(
    core: CoreOf,
    operator: Operator,
    agency: Annotated[str | None, Query(max_length=35)] = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Runs:
    """Runs of the caller's agencies, the newest first."""
    async with core.database.reading() as connection:
        rows = await store.runs(connection, operator.agencies, agency, before, limit + 1)
    page = rows[:limit]
    return Runs(items=[_run(row) for row in page], next=page[-1].id if len(rows) > limit else None)


@router.get("/{id}.csv", response_class=Response)
async def read_csv(core: CoreOf, operator: Operator, id: UUID) -> Response:  # noqa: A002 - the path's name
    """The differences of a finished run as CSV."""
    told = await _report(core, operator, id)
    if told["state"] != "done":
        raise Conflict("Đối soát chưa xong", "The run is not done yet")
    name = f"reconciliation-{told['agency']}-{told['day']}.csv"
    return Response(
        as_csv(told),
        media_type="text/csv; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="{name}"',
            "x-report-sha256": told["sha256"],
        },
    )


@router.get("/{id}")
async def read(core: CoreOf, operator: Operator, id: UUID) -> dict[str, Any]:  # noqa: A002 - the path's name
    """The report; while the run goes on, as far as it is."""
    return await _report(core, operator, id)


@router.get("/{id}/healings")
async def healings(core: CoreOf, operator: Operator, id: UUID) -> list[Healed]:  # noqa: A002 - the path's name
    """What a run queued again, why, and what became of it."""
    await _own(core, operator, id)
    async with core.database.reading() as connection:
        rows = await healing.healings(connection, id)
    return [Healed.model_validate(dict(row._mapping)) for row in rows]


async def _report(core: CoreOf, operator: Principal, run: UUID) -> dict[str, Any]:
    row = await _own(core, operator, run)
    async with core.database.reading() as connection:
        found = await store.differences(connection, run)
    return report(row, found)


async def _own(core: CoreOf, operator: Principal, run: UUID) -> Row[Any]:
    async with core.database.reading() as connection:
        row = await store.run_of(connection, run)
    if row is None or not operator.may_act_for(row.agency):
        raise NotFound("Không có lần đối soát này", "There is no such run")
    return row


def _run(row: Row[Any]) -> Run:
    return Run.model_validate({name: getattr(row, name) for name in Run.model_fields})
