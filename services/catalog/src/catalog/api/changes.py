"""For agencies' own portals (NĐ 42/2022 Điều 13.2.b): the feed of changes, and the groups."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.api.answers import READ, answer, latest
from catalog.api.cursors import change_cursor, change_of
from catalog.domain.catalogue import Origin
from catalog.store import catalogue as store
from catalog.store import search as finding
from catalog.store import versions
from catalog.store.search import Grouping
from catalog.store.versions import Version
from common.service import CoreOf

_EVERY: tuple[Grouping, ...] = (
    "audience",
    "topic",
    "level",
    "agency",
    "field",
    "service-level",
)
_LISTS: Mapping[Grouping, str] = {
    "audience": "applicant_subject_type",
    "level": "agency_level",
    "service-level": "service_level",
}
"""The code lists that name the groups."""

router = APIRouter()


class CatalogueChange(BaseModel):
    """A version that was written, or ended (`valid_to`), since the cursor."""

    kind: Literal["procedure", "agency"]
    code: str
    name: str
    active: bool
    version: int
    valid_from: date | None
    valid_to: date | None
    origin: Origin
    changed_at: datetime
    entry: dict[str, Any] | None = None
    """The whole content; only with `content=full`."""


class ChangeFeed(BaseModel):
    """A part of the feed."""

    items: list[CatalogueChange]
    next: str
    """To be passed as `since` the next time, also when there was nothing more."""
    more: bool
    """Whether there is more already."""


class Group(BaseModel):
    """How many procedures that are offered belong to a group."""

    code: str | None
    """Null: of these no source says the group."""
    name: str | None
    procedures: int


class Groups(BaseModel):
    """The groups of one kind."""

    by: Grouping
    items: list[Group]


class ProcedureGroups(BaseModel):
    """Procedures by groups (NĐ 42/2022 Điều 12)."""

    groups: list[Groups]


@router.get("/v1/catalog/changes", response_model=ChangeFeed, responses=READ)
async def changes(
    request: Request,
    core: CoreOf,
    since: Annotated[
        str,
        Query(max_length=100, pattern=r"^[\w-]*$", description="`next` of the part before"),
    ] = "",
    content: Literal["brief", "full"] = "brief",
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Response:
    """What changed in procedures and agencies since a cursor, in the order in which it did.

    Without `since` from the beginning: the feed then gives the whole catalogue. A version that
    changes again (because it ends) comes again, with its last state.
    """
    start = change_of(since)
    async with core.database.reading() as connection:
        changed = await versions.last_change(connection)
        found = await versions.changes(connection, ("procedure", "agency"), start, limit + 1)
    part = found[:limit]
    body = {
        "items": [_change(version, whole=content == "full") for version in part],
        "next": change_cursor(part[-1].change if part else start),
        "more": len(found) > limit,
    }
    return answer(request, orjson.dumps(body).decode(), changed)


@router.get("/v1/procedure-groups", response_model=ProcedureGroups, responses=READ)
async def procedure_groups(request: Request, core: CoreOf, by: Grouping | None = None) -> Response:
    """How many procedures are offered, by audience, topic, level, agency, field, service level.

    The code of a group is what the filter of the same name in `/v1/procedures` takes. A procedure
    can be in several groups of a kind.
    """
    answered = []
    async with core.database.reading() as connection:
        changed = await store.last_change(connection, "procedure")
        lists = await store.last_change(connection, "code-list")
        agencies = await store.last_change(connection, "agency")
        for kind in (by,) if by else _EVERY:
            found = await finding.groups(connection, kind)
            codes = [group.code for group in found if group.code]
            if kind == "agency":
                names = await finding.agency_names(connection, codes)
            elif kind in _LISTS:
                names = await _listed(connection, _LISTS[kind])
            else:
                names = {code: code for code in codes}
            items = [
                {
                    "code": group.code,
                    "name": names.get(group.code or ""),
                    "procedures": group.procedures,
                }
                for group in found
            ]
            answered.append({"by": kind, "items": items})
    moment = latest(at for at in (changed, lists, agencies) if at)
    return answer(request, orjson.dumps({"groups": answered}).decode(), moment)


async def _listed(connection: AsyncConnection, list_id: str) -> dict[str, str]:
    found = await store.current(connection, "code-list", list_id)
    items = orjson.loads(found.body)["items"] if found else []
    return {item["code"]: item["name"] for item in items}


def _change(version: Version, *, whole: bool) -> dict[str, Any]:
    content = orjson.loads(version.body)
    told = {
        "kind": version.kind,
        "code": version.code,
        "name": content["name"],
        "active": content["active"],
        "version": version.version,
        "valid_from": version.valid_from,
        "valid_to": version.valid_to,
        "origin": version.origin,
        "changed_at": version.changed_at,
    }
    return told | ({"entry": content} if whole else {})
