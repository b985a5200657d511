"""What operators ask: what the portal has of a dossier, what waits, what is held."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict

from common.auth import Principal, requires
from common.delivery import Breaker
from common.desk import note_held
from common.errors import NotFound
from common.held import act
from common.operators import Reason
from common.service import CoreOf
from national_portal_sync.domain.keys import STEP, sequence_of, step_number
from national_portal_sync.store import known as store

log = structlog.get_logger()
router = APIRouter(prefix="/v1/sync", tags=["sync"])

_LAST_ID = 2**63 - 1
Operator = Annotated[Principal, requires("operations", procedures="all")]


@dataclass(frozen=True)
class Desk:
    """What routes need of the deliverer."""

    breaker: Breaker
    wake: Callable[[], None]
    why_waiting: Callable[[str], str | None] = lambda _: None
    """Why nothing of an agency goes out, where that is its account's fault."""


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


DeskOf = Annotated[Desk, Depends(_desk)]


class Waiting(BaseModel):
    """A snapshot or step that the portal is not known to have yet."""

    id: int
    kind: str
    dossier_code: str
    step_number: int | None
    sequence: int
    """Place of its event in the dossier's stream."""
    state: str
    """``due``, ``sending``, ``unknown`` (to be asked about, or sent again) or ``held``."""
    attempts: int
    error: str | None
    maybe_doubled: bool
    since: datetime
    next_at: datetime


class Sent(BaseModel):
    """The snapshot that the portal took last."""

    sequence: int
    status: str
    at: datetime


class DossierSync(BaseModel):
    """What the portal has of a dossier, and what is on its way."""

    code: str
    agency: str
    known: bool
    """The portal is known to have it."""
    sent: Sent | None
    steps_sent: int
    last_step_at: datetime | None
    maybe_doubled_steps: list[int]
    """Numbers of steps that the portal may have twice: it offers no way to ask."""
    account: str | None = None
    """Under which the portal was told of it last."""
    waiting: list[Waiting]


class Backlog(BaseModel):
    """Items of one kind in one state."""

    kind: str
    state: str
    items: int
    oldest_at: datetime


class Summary(BaseModel):
    """How the synchronisation stands."""

    waiting: list[Backlog]
    held: int
    oldest_seconds: float | None
    """Age of the oldest item that is not held."""
    portal_paused_seconds: float
    """For how long the portal is not called; it failed, or asked for patience."""
    portal_failing: bool


class Why(BaseModel):
    """Why an operator does something."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.get("/summary")
async def summary(core: CoreOf, desk: DeskOf, operator: Operator) -> Summary:
    """How much waits and since when, of the caller's agencies."""
    async with core.database.reading() as connection:
        rows = await store.summary(connection, operator.agencies)
    moving = [row.oldest for row in rows if row.state != "held"]
    age = (datetime.now(UTC) - min(moving)).total_seconds() if moving else None
    return Summary(
        waiting=[
            Backlog(kind=row.kind, state=row.state, items=row.items, oldest_at=row.oldest)
            for row in rows
        ],
        held=sum(row.items for row in rows if row.state == "held"),
        oldest_seconds=age,
        portal_paused_seconds=desk.breaker.wait(),
        portal_failing=desk.breaker.open,
    )


@router.get("/held")
async def held(
    core: CoreOf,
    operator: Operator,
    after: Annotated[int, Query(ge=0, le=_LAST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Waiting]:
    """Items that the portal refused, of the caller's agencies, by id."""
    async with core.database.reading() as connection:
        rows = await store.held(connection, operator.agencies, after, limit)
    return [_waiting(row) for row in rows]


@router.post("/held/{id}/retry")
async def retry(
    core: CoreOf,
    desk: DeskOf,
    operator: Operator,
    id_: Annotated[int, Path(alias="id", ge=1, le=_LAST_ID)],
    why: Why | None = None,
) -> Waiting:
    """Send a held item again. Who asked for it is written down."""
    reason = why.reason if why is not None else "-"
    async with core.database.transaction() as connection:
        row = await store.release(connection, operator.agencies, id_)
        if row is None:
            raise NotFound("Không có mục nào đang chờ với mã này", "No held item has this id")
        await note_held(connection, "retry", row, operator.client_id, reason)
    log.info("held item sent again", item=id_, client=operator.client_id)
    desk.wake()
    return _waiting(row)


@router.post("/held/{id}/dismiss", status_code=204)
async def dismiss(
    core: CoreOf,
    desk: DeskOf,
    operator: Operator,
    id_: Annotated[int, Path(alias="id", ge=1, le=_LAST_ID)],
    why: Why,
) -> None:
    """Give a held item up: the portal is not told of it; what waits behind it goes on."""
    async with core.database.transaction() as connection:
        done = await act(
            connection, operator.agencies, id_, "dismiss", operator.client_id, why.reason
        )
    if done is None:
        raise NotFound("Không có mục nào đang chờ với mã này", "No held item has this id")
    log.info("held item given up", item=id_, client=operator.client_id)
    desk.wake()


@router.get("/{code}")
async def dossier(
    core: CoreOf, desk: DeskOf, operator: Operator, code: Annotated[str, Path(max_length=60)]
) -> DossierSync:
    """What the portal has of a dossier and what is on its way to it."""
    async with core.database.reading() as connection:
        # In this order nothing can be neither here nor there.
        waiting = await store.waiting(connection, code)
        row = await store.dossier(connection, code)
    agency = row.agency if row is not None else waiting[0].agency if waiting else None
    if agency is None or not operator.may_act_for(agency):
        raise NotFound("Không có hồ sơ này", "No such dossier is known here")
    sent = None
    if row is not None and row.sent_version is not None:
        sent = Sent(sequence=sequence_of(row.sent_version), status=row.sent_status, at=row.sent_at)
    return DossierSync(
        code=code,
        agency=agency,
        known=row is not None and row.known,
        sent=sent,
        steps_sent=row.steps if row is not None else 0,
        last_step_at=row.step_sent_at if row is not None else None,
        maybe_doubled_steps=row.maybe_doubled if row is not None else [],
        account=row.account if row is not None else None,
        waiting=[_waiting(one, desk.why_waiting) for one in waiting],
    )


def _waiting(row: Any, why: Callable[[str], str | None] = lambda _: None) -> Waiting:
    return Waiting(
        id=row.id,
        kind=row.kind,
        dossier_code=row.subject,
        step_number=step_number(row.key) if row.kind == STEP else None,
        sequence=sequence_of(row.version),
        state=row.state,
        attempts=row.attempts,
        error=row.error or (why(row.agency) if row.state != "held" else None),
        maybe_doubled=row.maybe_doubled,
        since=row.created_at,
        next_at=row.next_at,
    )
