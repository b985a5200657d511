"""``/v1/refusals``: which requests were refused, for auditors and operators."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from common.auth import Principal, requires
from gateway.api.document import problems
from gateway.api.fields import Moment
from gateway.api.parts import Gateway, GatewayOf
from gateway.api.representations import STRICT_PARAMETERS
from gateway.domain.clients import ALL, CLIENT_ID_PATTERN
from gateway.store import refusals as store
from gateway.store.refusals import Wanted

router = APIRouter(tags=["Kiểm tra · Audit"], dependencies=[STRICT_PARAMETERS])

ClientId = Annotated[str | None, Query(pattern=CLIENT_ID_PATTERN)]
Status = Annotated[int | None, Query(ge=400, le=499)]
Type = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=1000)]


class RefusalAnswer(BaseModel):
    """A request that was refused, or the last of many that were alike in one second."""

    id: UUID
    at: datetime
    client_id: str | None
    """Who had proved to be it; null for strangers."""
    claimed: str | None
    """The client that a stranger said to be."""
    address: str | None
    """From where: a keyed hash, or what the operators' settings allow."""
    method: str
    route: str
    """Template of the path."""
    status: int
    type: str
    """Last part of the problem's type."""
    request_id: str
    repeated: int
    """How many more were alike and are not told singly."""


class RefusalPage(BaseModel):
    """A page; ``next`` continues it as ``before``, and is null at the end."""

    items: list[RefusalAnswer]
    next: UUID | None


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": RefusalPage},
    **problems(401, 403, 422, 429, 503),
}


def wanted(
    client: ClientId = None,
    status: Status = None,
    type: Type = None,  # noqa: A002 - the name of the parameter
    since: Moment | None = None,
    until: Moment | None = None,
    before: UUID | None = None,
) -> Wanted:
    """Which refusals are asked for (a dependency of routes)."""
    return Wanted(None, client, status, type, since, until, before)


WantedOf = Annotated[Wanted, Depends(wanted)]


@router.get("/v1/refusals", summary="Yêu cầu bị từ chối · Refused requests", responses=_ANSWERS)
async def list_refusals(
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("audit")],
    wanted: WantedOf,
    limit: Limit = 100,
) -> RefusalPage:
    """The newest first: those of the caller's own client and of clients whose agencies all lie in
    its subtrees and whose procedures are all its own; with all of both those of strangers too."""
    return await _page(gateway, principal, wanted, limit)


@router.get("/internal/refusals", include_in_schema=False)
async def operators_refusals(
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("operations")],
    wanted: WantedOf,
    limit: Limit = 100,
) -> RefusalPage:
    """The same for operators, of their agencies."""
    return await _page(gateway, principal, wanted, limit)


async def _page(gateway: Gateway, principal: Principal, wanted: Wanted, limit: int) -> RefusalPage:
    async with gateway.database.reading() as connection:
        if not (principal.may_act_for(ALL) and principal.may_handle(ALL)):
            clients = await store.clients_within(
                connection, principal.client_id, principal.agencies, principal.procedures
            )
            wanted = replace(wanted, clients=clients)
        found = await store.page(connection, wanted, limit + 1)
    shown = [RefusalAnswer.model_validate(asdict(one)) for one in found[:limit]]
    return RefusalPage(items=shown, next=shown[-1].id if len(found) > limit else None)
