"""Submissions: what became of what a client sent."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from common.auth import Principal, requires
from common.contracts.codes import DossierCode
from common.errors import NotFound
from common.middleware import request_id
from common.problems import MEDIA_TYPE
from gateway.api.document import problems
from gateway.api.parts import GatewayOf
from gateway.api.passing import PAGE
from gateway.api.representations import FIELDS, STRICT_PARAMETERS, Members, fields_of, shown
from gateway.clients import Answer
from gateway.domain import shapes
from gateway.domain.shapes import Shape
from gateway.domain.submissions import State, Submission
from gateway.store import submissions as stored

router = APIRouter(tags=["Yêu cầu · Submissions"], dependencies=[STRICT_PARAMETERS])

_START = UUID(int=0)
_ALWAYS = shapes.shape("submission_id dossier_code kind state received_at")


class SubmissionAnswer(BaseModel):
    """A submission; members without a value are left out."""

    submission_id: UUID
    dossier_code: str
    kind: str
    state: State
    received_at: datetime
    decided_at: datetime | None = None
    step_number: int | None = None
    """Its place in the dossier's history, once applied."""
    flagged: str | None = None
    """Why the step is unusual though it was applied."""
    problem: dict[str, Any] | None = None
    """Why it was refused (RFC 9457)."""


class SubmissionPage(BaseModel):
    """A page; ``next`` continues it as ``after``, and is null at the end."""

    items: list[SubmissionAnswer]
    next: UUID | None


def members(submission: Submission) -> dict[str, Any]:
    """The JSON members of a submission."""
    told = {
        "submission_id": str(submission.id),
        "dossier_code": submission.dossier_code,
        "kind": submission.kind,
        "state": submission.state,
        "received_at": submission.received_at,
    }
    if submission.state != "pending":
        optional = {
            "decided_at": submission.decided_at,
            "step_number": submission.step_number,
            "flagged": submission.flagged,
            "problem": submission.problem,
        }
        told.update((name, value) for name, value in optional.items() if value is not None)
    return told


def content_of(submission: Submission) -> bytes:
    """The content that tells of a submission; the message log keeps its digest."""
    return orjson.dumps(members(submission))


def answer(
    submission: Submission,
    status: int,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
) -> Response:
    """A submission, with where it is to be found.

    Args:
        content: as it was put down in the message log, where that was done.
    """
    return Response(
        content or content_of(submission),
        status,
        headers={"location": f"/v1/submissions/{submission.id}", **(headers or {})},
        media_type="application/json",
    )


def refusal(submission: Submission, headers: dict[str, str] | None = None) -> Response:
    """What a synchronous refusal would have said."""
    problem = submission.problem or {}
    status = problem.get("status")
    if not (isinstance(status, int) and 400 <= status < 500):
        status = 409
    body = {
        **problem,
        "status": status,
        "submission_id": str(submission.id),
        "instance": f"urn:lienthong:request:{request_id.get()}",
    }
    told = {"location": f"/v1/submissions/{submission.id}", **(headers or {})}
    return Response(orjson.dumps(body), status, headers=told, media_type=MEDIA_TYPE)


SubmissionFields = Annotated[Annotated[str, Members(shapes.SUBMISSION)] | None, FIELDS]


@router.get(
    "/v1/submissions/{submission_id}",
    summary="Xem một yêu cầu · One submission",
    responses={200: {"model": SubmissionAnswer}, **problems(401, 403, 404, 422, 503)},
)
async def read_submission(
    request: Request,
    submission_id: UUID,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("dossiers:read")],
    fields: SubmissionFields = None,
) -> Response:
    """Only the client that sent it sees it. What names it and its state is there in any case."""
    wanted = fields_of(fields, shapes.SUBMISSION)
    async with gateway.database.reading() as connection:
        found = await stored.own(connection, submission_id, principal)
    if found is None:
        raise NotFound("Không có yêu cầu này", "There is no such submission")
    return _told(request, members(found), wanted)


@router.get(
    "/v1/submissions",
    summary="Danh sách yêu cầu · Submissions",
    responses={
        200: {"model": SubmissionPage, "headers": PAGE[200]["headers"]},
        **problems(401, 403, 422, 503),
    },
)
async def list_submissions(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("dossiers:read")],
    state: State | None = None,
    after: UUID = _START,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    dossier: DossierCode | None = None,
    fields: SubmissionFields = None,
) -> Response:
    """The client's own, in the order they were taken in."""
    wanted = fields_of(fields, shapes.SUBMISSION)
    async with gateway.database.reading() as connection:
        found = await stored.page(connection, principal, state, after, limit + 1, dossier)
    more = len(found) > limit
    page = found[:limit]
    following = str(page[-1].id) if more else None
    body = {"items": [members(one) for one in page], "next": following}
    return _told(request, body, wanted, page="after")


def _told(
    request: Request, body: dict[str, Any], fields: Shape | None, page: str | None = None
) -> Response:
    if fields is not None:
        fields = {**fields, **_ALWAYS}
    answer = Answer(200, {"content-type": "application/json"}, orjson.dumps(body))
    return shown(request, answer, fields=fields, page=page)


def _json(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
