"""How a dossier stands to its due date, computed when it is asked for."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from common.auth import Principal, requires
from common.contracts.base import Data
from common.contracts.codes import DossierCode
from common.service import CoreOf
from dossier.domain.calendar import FIRST_YEAR, LAST_YEAR
from dossier.domain.deadlines import Deadlines
from dossier.use_cases import reading
from dossier.use_cases.deadlines import wall_clock

router = APIRouter(prefix="/v1/dossiers", tags=["dossiers"])

operators = APIRouter(prefix="/v1/working-days", tags=["operations"])

Reader = Annotated[Principal, requires("dossiers:read")]
Operator = Annotated[Principal, requires("operations")]


class DeadlineView(Data):
    """What a client may want to show of a due date. Everything is null where there is none."""

    code: str
    due_at: datetime | None
    computed: bool
    """It follows from the procedure's time; nobody gave it."""
    extensions: int
    running: bool | None
    """False while papers are waited for, and when the dossier is finished."""
    at: datetime | None
    """The moment that the numbers are true of: now, or when the time stopped."""
    working_days_left: float | None
    overdue_by: float | None
    """Working days."""
    calendar: str
    """Version of the working days."""
    estimated: bool | None
    """The working days of a year concerned have not been checked against the yearly decision."""


class WorkingYear(Data):
    """What the calendar has for a year, to be compared with the decision for it."""

    year: int
    calendar: str
    """Version of the working days."""
    checked: bool
    """It was compared before this version was made; else dates in it are estimates."""
    off: tuple[date, ...]
    """Days from Monday to Friday that are not worked."""
    worked: tuple[date, ...]
    """Weekend days that are worked."""


@operators.get("/{year}", name="read_working_days", response_model=WorkingYear)
async def read_working_days(
    request: Request,
    _: Operator,
    year: Annotated[int, Path(ge=FIRST_YEAR, le=LAST_YEAR)],
) -> Response:
    """The days of a year that are off or worked against the rule of the week."""
    calendar = request.app.state.deadlines.calendar
    off, worked = calendar.unusual(year)
    return _json(
        WorkingYear(
            year=year,
            calendar=calendar.version,
            checked=calendar.checked(year),
            off=tuple(off),
            worked=tuple(worked),
        )
    )


@router.get("/{code}/deadline", name="read_deadline", response_model=DeadlineView)
async def read_deadline(
    core: CoreOf, request: Request, principal: Reader, code: DossierCode
) -> Response:
    """The due date of a dossier, and how many working days are left."""
    dossier = await reading.known_dossier(core.database, principal, code)
    deadlines: Deadlines = request.app.state.deadlines
    standing = deadlines.standing(dossier, wall_clock())
    left = standing.days_left if standing else None
    view = DeadlineView(
        code=dossier.code,
        due_at=standing.due_at if standing else None,
        computed=dossier.state.due_computed,
        extensions=dossier.state.extensions,
        running=standing.running if standing else None,
        at=standing.at if standing else None,
        working_days_left=max(left, 0) if left is not None else None,
        overdue_by=max(-left, 0) if left is not None else None,
        calendar=deadlines.calendar.version,
        estimated=standing.estimated if standing else None,
    )
    return _json(view)


def _json(model: Data) -> Response:
    return Response(
        model.__pydantic_serializer__.to_json(model),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
