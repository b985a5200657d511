"""``/v1/imports``: old dossiers, for operators."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Request, Response

from common.auth import Principal, requires
from common.contracts.base import Data
from common.errors import NotReady
from common.identifiers import new_id
from common.service import CoreOf
from dossier.errors import ImportNotReadable, UnknownImport
from dossier.store import imports as store
from dossier.store.imports import Format, Import
from dossier.use_cases.importing import Importing, Order

LARGEST_FILE = 256 * 1024 * 1024
"""Bytes of one request; a larger file goes in by the command line, or in pieces."""

router = APIRouter(prefix="/v1/imports", tags=["imports"])

Operator = Annotated[Principal, requires("operations")]
_FORMATS: dict[str, Format] = {
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/csv": "csv",
}
_AT_ONCE = 2


class ImportView(Data):
    """An import, as far as it is."""

    id: UUID
    client_id: str
    format: Format
    tell_portal: bool
    measure: bool
    state: store.State
    started_at: datetime
    ended_at: datetime | None
    lines: int
    entered: int
    known: int
    different: int
    refused: int


class FaultView(Data):
    """A line that was not entered."""

    line: int
    code: str | None
    reason: store.Reason
    errors: tuple[dict[str, str], ...]


class FaultPage(Data):
    """Lines that were not entered; ``next`` is the ``after`` of the next page."""

    items: tuple[FaultView, ...]
    next: int | None


@router.post(
    "",
    name="import_dossiers",
    response_model=ImportView,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {media: {"schema": {"type": "string"}} for media in _FORMATS},
        }
    },
)
async def import_dossiers(
    request: Request,
    core: CoreOf,
    principal: Operator,
    content_type: Annotated[str, Header(max_length=200)],
    id: Annotated[UUID | None, Query()] = None,  # noqa: A002 - the name on the wire
    tell_portal: Annotated[bool, Query()] = False,
    measure: Annotated[bool, Query()] = False,
) -> Response:
    """Old dossiers, one to a line. Sent again with the same ``id`` it goes on where it stopped."""
    form = _FORMATS.get(content_type.partition(";")[0].strip().lower())
    if form is None:
        raise ImportNotReadable(
            "Cần application/x-ndjson hoặc text/csv",
            "The body must be application/x-ndjson or text/csv",
        )
    importing: Importing = request.app.state.importing
    running: set[UUID] = request.app.state.imports_running
    if len(running) >= _AT_ONCE:
        raise NotReady(
            "Đang có lần nhập khác", "Other imports are under way", headers={"Retry-After": "60"}
        )
    order = Order(
        id=id or new_id(),
        client_id=principal.client_id,
        may_enter=lambda agency, procedure: (
            principal.may_act_for(agency) and principal.may_handle(procedure)
        ),
        format=form,
        tell_portal=tell_portal,
        measure=measure,
    )
    token = new_id()
    running.add(token)
    try:
        return _json(_view(await importing.run(order, request.stream())))
    finally:
        running.discard(token)


@router.get("", name="list_imports", response_model=tuple[ImportView, ...])
async def list_imports(
    core: CoreOf, principal: Operator, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Response:
    """The latest imports."""
    async with core.database.reading() as connection:
        found = await store.page(connection, _only(principal), limit)
    return Response(
        orjson.dumps([_view(one).model_dump(mode="json") for one in found]),
        media_type="application/json",
    )


@router.get("/{id}", name="read_import", response_model=ImportView)
async def read_import(core: CoreOf, principal: Operator, id: UUID) -> Response:  # noqa: A002
    """How far an import is."""
    return _json(_view(await _seen(core, principal, id)))


@router.get("/{id}/faults", name="list_import_faults", response_model=FaultPage)
async def list_import_faults(
    core: CoreOf,
    principal: Operator,
    id: UUID,  # noqa: A002
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Lines that were not entered, with the reason; without what they said."""
    await _seen(core, principal, id)
    async with core.database.reading() as connection:
        found = await store.faults(connection, id, after=after, limit=limit)
    items = tuple(
        FaultView(line=one.line, code=one.code, reason=one.reason, errors=tuple(one.errors))
        for one in found
    )
    return _json(FaultPage(items=items, next=items[-1].line if len(items) == limit else None))


async def _seen(core: CoreOf, principal: Principal, id_: UUID) -> Import:
    async with core.database.reading() as connection:
        found = await store.find(connection, id_)
    only = _only(principal)
    if found is None or only not in (None, found.client_id):
        raise UnknownImport
    return found


def _only(principal: Principal) -> str | None:
    """Whose imports an operator sees: all who has every right, otherwise their own."""
    everything = principal.may_act_for("*") and principal.may_handle("*")
    return None if everything else principal.client_id


def _view(found: Import) -> ImportView:
    return ImportView(**{name: getattr(found, name) for name in ImportView.model_fields})


def _json(model: Data) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
