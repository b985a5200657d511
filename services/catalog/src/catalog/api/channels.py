"""Agencies' channels and statements: written by clients that act for the agency, read by all."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from catalog.api.catalogue import EitherForm, Limit
from catalog.domain.channels import (
    Change,
    Channel,
    GivenStatement,
    RegisteredChannel,
    Statement,
)
from catalog.errors import NoSuchStatement
from catalog.store import channels as store
from catalog.use_cases import channels as use_cases
from catalog.use_cases.checks import Checks
from catalog.use_cases.conformance import rules
from common.auth import Principal, requires
from common.errors import Forbidden
from common.service import CoreOf

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_READ: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such agency or channel", **_PROBLEM},
    422: {"description": "A parameter is not valid", **_PROBLEM},
}
_WRITE: dict[int | str, dict[str, Any]] = {
    **_READ,
    401: {"description": "No valid access token", **_PROBLEM},
    403: {"description": "Not for this agency", **_PROBLEM},
    409: {"description": "The agency is closed or has too many channels", **_PROBLEM},
}

ChannelId = Annotated[
    str,
    Path(
        alias="id", pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$", description="Your own name"
    ),
]
Part = Annotated[str, Path(max_length=60, pattern=r"^[a-z][a-z0-9.-]*$")]
Writer = Annotated[Principal, requires("channels:write")]
Operator = Annotated[Principal, requires("operations")]

router = APIRouter()


def _checks(request: Request) -> Checks:
    found: Checks = request.app.state.conformance_checks
    return found


ChecksOf = Annotated[Checks, Depends(_checks)]


class Channels(BaseModel):
    """An agency's channels, by their ids."""

    items: list[RegisteredChannel]


class Changes(BaseModel):
    """What was done to an agency's channels and statements, oldest first."""

    items: list[Change]
    next: int | None


@router.get("/v1/agencies/{code}/channels", responses=_READ)
async def list_channels(core: CoreOf, code: EitherForm) -> Channels:
    """All channels of an agency."""
    async with core.database.reading() as connection:
        return Channels(items=await use_cases.channels(connection, code))


@router.get("/v1/agencies/{code}/channels/{id}", responses=_READ)
async def read_channel(core: CoreOf, code: EitherForm, id_: ChannelId) -> RegisteredChannel:
    """One channel."""
    async with core.database.reading() as connection:
        return await use_cases.channel(connection, code, id_)


@router.put(
    "/v1/agencies/{code}/channels/{id}",
    responses={201: {"model": RegisteredChannel, "description": "Registered"}, **_WRITE},
)
async def put_channel(
    core: CoreOf,
    checks: ChecksOf,
    principal: Writer,
    code: EitherForm,
    id_: ChannelId,
    channel: Channel,
    response: Response,
) -> RegisteredChannel:
    """Register a channel, or change it. Its host is checked within a minute."""
    only_for(principal, code)
    async with core.database.transaction() as connection:
        registered, new = await use_cases.register(
            connection, code, id_, channel, principal.client_id
        )
    checks.wake()
    if new:
        response.status_code = 201
    return registered


@router.delete("/v1/agencies/{code}/channels/{id}", status_code=204, responses=_WRITE)
async def delete_channel(core: CoreOf, principal: Writer, code: EitherForm, id_: ChannelId) -> None:
    """Remove a channel."""
    only_for(principal, code)
    async with core.database.transaction() as connection:
        await use_cases.unregister(connection, code, id_, principal.client_id)


@router.put("/v1/agencies/{code}/statements/{part}", responses=_WRITE)
async def put_statement(
    core: CoreOf,
    principal: Writer,
    code: EitherForm,
    part: Part,
    statement: Statement,
) -> GivenStatement:
    """State how things are with a part of the conformance report that no machine can check
    (`b.web-portal`, `dd.guidance`, `e.shared-tools`). It is shown as what the agency says, and
    does not make the part met."""
    only_for(principal, code)
    if part not in rules().parts_to_state():
        raise NoSuchStatement(
            "Không có nội dung này để khai", "There is no such part to make a statement about"
        )
    async with core.database.transaction() as connection:
        return await use_cases.make_statement(
            connection, code, part, statement, principal.client_id
        )


@router.delete("/v1/agencies/{code}/statements/{part}", status_code=204, responses=_WRITE)
async def delete_statement(core: CoreOf, principal: Writer, code: EitherForm, part: Part) -> None:
    """Take a statement back."""
    only_for(principal, code)
    async with core.database.transaction() as connection:
        await use_cases.take_back(connection, code, part, principal.client_id)


@router.get("/v1/agencies/{code}/registration-changes", responses=_WRITE)
async def list_changes(
    core: CoreOf,
    operator: Operator,
    code: EitherForm,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Limit = 50,
) -> Changes:
    """Who registered, stated, changed or removed what, and when."""
    only_for(operator, code)
    async with core.database.reading() as connection:
        await use_cases.known_agency(connection, code)
        found = await store.changes(connection, code, after, limit + 1)
    more = len(found) > limit
    items = found[:limit]
    return Changes(items=items, next=items[-1].number if more else None)


def only_for(principal: Principal, agency: str) -> None:
    """Raise Forbidden unless the caller acts for an agency."""
    if not principal.may_act_for(agency):
        raise Forbidden(
            f"Hệ thống này không có quyền với cơ quan {agency}",
            f"This client may not act for the agency {agency}",
        )
