"""Public reads of the catalogue: procedures, agencies, code lists, as of today or of a day."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel

from catalog.api.answers import READ, READ_ONE, answer, latest
from catalog.api.cursors import page_end, page_start
from catalog.domain.catalogue import (
    CodeListBrief,
    Level,
    Origin,
    ProcedureBrief,
    PublishedAgency,
    PublishedCodeList,
    PublishedProcedure,
    fold,
)
from catalog.store import catalogue as store
from catalog.store import search as finding
from catalog.store import versions
from catalog.store.versions import Kind
from common.contracts.codes import canonical_agency
from common.errors import NotFound
from common.service import CoreOf

_MOST_WORDS = 12

ListedCode = Annotated[
    str,
    Path(
        max_length=60,
        pattern=r"^[\w. -]+$",
        description="As listed by the national catalogue, its few irregular codes included",
    ),
]
# Both forms have a level-1 group (a letter and two digits) at one of the ends.
_EITHER_FORM = r"^([A-Z]\d{2}(\.[0-9A-Z]+)*|([0-9A-Z]+\.)+[A-Z]\d{2})$"
_FORMS = "In the new form (H56) or the old one (000.00.00.H56)"
EitherForm = Annotated[
    str,
    Path(max_length=35, pattern=_EITHER_FORM, description=_FORMS),
    AfterValidator(canonical_agency),
]
AgencyAsked = Annotated[
    str | None,
    Query(max_length=35, pattern=_EITHER_FORM, description=_FORMS),
    AfterValidator(lambda code: canonical_agency(code) if code else None),
]
ListId = Annotated[str, Path(alias="id", max_length=60, pattern=r"^[a-z0-9_-]+$")]
_Text = Query(max_length=200, pattern=r"^[^\x00]*$")
After = Annotated[
    str,
    Query(max_length=60, pattern=r"^[\w. -]*$", description="`next` of the page before"),
]
Cursor = Annotated[
    str,
    Query(max_length=200, pattern=r"^[\w-]*$", description="`next` of the page before"),
]
Limit = Annotated[int, Query(ge=1, le=200)]
Day = Annotated[date | None, Query(description="As of this day (Vietnam); today unless given")]

router = APIRouter()


class ProcedurePage(BaseModel):
    """Procedures, best first where words were asked for, otherwise by code."""

    items: list[ProcedureBrief]
    next: str | None


class AgencyPage(BaseModel):
    """Agencies by code, and behind which code to go on."""

    items: list[PublishedAgency]
    next: str | None


class CodeLists(BaseModel):
    """All code lists, without their items."""

    items: list[CodeListBrief]


class VersionBrief(BaseModel):
    """A version of an entry; its content is read with ``?on=`` a day on which it was valid."""

    version: int
    valid_from: date | None
    valid_to: date | None
    origin: Origin
    name: str
    active: bool | None


class Versions(BaseModel):
    """All versions of an entry, the newest first."""

    items: list[VersionBrief]


@router.get("/v1/procedures/{code}", response_model=PublishedProcedure, responses=READ_ONE)
async def procedure(request: Request, core: CoreOf, code: ListedCode, on: Day = None) -> Response:
    """A procedure with its papers, fees, times and results, as far as they are known.

    `on` a day: the version by which a dossier of that day is judged.
    """
    return await _one(request, core, "procedure", code, on)


@router.get("/v1/procedures/{code}/versions", response_model=Versions, responses=READ_ONE)
async def procedure_versions(request: Request, core: CoreOf, code: ListedCode) -> Response:
    """Every version of a procedure with its validity and where it comes from."""
    return await _versions(request, core, "procedure", code)


@router.get("/v1/procedures", response_model=ProcedurePage, responses=READ)
async def procedures(
    request: Request,
    core: CoreOf,
    q: Annotated[str, _Text] = "",
    field: Annotated[str | None, _Text] = None,
    level: Level | None = None,
    audience: Annotated[str | None, _Text] = None,
    topic: Annotated[str | None, _Text] = None,
    agency: AgencyAsked = None,
    service_level: Literal["full", "partial"] | None = None,
    active: bool | None = None,
    after: Cursor = "",
    limit: Limit = 50,
) -> Response:
    """Procedures in which there are words that begin like each word of `q`, with or without
    diacritics: in code, name, field or keywords. Best first: the code itself, the name as asked,
    the words as a phrase in the name, all of them in the name, the rest. By code without `q`.

    `field` is a field's code or exact name, `level` where the procedure is handled, `audience` a
    code of the list `applicant_subject_type`, `agency` one that promulgates or carries out, with
    all below it.
    """
    words = tuple(fold(q).split()[:_MOST_WORDS])
    wanted = finding.Wanted(words, field, level, audience, topic, agency, service_level, active)
    asked = (words, field, level, audience, topic, agency, service_level, active)
    start = page_start(after, asked)
    async with core.database.reading() as connection:
        changed = await store.last_change(connection, "procedure")
        rows = await finding.search(connection, wanted, start, limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    following = page_end(last.rank, last.code, asked) if last else None
    return answer(request, _page([row.brief for row in rows[:limit]], following), changed)


@router.get("/v1/agencies/{code}", response_model=PublishedAgency, responses=READ_ONE)
async def agency(request: Request, core: CoreOf, code: EitherForm, on: Day = None) -> Response:
    """An agency by its code, in the new or the old form."""
    return await _one(request, core, "agency", code, on)


@router.get("/v1/agencies/{code}/versions", response_model=Versions, responses=READ_ONE)
async def agency_versions(request: Request, core: CoreOf, code: EitherForm) -> Response:
    """Every version of what is known of an agency."""
    return await _versions(request, core, "agency", code)


@router.get("/v1/agencies", response_model=AgencyPage, responses=READ)
async def agencies(
    request: Request,
    core: CoreOf,
    parent: AgencyAsked = None,
    after: After = "",
    limit: Limit = 200,
) -> Response:
    """Agencies by code, closed ones with their successor where it is known.

    `parent`: only those below this agency, at any depth, as their codes say it.
    """
    async with core.database.reading() as connection:
        changed = await store.last_change(connection, "agency")
        rows = await store.agencies(connection, parent, after, limit + 1)
    following = rows[limit - 1].code if len(rows) > limit else None
    return answer(request, _page([row.body for row in rows[:limit]], following), changed)


@router.get("/v1/code-lists", response_model=CodeLists, responses=READ)
async def code_lists(request: Request, core: CoreOf) -> Response:
    """All code lists with their version, source and confidence."""
    async with core.database.reading() as connection:
        rows = await store.code_lists(connection)
    text = f'{{"items":[{",".join(row.body for row in rows)}]}}'
    return answer(request, text, latest(row.changed_at for row in rows))


@router.get("/v1/code-lists/{id}", response_model=PublishedCodeList, responses=READ_ONE)
async def code_list(request: Request, core: CoreOf, id_: ListId, on: Day = None) -> Response:
    """A code list with all its items, as of today or of a day."""
    return await _one(request, core, "code-list", id_, on)


@router.get("/v1/code-lists/{id}/versions", response_model=Versions, responses=READ_ONE)
async def code_list_versions(request: Request, core: CoreOf, id_: ListId) -> Response:
    """Every version of a code list; older ones stay readable with `?on=`."""
    return await _versions(request, core, "code-list", id_)


async def _one(request: Request, core: CoreOf, kind: Kind, code: str, on: date | None) -> Response:
    async with core.database.reading() as connection:
        if on is None:
            current = await store.current(connection, kind, code)
            if current:
                return answer(request, current.body, current.changed_at)
        elif version := await versions.valid_on(connection, kind, code, on):
            return answer(request, version.rendered(), version.changed_at)
    raise _none(kind)


async def _versions(request: Request, core: CoreOf, kind: Kind, code: str) -> Response:
    async with core.database.reading() as connection:
        found = await versions.of_entry(connection, kind, code)
    if not found:
        raise _none(kind)
    items = []
    for version in found:
        content = orjson.loads(version.body)
        items.append(
            {
                "version": version.version,
                "valid_from": version.valid_from,
                "valid_to": version.valid_to,
                "origin": version.origin,
                "name": content.get("name") or content.get("title"),
                "active": content.get("active"),
            }
        )
    text = orjson.dumps({"items": items}).decode()
    return answer(request, text, latest(version.changed_at for version in found))


def _none(kind: Kind) -> NotFound:
    match kind:
        case "procedure":
            return NotFound(
                "Danh mục không có thủ tục với mã này, hoặc chưa có vào ngày được hỏi",
                "The catalogue has no procedure of this code, or none on the day asked for",
            )
        case "agency":
            return NotFound(
                "Danh mục không có cơ quan với mã này, hoặc chưa có vào ngày được hỏi",
                "The catalogue has no agency of this code, or none on the day asked for",
            )
        case "code-list":
            return NotFound(
                "Không có danh mục mã này, hoặc chưa có vào ngày được hỏi",
                "There is no code list of this id, or none on the day asked for",
            )


def _page(bodies: Sequence[str], following: str | None) -> str:
    return f'{{"items":[{",".join(bodies)}],"next":{orjson.dumps(following).decode()}}}'
