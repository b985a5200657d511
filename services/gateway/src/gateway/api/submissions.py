"""Submissions: what became of what a client sent."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from common.auth import Principal, requires
from common.errors import NotFound
from common.middleware import request_id
from common.problems import MEDIA_TYPE
from gateway.api.document import problems
from gateway.api.parts import GatewayOf
from gateway.domain.submissions import State, Submission
from gateway.store import submissions as stored

router = APIRouter(tags=["Yêu cầu · Submissions"])

_START = UUID(int=0)


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


def answer(submission: Submission, status: int, headers: dict[str, str] | None = None) -> Response:
    """A submission, with where it is to be found."""
    location = {"location": f"/v1/submissions/{submission.id}"}
    return _json(members(submission), status, {**location, **(headers or {})})


def refusal(submission: Submission) -> Response:
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
    location = {"location": f"/v1/submissions/{submission.id}"}
    return Response(orjson.dumps(body), status, headers=location, media_type=MEDIA_TYPE)


@router.get(
    "/v1/submissions/{submission_id}",
    summary="Xem một yêu cầu · One submission",
    responses={200: {"model": SubmissionAnswer}, **problems(401, 403, 404, 422, 503)},
)
async def read_submission(
    submission_id: UUID,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("dossiers:read")],
) -> Response:
    """Only the client that sent it sees it."""
    async with gateway.database.reading() as connection:
        found = await stored.own(connection, submission_id, principal.client_id)
    if found is None:
        raise NotFound("Không có yêu cầu này", "There is no such submission")
    return _json(members(found))


@router.get(
    "/v1/submissions",
    summary="Danh sách yêu cầu · Submissions",
    responses={200: {"model": SubmissionPage}, **problems(401, 403, 422, 503)},
)
async def list_submissions(
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("dossiers:read")],
    state: State | None = None,
    after: UUID = _START,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """The client's own, in the order they were taken in."""
    async with gateway.database.reading() as connection:
        found = await stored.page(connection, principal.client_id, state, after, limit + 1)
    more = len(found) > limit
    page = found[:limit]
    return _json(
        {"items": [members(one) for one in page], "next": str(page[-1].id) if more else None}
    )


def _json(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
