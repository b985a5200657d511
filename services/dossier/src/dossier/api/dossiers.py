"""Reads of dossiers, for clients that act for the dossier's agency."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field
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
from common.errors import Invalid
from common.middleware import request_id
from common.service import CoreOf
from dossier.domain.masking import Applicant
from dossier.domain.model import Dossier
from dossier.domain.table import Table, Wording
from dossier.domain.tags import tag_of
from dossier.errors import UnknownDossier
from dossier.store.lists import Place, Wanted
from dossier.use_cases import reading as use_cases
from dossier.use_cases.auditing import Audit, purpose_of

router = APIRouter(prefix="/v1/dossiers", tags=["dossiers"])

Reader = Annotated[Principal, requires("dossiers:read")]
Limit = Annotated[int, Query(ge=1, le=200)]
Purpose = Annotated[str | None, Header(max_length=1000)]
_PLACE = f"{AGENCY_PATTERN[:-1]}:(?:-?[0-9]{{1,17}}:)?{DOSSIER_PATTERN[1:]}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DossierView(DossierState):
    """A dossier without its sealed text; ``applicant`` masked unless the token may see it."""

    sealed: SkipJsonSchema[str] = Field(default="", exclude=True, repr=False)
    state: Literal["known"] = "known"
    version: int
    applicant: Applicant | None
    """Null where this service holds no key to it, and where it was erased."""
    anonymised_at: datetime | None
    """When its personal data was erased by policy."""


class DossierLine(Data):
    """A dossier in a list, without anything personal (``store.lists`` keeps these fields ready)."""

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
    historic: bool = False
    updated_at: datetime
    version: int


class DossierPage(Data):
    """Dossiers in the order of the list; ``next`` is the ``after`` of the next page."""

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
    x_purpose: Purpose = None,
) -> Response:
    """One dossier. Personal data in clear needs the scope ``dossiers:personal`` and a purpose in
    ``X-Purpose``; without either it is masked. Who gives a purpose is put down."""
    purpose = purpose_of(x_purpose)
    personal = purpose is not None and use_cases.PERSONAL in principal.scopes
    form = "GET /v1/dossiers/{code}"
    audit = Audit(core.database, principal, form, request_id.get(), purpose)
    try:
        dossier = await use_cases.known_dossier(core.database, principal, code)
    except UnknownDossier as problem:
        if purpose is not None:
            await audit.note(problem.status, dossier=code)
        raise
    tag = tag_of(dossier, "p" if personal else "")
    headers = {
        "etag": tag,
        "vary": "authorization, x-purpose",
        "cache-control": "no-store" if personal else "private, no-cache",
    }
    if _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    applicant: Applicant | None
    if personal:
        applicant = await use_cases.read_personal(audit, core.keys, dossier)
    else:
        if purpose is not None:  # asked for without the right to it
            await audit.note(200, dossier=code, agency=dossier.state.agency)
        applicant = use_cases.masked_applicant(core.keys, dossier)
    fields = {**dict(dossier.state), "sealed": ""}
    view = DossierView.model_construct(
        **fields, version=dossier.steps, applicant=applicant, anonymised_at=_erased_at(dossier)
    )
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
    agency: Annotated[tuple[AgencyCode, ...], Query(max_length=50)] = (),
    status: Annotated[Status | None, Query()] = None,
    procedure: Annotated[ProcedureCode | None, Query()] = None,
    channel: Annotated[Channel | None, Query()] = None,
    historic: Annotated[bool | None, Query()] = None,
    submitted_from: Annotated[AwareDatetime | None, Query()] = None,
    submitted_to: Annotated[AwareDatetime | None, Query()] = None,
    due_from: Annotated[AwareDatetime | None, Query()] = None,
    due_to: Annotated[AwareDatetime | None, Query()] = None,
    overdue: Annotated[bool, Query()] = False,
    after: Annotated[str | None, Query(pattern=_PLACE, max_length=120)] = None,
    limit: Limit = 50,
) -> Response:
    """Dossiers of the client's agencies, or of some and all below them, by agency and code.

    With a range of due dates, or only those overdue: dossiers that are not finished, by agency and
    due date. With a range of days of submission: by agency and that day.
    """
    wanted = Wanted(
        subtrees=agency or ("*",),
        limit=limit,
        status=status,
        procedure=procedure,
        channel=channel,
        historic=historic,
        submitted=(submitted_from, submitted_to),
        due=(due_from, due_to),
        overdue_at=datetime.now(UTC) if overdue else None,
    )
    wanted = replace(wanted, after=_place(after, wanted))
    found = await use_cases.list_dossiers(core.database, principal, wanted)
    following = _written(found[-1].place) if len(found) == limit else None
    content = b",".join(line.shown for line in found)
    tail = f'"{following}"' if following else "null"
    return Response(
        b'{"items":[' + content + b'],"next":' + tail.encode() + b"}",
        media_type="application/json",
    )


def _place(after: str | None, wanted: Wanted) -> Place | None:
    """Where a list goes on, as an earlier page of the same list told it.

    Raises:
        Invalid: it is of a list in another order.
    """
    if after is None:
        return None
    agency, *between, code = after.split(":")
    if bool(between) != (wanted.order != "code"):
        raise Invalid(
            "after thuộc danh sách có thứ tự khác",
            "after is of a list in another order",
            errors=[{"pointer": "/after", "detail": "không khớp", "detail_en": "does not fit"}],
        )
    moment = _EPOCH + timedelta(microseconds=int(between[0])) if between else None
    return Place(agency, code, moment)


def _written(place: Place) -> str:
    if place.moment is None:
        return f"{place.agency}:{place.code}"
    since = (place.moment - _EPOCH) // timedelta(microseconds=1)
    return f"{place.agency}:{since}:{place.code}"


def _erased_at(dossier: Dossier) -> datetime | None:
    return dossier.erased.at if dossier.erased else None


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
