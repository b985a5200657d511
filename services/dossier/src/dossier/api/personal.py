"""Personal data: found by a number, and who asked for it."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from common.auth import Principal, principal_of, requires
from common.contracts.base import Data
from common.contracts.codes import AGENCY_PATTERN, DOSSIER_PATTERN, DossierCode
from common.errors import Forbidden
from common.middleware import request_id
from common.service import CoreOf
from dossier.api.dossiers import DossierLine, Purpose
from dossier.domain.masking import Applicant
from dossier.domain.persons import EMAIL, PHONE, IdentityType
from dossier.errors import PurposeMissing
from dossier.store.personal import Wanted
from dossier.use_cases import auditing
from dossier.use_cases.auditing import Audit, purpose_of
from dossier.use_cases.rekeying import Progress, Rekeying
from dossier.use_cases.searching import SEARCH, Found, Search

router = APIRouter(tags=["personal data"])

_FORM = "POST /v1/dossiers/search"
_PLACE = f"{AGENCY_PATTERN[:-1]}:{DOSSIER_PATTERN[1:]}"
_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1F\x7F]+$")]


class SoughtIdentity(BaseModel):
    """The number of an identity paper, or a tax number."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    type: IdentityType
    number: _Text = Field(repr=False)


class Sought(BaseModel):
    """What dossiers are searched by: exactly one of these."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    identity: SoughtIdentity | None = None
    phone: _Text | None = Field(default=None, repr=False)
    email: _Text | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.identity, self.phone, self.email)) != 1:
            raise ValueError("exactly one of identity, phone and email")
        return self

    def kind_and_value(self) -> tuple[str, str]:
        """What is looked for in the index."""
        if self.identity is not None:
            return self.identity.type, self.identity.number
        return (PHONE, self.phone) if self.phone is not None else (EMAIL, self.email or "")


class FoundLine(DossierLine):
    """A dossier that was found; its applicant masked, null where no key opens it."""

    applicant: Applicant | None


class FoundPage(Data):
    """Dossiers by agency and code; ``next`` is the ``after`` of the next page."""

    items: tuple[FoundLine, ...]
    next: str | None


async def _searcher(
    core: CoreOf,
    principal: Annotated[Principal, Depends(principal_of)],
    x_purpose: Purpose = None,
) -> Audit:
    """The account of the search; a refusal stands in it, too."""
    try:
        purpose = purpose_of(x_purpose)
    except PurposeMissing:
        await Audit(core.database, principal, _FORM, request_id.get(), None).note(
            PurposeMissing.status
        )
        raise
    audit = Audit(core.database, principal, _FORM, request_id.get(), purpose)
    if SEARCH not in principal.scopes:
        await audit.note(Forbidden.status)
        raise Forbidden(
            f"Token không có quyền {SEARCH}", f"The token does not carry the scope {SEARCH}"
        )
    if purpose is None:
        await audit.note(PurposeMissing.status)
        raise PurposeMissing(
            "Tra cứu cần tiêu đề X-Purpose nêu mục đích",
            "A search needs the header X-Purpose to say what for",
        )
    return audit


_searcher.scope = SEARCH  # type: ignore[attr-defined]  # read by the test of rights


@router.post("/v1/dossiers/search", name="search_dossiers", response_model=FoundPage)
async def search_dossiers(
    core: CoreOf,
    request: Request,
    audit: Annotated[Audit, Depends(_searcher)],
    sought: Sought,
    after: Annotated[str | None, Query(pattern=_PLACE, max_length=96)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> FoundPage:
    """A person's dossiers at the client's agencies. What is searched for stands in the body, so
    that no log of addresses holds it."""
    search: Search = request.app.state.search
    kind, value = sought.kind_and_value()
    place = after.split(":") if after else None
    found = await search.dossiers(
        audit, kind, value, after=(place[0], place[1]) if place else None, limit=limit
    )
    following = None
    if len(found) == limit:
        last = found[-1].listed.dossier.state
        following = f"{last.agency}:{last.code}"
    return FoundPage(items=tuple(_line(one) for one in found), next=following)


def _line(found: Found) -> FoundLine:
    dossier = found.listed.dossier
    shown = {name: value for name, value in dossier.state if name in FoundLine.model_fields}
    return FoundLine.model_construct(
        **{
            **shown,
            "updated_at": found.listed.updated_at,
            "version": dossier.steps,
            "applicant": found.applicant,
        }
    )


class PersonalRead(Data):
    """A request for personal data, answered or refused (NĐ 47/2020 Điều 45)."""

    id: int
    read_at: datetime
    form: str
    """How it was asked for: method and path."""
    dossier: str | None
    agency: str | None
    """The dossier's, where the client may know of it."""
    client_id: str
    client_agencies: tuple[str, ...]
    request_id: str
    purpose: str | None
    asked: str | None
    """By which kind of number a search was; never the number."""
    fields: tuple[str, ...]
    """Which personal fields were in the answer, in clear; never their values."""
    found: int | None
    status: int


class PersonalReadPage(Data):
    """Entries in the order they were written; ``next`` is the ``after`` of the next page."""

    items: tuple[PersonalRead, ...]
    next: int | None


@router.get("/v1/personal-reads", name="list_personal_reads")
async def list_personal_reads(
    core: CoreOf,
    principal: Annotated[Principal, requires("audit")],
    dossier: Annotated[DossierCode | None, Query()] = None,
    client: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1F\x7F]+$")] = None,
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> PersonalReadPage:
    """Who asked for personal data, when, what for, and what the answer was."""
    rows = await auditing.entries(
        core.database,
        Wanted(
            subtrees=principal.agencies,
            procedures=sorted(principal.procedures),
            dossier=dossier,
            client=client,
            since=since,
            until=until,
            after=after,
            limit=limit,
        ),
    )
    return PersonalReadPage(
        items=tuple(PersonalRead(**row._mapping) for row in rows),
        next=rows[-1].id if len(rows) == limit else None,
    )


@router.get("/v1/personal-data/keys", name="read_key_progress")
async def read_key_progress(
    request: Request, _: Annotated[Principal, requires("operations")]
) -> Progress:
    """How far the dossiers are under the current keys."""
    rekeying: Rekeying = request.app.state.rekeying
    return await rekeying.progress()
