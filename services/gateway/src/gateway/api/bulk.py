"""``/v1/dossiers/bulk``: many dossiers and steps in one request, a line each."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from common.auth import Principal, requires
from common.errors import TooLarge
from common.openapi import Problem
from gateway.api.bulk_lines import LARGEST_BULK, LONGEST_LINE, MOST_LINES
from gateway.api.bulk_taking import Taking
from gateway.api.document import intake_headers, problems
from gateway.api.parts import Gateway, GatewayOf
from gateway.api.reading import idempotency_key
from gateway.errors import UnsupportedMedia
from gateway.use_cases.bulk import Page

MEDIA_TYPE = "application/x-ndjson"

router = APIRouter(tags=["Hồ sơ · Dossiers"])

_TAKEN = frozenset({MEDIA_TYPE, "application/ndjson", "application/jsonl"})

Writer = Annotated[Principal, requires("dossiers:write")]
Reader = Annotated[Principal, requires("dossiers:read")]


class Refusal(BaseModel):
    """A line that was refused."""

    line: int
    problem: Problem


class BulkAnswer(BaseModel):
    """A bulk request, as far as it is."""

    bulk_id: UUID
    state: Literal["running", "ended", "broken-off"]
    begun_at: datetime
    ended_at: datetime | None = None
    lines: int = Field(description="Lines that have been dealt with; go on with the next one")
    taken_in: int
    refused: int
    refusals: list[Refusal]
    next: int | None = Field(description="`after` of the next refusals; null at the end")


@router.post(
    "/v1/dossiers/bulk",
    summary="Nộp nhiều hồ sơ · Submit in bulk",
    responses={
        200: {
            "description": "A line for each line, in their order, and one that sums up",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
            "headers": {
                "Location": {
                    "description": "Where to see how far it is",
                    "schema": {"type": "string"},
                }
            },
        },
        **problems(400, 401, 403, 409, 413, 415, 422, 503),
    },
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"At most {MOST_LINES} lines of at most {LONGEST_LINE // 1024} KiB, "
            "each a `Submit`, or `{code, step, if_match}` with a `Step`",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        },
        "parameters": intake_headers(key_required=True)[:1],
    },
)
async def submit_in_bulk(
    request: Request,
    gateway: GatewayOf,
    principal: Writer,
    first: Annotated[int, Query(alias="from", ge=1, le=MOST_LINES)] = 1,
) -> Response:
    """Each line is taken in, repeated or refused by itself, in a lane of its own.

    What broke off is sent again as it was under the same `Idempotency-Key`, or with `from` from the
    line on whose number it names: lines that were taken in before are the same submissions. While
    one is being taken in, another one under its key is answered with `409` and `Retry-After`.
    """
    key = str(idempotency_key(request.headers, required=True))
    _checked_form(request)
    return _Outcomes(gateway, principal, key, first, request.stream())


class _Outcomes(Response):
    """The answer to a bulk request, which begins while the request is still being read.

    What goes wrong before the first line is a problem like any other.
    """

    def __init__(
        self,
        gateway: Gateway,
        principal: Principal,
        key: str,
        first: int,
        parts: AsyncIterator[bytes],
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._gateway = gateway
        self._principal = principal
        self._key = key
        self._first = first
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bulks, client_id = self._gateway.bulks, self._principal.client_id
        with bulks.place(client_id):
            held = await bulks.take_up(client_id, self._key, self._first)
            address = self._gateway.addresses.told(scope)
            taking = Taking(self._gateway, self._principal, held, self._first, address)
            headers = [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"location", f"/v1/bulk/{held.known.id}".encode()),
            ]
            work = asyncio.create_task(taking.run(self._parts))
            try:
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                async for told in taking.outcomes():
                    await send({"type": "http.response.body", "body": told, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


@router.get(
    "/v1/bulk/{bulk_id}",
    summary="Xem một lô · One bulk request",
    responses={200: {"model": BulkAnswer}, **problems(401, 403, 404, 422, 503)},
)
async def read_bulk(
    bulk_id: UUID,
    gateway: GatewayOf,
    principal: Reader,
    after: Annotated[int, Query(ge=0, le=MOST_LINES)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """How far it is, and which lines were refused; only the client that sent it sees it."""
    page = await gateway.bulks.read(principal.client_id, bulk_id, after=after, limit=limit)
    return Response(orjson.dumps(_members(page)), media_type="application/json")


def _members(page: Page) -> dict[str, Any]:
    bulk = page.bulk
    told: dict[str, Any] = {
        "bulk_id": str(bulk.id),
        "state": bulk.state,
        "begun_at": bulk.begun_at,
        "lines": bulk.lines,
        "taken_in": bulk.lines - bulk.refused,
        "refused": bulk.refused,
        "refusals": [{"line": line, "problem": problem} for line, problem in page.refusals],
        "next": page.next,
    }
    return {**told, "ended_at": bulk.ended_at} if bulk.ended_at else told


def _checked_form(request: Request) -> None:
    """Raise UnsupportedMedia, or TooLarge, by what the headers say of the body."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named not in _TAKEN:
        raise UnsupportedMedia(f"Cần {MEDIA_TYPE}", f"The body must be {MEDIA_TYPE}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("Không nhận nội dung nén", "Compressed bodies are not taken")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > LARGEST_BULK:
        raise TooLarge(
            f"Mỗi lô lớn nhất {LARGEST_BULK} byte",
            f"A bulk request has {LARGEST_BULK} bytes at the most",
        )
