"""The accounts of the portal, for operators: how each stands, and whether it is let in."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel

from common.auth import Principal, requires
from common.errors import NotFound
from national_portal_sync.clients.fields import Profile
from national_portal_sync.clients.portal import LoginRefused, PortalTrouble
from national_portal_sync.clients.portals import Connected, Portals

log = structlog.get_logger()
router = APIRouter(prefix="/v1/sync/accounts", tags=["accounts"])

Operator = Annotated[Principal, requires("operations")]


def _portals(request: Request) -> Portals:
    portals: Portals = request.app.state.portals
    return portals


PortalsOf = Annotated[Portals, Depends(_portals)]


class AccountState(BaseModel):
    """How an account stands; credentials are never shown."""

    name: str
    agencies: list[str]
    """Roots of the subtrees it speaks for; ``*`` for all that no other account names."""
    unit: str
    profile: Profile
    calls_per_second: float | None
    parallel: int
    trouble: str | None
    """Why nothing goes out under it: its password is missing, or the portal does not let it in."""
    paused_seconds: float
    """For how long it is left alone: it failed, was refused, or was asked for patience."""
    failing: bool
    running: int
    """Calls under way in this process."""


class AccountList(BaseModel):
    """The accounts in use."""

    accounts: list[AccountState]
    invalid: str | None
    """What is wrong with the accounts' file as it now stands; the ones before are in use."""


class Checked(BaseModel):
    """What became of a login."""

    account: AccountState
    let_in: bool
    reason: str | None
    """What the portal answered, or why it could not be asked."""


@router.get("")
async def accounts(portals: PortalsOf, operator: Operator) -> AccountList:
    """The accounts of the caller's agencies."""
    shown = [_state(one) for one in portals.all() if _may(operator, one)]
    return AccountList(accounts=shown, invalid=portals.invalid)


@router.post("/{name}/check")
async def check(
    portals: PortalsOf, operator: Operator, name: Annotated[str, Path(max_length=40)]
) -> Checked:
    """Read the accounts again and log in under one; where it is let in, a pause of it ends."""
    await portals.reload()
    one = portals.named(name)
    if one is None or not _may(operator, one):
        raise NotFound("Không có tài khoản này", "No such account is known here")
    reason = one.account.trouble
    if reason is None:
        try:
            await one.portal.check()
            one.let_in()
        except PortalTrouble as trouble:
            if isinstance(trouble, LoginRefused):
                one.note(trouble)
            reason = trouble.reason
    log.info("account checked", account=name, client=operator.client_id, let_in=reason is None)
    return Checked(account=_state(one), let_in=reason is None, reason=reason)


def _may(operator: Principal, one: Connected) -> bool:
    """Whether the caller may act for all that the account speaks for."""
    return all(operator.may_act_for(agency) for agency in one.account.agencies)


def _state(one: Connected) -> AccountState:
    account, line = one.account, one.line
    return AccountState(
        name=account.name,
        agencies=list(account.agencies),
        unit=account.unit,
        profile=account.profile,
        calls_per_second=account.calls_per_second,
        parallel=account.parallel,
        trouble=one.trouble,
        paused_seconds=line.breaker.wait(),
        failing=line.breaker.open,
        running=line.running,
    )
