"""Reads that other services answer: dossiers and signing requests."""

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AwareDatetime

from common.auth import Principal, requires
from common.contracts.codes import AGENCY_PATTERN, DossierCode, ProcedureCode
from common.contracts.commands import Channel
from common.contracts.dossier import Status
from gateway.api.parts import GatewayOf
from gateway.api.passing import ANSWERS, given, passed_headers, passed_on, path_part
from gateway.domain.submissions import Submission

router = APIRouter()

Reader = Annotated[Principal, requires("dossiers:read")]
After = Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00-\x1F\x7F]*$")]
Limit = Annotated[int | None, Query(ge=1, le=200)]
IfNoneMatch = Annotated[str | None, Header(max_length=1000)]
Purpose = Annotated[
    str | None,
    Header(
        max_length=1000,
        description="What personal data is needed for: 1 to 200 printable characters, other "
        "letters than ASCII percent-encoded (UTF-8)",
    ),
]
# Either form of an agency code.
AgencyQuery = Annotated[str | None, Query(max_length=35, pattern=AGENCY_PATTERN)]


@router.get(
    "/v1/dossiers/{code}",
    tags=["Hồ sơ · Dossiers"],
    summary="Xem hồ sơ · One dossier",
    responses=ANSWERS,
)
async def read_dossier(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    code: DossierCode,
    if_none_match: IfNoneMatch = None,
    x_purpose: Purpose = None,
) -> Response:
    """As the dossier service has it, or `pending` until it has decided on the submission.

    Personal data in clear needs the scope `dossiers:personal` and `X-Purpose`, which says what
    for; without either it is masked. Who gives a purpose is put down.
    """
    headers = passed_headers(request, token=True)
    found = await gateway.dossiers.read(principal, code, f"/v1/dossiers/{path_part(code)}", headers)
    return _pending(found) if isinstance(found, Submission) else passed_on(found)


@router.get(
    "/v1/dossiers/{code}/steps",
    tags=["Hồ sơ · Dossiers"],
    summary="Tiến độ hồ sơ · Steps of a dossier",
    responses=ANSWERS,
)
async def read_steps(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    code: DossierCode,
    after: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    limit: Limit = None,
) -> Response:
    """The dossier's history."""
    path = f"/v1/dossiers/{path_part(code)}/steps"
    query = given(after=after, limit=limit)
    headers = passed_headers(request, token=True)
    return passed_on(await gateway.dossiers.service.get(path, query, headers))


@router.get(
    "/v1/dossiers/{code}/deadline",
    tags=["Hồ sơ · Dossiers"],
    summary="Hạn giải quyết · Due date of a dossier",
    responses=ANSWERS,
)
async def read_deadline(
    request: Request, gateway: GatewayOf, principal: Reader, code: DossierCode
) -> Response:
    """When the dossier is due, and how many working days are left."""
    path = f"/v1/dossiers/{path_part(code)}/deadline"
    return passed_on(
        await gateway.dossiers.service.get(path, {}, passed_headers(request, token=True))
    )


@router.get(
    "/v1/dossiers",
    tags=["Hồ sơ · Dossiers"],
    summary="Danh sách hồ sơ · Dossiers",
    responses=ANSWERS,
)
async def list_dossiers(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    agency: AgencyQuery = None,
    status: Status | None = None,
    procedure: ProcedureCode | None = None,
    channel: Channel | None = None,
    historic: bool | None = None,
    submitted_from: AwareDatetime | None = None,
    submitted_to: AwareDatetime | None = None,
    due_from: AwareDatetime | None = None,
    due_to: AwareDatetime | None = None,
    overdue: bool | None = None,
    after: After = None,
    limit: Limit = None,
) -> Response:
    """Dossiers of the client's agencies, by agency and code.

    With a range of due dates, or only those overdue: dossiers that are not finished, by agency and
    due date. With a range of days of submission: by agency and that day.
    """
    moments = {
        "submitted_from": submitted_from,
        "submitted_to": submitted_to,
        "due_from": due_from,
        "due_to": due_to,
    }
    query = given(
        agency=agency,
        status=status,
        procedure=procedure,
        channel=channel,
        historic=None if historic is None else str(historic).lower(),
        overdue="true" if overdue else None,
        **{name: moment.isoformat() for name, moment in moments.items() if moment is not None},
        after=after,
        limit=limit,
    )
    headers = passed_headers(request, token=True)
    return passed_on(await gateway.dossiers.service.get("/v1/dossiers", query, headers))


@router.get(
    "/v1/signing-requests/{request_id}",
    tags=["Ký số · Signing"],
    summary="Yêu cầu ký số · One signing request",
    responses=ANSWERS,
)
async def read_signing_request(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("signing:read")],
    signing_request: Annotated[UUID, Path(alias="request_id")],
) -> Response:
    """How far a result's signature is."""
    path = f"/v1/signing-requests/{signing_request}"
    return passed_on(await gateway.signatures.get(path, {}, passed_headers(request, token=True)))


def _pending(submission: Submission) -> Response:
    body = {
        "code": submission.dossier_code,
        "agency": submission.agency,
        "state": "pending",
        "submission_id": str(submission.id),
        "received_at": submission.received_at,
    }
    return Response(orjson.dumps(body), media_type="application/json")
