"""Reads of dossiers, for clients that act for the dossier's agency."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from common.auth import Principal, requires
from common.contracts.base import Data
from common.contracts.codes import (
    AGENCY_PATTERN,
    DOSSIER_PATTERN,
    AgencyCode,
    DossierCode,
    ProcedureCode,
)
from common.contracts.commands import Channel, ProcedureSummary
from common.contracts.dossier import DossierState, Status, StepTaken
from common.middleware import request_id
from common.service import CoreOf
from dossier import use_cases
from dossier.domain.masking import Applicant
from dossier.domain.model import Dossier
from dossier.domain.table import Table, Wording
from dossier.store import Listed

router = APIRouter(prefix="/v1/dossiers", tags=["dossiers"])

Reader = Annotated[Principal, requires("dossiers:read")]
Limit = Annotated[int, Query(ge=1, le=200)]
_PLACE = f"{AGENCY_PATTERN[:-1]}:{DOSSIER_PATTERN[1:]}"


class DossierView(DossierState):
    """A dossier without its sealed text; ``applicant`` masked unless the token may see it."""

    sealed: SkipJsonSchema[str] = Field(default="", exclude=True, repr=False)
    state: Literal["known"] = "known"
    version: int
    applicant: Applicant | None
    """Null where this service holds no key to it."""


class DossierLine(Data):
    """A dossier in a list, without anything personal."""

    code: str
    agency: str
    procedure: ProcedureSummary
    channel: Channel
    status: Status
    submitted_at: datetime
    received_at: datetime | None
    due_at: datetime | None
    finished_at: datetime | None
    returned_at: datetime | None
    updated_at: datetime
    version: int


class DossierPage(Data):
    """Dossiers by agency and code; ``next`` is the ``after`` of the next page."""

    items: tuple[DossierLine, ...]
    next: str | None


class StepView(StepTaken):
    """A step of the history, with the words for why it is unusual."""

    flagged_reason: Wording | None


class StepPage(Data):
    """Steps by number; ``next`` is the ``after`` of the next page."""

    items: tuple[StepView, ...]
    next: int | None


@router.get("/{code}", name="read_dossier", response_model=DossierView)
async def read_dossier(
    core: CoreOf,
    principal: Reader,
    code: DossierCode,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """One dossier. Personal data in clear needs the scope ``dossiers:personal`` and is audited."""
    dossier = await use_cases.known_dossier(core.database, principal, code)
    personal = use_cases.PERSONAL in principal.scopes
    tag = f'"{dossier.steps}p"' if personal else f'"{dossier.steps}"'
    headers = {
        "etag": tag,
        "vary": "authorization",
        "cache-control": "no-store" if personal else "private, no-cache",
    }
    if _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    applicant: Applicant | None
    if personal:
        applicant = await use_cases.read_personal(
            core.database, core.keys, principal, dossier, request_id=request_id.get()
        )
    else:
        applicant = use_cases.masked_applicant(core.keys, dossier)
    fields = {**dict(dossier.state), "sealed": ""}
    view = DossierView.model_construct(**fields, version=dossier.steps, applicant=applicant)
    return _json(view, headers)


@router.get("/{code}/steps", name="list_steps", response_model=StepPage)
async def list_steps(
    core: CoreOf,
    request: Request,
    principal: Reader,
    code: DossierCode,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Limit = 100,
) -> Response:
    """The history of a dossier, oldest first."""
    steps = await use_cases.history(core.database, principal, code, after=after, limit=limit)
    table: Table = request.app.state.table
    items = tuple(
        StepView.model_construct(
            **dict(step), flagged_reason=table.reasons.get(step.flagged) if step.flagged else None
        )
        for step in steps
    )
    following = steps[-1].number if len(steps) == limit else None
    return _json(StepPage(items=items, next=following))


@router.get("", name="list_dossiers", response_model=DossierPage)
async def list_dossiers(
    core: CoreOf,
    principal: Reader,
    agency: Annotated[AgencyCode | None, Query()] = None,
    status: Annotated[Status | None, Query()] = None,
    procedure: Annotated[ProcedureCode | None, Query()] = None,
    after: Annotated[str | None, Query(pattern=_PLACE, max_length=96)] = None,
    limit: Limit = 50,
) -> Response:
    """Dossiers of the client's agencies, or of one and all below it."""
    place = tuple(after.split(":")) if after else None
    found = await use_cases.list_dossiers(
        core.database,
        principal,
        agency=agency,
        status=status,
        procedure=procedure,
        after=(place[0], place[1]) if place else None,
        limit=limit,
    )
    following = None
    if len(found) == limit:
        last = found[-1].dossier.state
        following = f"{last.agency}:{last.code}"
    return _json(DossierPage(items=tuple(_line(one) for one in found), next=following))


def _line(listed: Listed) -> DossierLine:
    dossier: Dossier = listed.dossier
    return DossierLine.model_construct(
        **{name: value for name, value in dossier.state if name in DossierLine.model_fields},
        updated_at=listed.updated_at,
        version=dossier.steps,
    )


def _matches(if_none_match: str | None, tag: str) -> bool:
    """RFC 9110 §13.1.2: weak comparison with each entity tag, ``*`` with any."""
    if if_none_match is None:
        return False
    given = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return tag in given or "*" in given


def _json(model: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        model.__pydantic_serializer__.to_json(model),
        media_type="application/json",
        headers=headers,
    )
