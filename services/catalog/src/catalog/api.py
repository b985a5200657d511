"""Public reads of the catalogue."""

import hashlib
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel

from catalog import store
from catalog.domain import (
    CodeList,
    CodeListBrief,
    Level,
    ProcedureBrief,
    PublishedAgency,
    PublishedProcedure,
    fold,
)
from common.contracts.codes import canonical_agency
from common.errors import NotFound
from common.service import CoreOf

_MOST_WORDS = 12

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_READ: dict[int | str, dict[str, Any]] = {
    304: {"description": "Unchanged since the ETag of If-None-Match"},
    422: {"description": "A parameter is not valid", **_PROBLEM},
}
_READ_ONE = {**_READ, 404: {"description": "There is none", **_PROBLEM}}

ListedCode = Annotated[
    str,
    Path(
        max_length=60,
        pattern=r"^[\w. -]+$",
        description="As listed by the national catalogue, its few irregular codes included",
    ),
]
EitherForm = Annotated[
    str,
    Path(
        max_length=35,
        # Both forms have a level-1 group (a letter and two digits) at one of the ends.
        pattern=r"^([A-Z]\d{2}(\.[0-9A-Z]+)*|([0-9A-Z]+\.)+[A-Z]\d{2})$",
        description="In the new form (H56) or the old one (000.00.00.H56)",
    ),
    AfterValidator(canonical_agency),
]
_Text = Query(max_length=200, pattern=r"^[^\x00]*$")
After = Annotated[
    str,
    Query(
        max_length=60,
        pattern=r"^[\w. -]*$",
        description="`next` of the page before",
    ),
]
Limit = Annotated[int, Query(ge=1, le=200)]

router = APIRouter()


class ProcedurePage(BaseModel):
    """Procedures by code, and behind which code to go on."""

    items: list[ProcedureBrief]
    next: str | None


class AgencyPage(BaseModel):
    """Agencies by code, and behind which code to go on."""

    items: list[PublishedAgency]
    next: str | None


class CodeLists(BaseModel):
    """All code lists, without their items."""

    items: list[CodeListBrief]


@router.get("/v1/procedures/{code}", response_model=PublishedProcedure, responses=_READ_ONE)
async def procedure(request: Request, core: CoreOf, code: ListedCode) -> Response:
    """A procedure with its papers, fees, times and results, as far as they are known."""
    async with core.database.reading() as connection:
        body = await store.procedure(connection, code)
    if body is None:
        raise NotFound(
            "Danh mục không có thủ tục với mã này", "The catalogue has no procedure of this code"
        )
    return _answer(request, body)


@router.get("/v1/procedures", response_model=ProcedurePage, responses=_READ)
async def procedures(
    request: Request,
    core: CoreOf,
    q: Annotated[str, _Text] = "",
    field: Annotated[str | None, _Text] = None,
    level: Level | None = None,
    after: After = "",
    limit: Limit = 50,
) -> Response:
    """Procedures by code; `q`: their code, name or field has words that begin like each of these,
    with or without diacritics.

    `field` is a field's code or exact name, `level` where the procedure is handled.
    """
    words = fold(q).split()[:_MOST_WORDS]
    async with core.database.reading() as connection:
        rows = await store.search(connection, words, field, level, after, limit + 1)
    return _answer(request, _page(rows, limit))


@router.get("/v1/agencies/{code}", response_model=PublishedAgency, responses=_READ_ONE)
async def agency(
    request: Request,
    core: CoreOf,
    code: EitherForm,
) -> Response:
    """An agency by its code, in the new or the old form."""
    async with core.database.reading() as connection:
        body = await store.agency(connection, code)
    if body is None:
        raise NotFound(
            "Danh mục không có cơ quan với mã này", "The catalogue has no agency of this code"
        )
    return _answer(request, body)


@router.get("/v1/agencies", response_model=AgencyPage, responses=_READ)
async def agencies(
    request: Request, core: CoreOf, after: After = "", limit: Limit = 200
) -> Response:
    """Agencies by code, closed ones with their successor where it is known."""
    async with core.database.reading() as connection:
        rows = await store.agencies(connection, after, limit + 1)
    return _answer(request, _page(rows, limit))


@router.get("/v1/code-lists", response_model=CodeLists, responses=_READ)
async def code_lists(request: Request, core: CoreOf) -> Response:
    """All code lists with their version, source and confidence."""
    async with core.database.reading() as connection:
        briefs = await store.code_lists(connection)
    return _answer(request, f'{{"items":[{",".join(briefs)}]}}')


@router.get("/v1/code-lists/{id}", response_model=CodeList, responses=_READ_ONE)
async def code_list(
    request: Request,
    core: CoreOf,
    id_: Annotated[str, Path(alias="id", max_length=60, pattern=r"^[a-z0-9_-]+$")],
) -> Response:
    """A code list with all its items."""
    async with core.database.reading() as connection:
        body = await store.code_list(connection, id_)
    if body is None:
        raise NotFound("Không có danh mục mã này", "There is no code list of this id")
    return _answer(request, body)


def _page(rows: list[tuple[str, str]], limit: int) -> str:
    """A page of rendered entries; one more than the limit was asked for, to see if more come."""
    items = rows[:limit]
    following = orjson.dumps(items[-1][0] if len(rows) > limit else None).decode()
    return f'{{"items":[{",".join(body for _, body in items)}],"next":{following}}}'


def _answer(request: Request, text: str) -> Response:
    """A JSON answer with its ETag, or 304 for a client that has this content (RFC 9110 13.1.2)."""
    body = text.encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in _if_none_match(request).split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _if_none_match(request: Request) -> str:
    return ",".join(request.headers.getlist("if-none-match"))
