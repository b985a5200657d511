"""``/internal/parked``, ``/internal/held``: the desk of every service, for operators."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from common import desk, held
from common.auth import Principal, requires
from common.database import Database
from common.errors import Conflict, NotFound

log = structlog.get_logger()
router = APIRouter(prefix="/internal", include_in_schema=False)

_LAST_ID = 2**63 - 1
Operator = Annotated[Principal, requires("operations", procedures="all")]
ItemId = Annotated[int, Path(alias="id", ge=1, le=_LAST_ID)]
Filter = Annotated[str | None, Query(max_length=250)]
Reason = Annotated[
    str, StringConstraints(min_length=3, max_length=500, pattern=r"^[^\x00-\x1F]*\S[^\x00-\x1F]*$")
]


class Items(BaseModel):
    """A page; ``next`` continues it as ``after``, and is null at the end."""

    items: list[desk.Parked]
    next: int | None


class Plan(BaseModel):
    """What an action does or, in a dry run, would do."""

    item: desk.Parked
    done: bool
    """False for a dry run."""
    position: int | None
    new_position: int | None
    ahead: list[int]
    """Ids of the parked events of the stream that go before it."""
    behind: int
    missing: int
    """Numbers before it that neither took effect nor are parked; asked for from the producer."""


class Wanted(BaseModel):
    """An action and why."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    dry_run: bool = True


class Action(BaseModel):
    """What was done at the desk."""

    id: int
    at: datetime
    client_id: str
    action: str
    what: str
    item: int
    queue: str
    agency: str | None
    subject: str | None
    sequence: int | None
    event_id: UUID | None
    cause: str | None
    reason: str


class Actions(BaseModel):
    """A page; ``next`` continues it as ``before``, and is null at the end."""

    items: list[Action]
    next: int | None


@router.get("/parked")
async def parked(
    request: Request,
    operator: Operator,
    consumer: Filter = None,
    reason: Literal["early", "failed", "undecodable"] | None = None,
    stream: Filter = None,
    event_type: Annotated[str | None, Query(alias="type", max_length=250)] = None,
    after: Annotated[int, Query(ge=0, le=_LAST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Items:
    """Parked events of the caller's agencies, by id."""
    async with _database(request).reading() as connection:
        found, following = await desk.page(
            connection,
            operator.agencies,
            after=after,
            most=limit,
            consumer=consumer,
            reason=reason,
            stream=stream,
            type_=event_type,
        )
    return Items(items=found, next=following)


@router.get("/parked/{id}")
async def one(request: Request, operator: Operator, id_: ItemId) -> Plan:
    """A parked event, and what stands before and behind it."""
    async with _database(request).reading() as connection:
        planned = await desk.plan(connection, operator.agencies, id_, "redrive")
    return _plan(planned, done=False)


@router.post("/parked/{id}/redrive")
async def redrive(request: Request, operator: Operator, id_: ItemId, wanted: Wanted) -> Plan:
    """Try it again at once, in the order of its stream. A dry run unless told otherwise."""
    return await _act(request, operator, id_, wanted, "redrive")


@router.post("/parked/{id}/dismiss")
async def dismiss(request: Request, operator: Operator, id_: ItemId, wanted: Wanted) -> Plan:
    """Give it up, so that what waits behind it goes on. A dry run unless told otherwise."""
    return await _act(request, operator, id_, wanted, "dismiss")


class HeldItems(BaseModel):
    """A page; ``next`` continues it as ``after``, and is null at the end."""

    items: list[held.Held]
    next: int | None


class HeldPlan(BaseModel):
    """What an action does or, in a dry run, would do."""

    item: held.Held
    done: bool
    ahead: list[int]
    """Ids of deliveries of the same subject that go before it."""
    behind: int


@router.get("/held")
async def held_items(
    request: Request,
    operator: Operator,
    partner: Filter = None,
    kind: Filter = None,
    subject: Filter = None,
    after: Annotated[int, Query(ge=0, le=_LAST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> HeldItems:
    """Held deliveries of the caller's agencies, by id."""
    async with _database(request).reading() as connection:
        if not await held.deliveries(connection):
            return HeldItems(items=[], next=None)
        found = await held.page(
            connection,
            operator.agencies,
            after=after,
            most=limit,
            partner=partner,
            kind=kind,
            subject=subject,
        )
    following = found[-1].id if len(found) == limit else None
    return HeldItems(items=found, next=following)


@router.get("/held/{id}")
async def held_item(request: Request, operator: Operator, id_: ItemId) -> HeldPlan:
    """A held delivery, and what stands before and behind it."""
    return await _around(request, operator, id_, done=False)


@router.post("/held/{id}/{action}")
async def act_on_held(
    request: Request,
    operator: Operator,
    id_: ItemId,
    action: Literal["retry", "dismiss"],
    wanted: Wanted,
) -> HeldPlan:
    """Send it again, or give it up. A dry run unless told otherwise."""
    planned = await _around(request, operator, id_, done=not wanted.dry_run)
    if wanted.dry_run:
        return planned
    async with _database(request).transaction() as connection:
        done = await held.act(
            connection, operator.agencies, id_, action, operator.client_id, wanted.reason
        )
    if done is None:
        raise _not_held()
    log.info("desk", action=action, item=id_, client=operator.client_id)
    return planned


async def _around(request: Request, operator: Principal, item: int, *, done: bool) -> HeldPlan:
    async with _database(request).reading() as connection:
        there = await held.deliveries(connection)
        found = await held.around(connection, operator.agencies, item) if there else None
    if found is None:
        raise _not_held()
    return HeldPlan(
        item=found.item,
        done=done,
        ahead=list(found.ahead),
        behind=found.behind,
    )


def _not_held() -> NotFound:
    return NotFound("Không có mục nào đang chờ với mã này", "No held item has this id")


@router.get("/desk")
async def actions(
    request: Request,
    operator: Operator,
    before: Annotated[int | None, Query(ge=1, le=_LAST_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Actions:
    """Who did what here, when and why, the newest first."""
    async with _database(request).reading() as connection:
        found, following = await desk.actions(connection, operator.agencies, before, limit)
    return Actions(items=[Action.model_validate(row) for row in found], next=following)


async def _act(
    request: Request,
    operator: Principal,
    item: int,
    wanted: Wanted,
    action: Literal["redrive", "dismiss"],
) -> Plan:
    database = _database(request)
    if wanted.dry_run:
        async with database.reading() as connection:
            return _plan(await desk.plan(connection, operator.agencies, item, action), done=False)
    act = desk.redrive if action == "redrive" else desk.dismiss
    try:
        async with database.transaction() as connection:
            planned = await act(
                connection, operator.agencies, item, operator.client_id, wanted.reason
            )
    except desk.Refused as refused:
        raise Conflict(refused.vietnamese, refused.english) from refused
    log.info("desk", action=action, item=item, client=operator.client_id)
    return _plan(planned, done=True)


def _database(request: Request) -> Database:
    database: Database = request.app.state.core.database
    return database


def _plan(planned: desk.Plan | None, *, done: bool) -> Plan:
    if planned is None:
        raise NotFound("Không có sự kiện này", "No such event is parked here")
    members: dict[str, Any] = {**asdict(planned), "item": planned.item, "done": done}
    return Plan.model_validate(members)
