"""Reads that other services answer: dossiers and signing requests."""

import hashlib
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response

from common.auth import Principal, requires
from common.contracts.codes import AGENCY_PATTERN, DossierCode, ProcedureCode
from common.contracts.commands import Channel
from common.contracts.dossier import Status
from gateway.api.disclosures import noted_reading
from gateway.api.fields import Moment
from gateway.api.parts import GatewayOf
from gateway.api.passing import ANSWERS, PAGE, given, passed_headers, passed_on, path_part
from gateway.api.paths import ONE_DOSSIER
from gateway.api.representations import FIELDS, STRICT_PARAMETERS, Members, fields_of, shown
from gateway.clients import Answer
from gateway.domain import shapes
from gateway.domain.submissions import Submission

router = APIRouter(dependencies=[STRICT_PARAMETERS])

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
DossierFields = Annotated[Annotated[str, Members(shapes.DOSSIER)] | None, FIELDS]
StepFields = Annotated[Annotated[str, Members(shapes.STEP)] | None, FIELDS]
DossierLineFields = Annotated[Annotated[str, Members(shapes.DOSSIER_LINE)] | None, FIELDS]


@router.get(
    ONE_DOSSIER,
    tags=["Hồ sơ · Dossiers"],
    summary="Xem hồ sơ · One dossier",
    responses=ANSWERS,
)
async def read_dossier(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    code: DossierCode,
    fields: DossierFields = None,
    if_none_match: IfNoneMatch = None,
    x_purpose: Purpose = None,
) -> Response:
    """As the dossier service has it, or `pending` until it has decided on the submission.

    `pending` lists what this client has sent for it and is not decided yet (100 at the most).

    Personal data in clear needs the scope `dossiers:personal` and `X-Purpose`, which says what
    for; without either it is masked. Who gives a purpose is put down.
    """
    wanted = fields_of(fields, shapes.DOSSIER)
    pending = await gateway.dossiers.pending(principal, code)
    headers = passed_headers(request, token=True)
    if pending:
        headers.pop("if-none-match", None)  # judged here, by the tag of what is shown
    found = await gateway.dossiers.read(principal, code, f"/v1/dossiers/{path_part(code)}", headers)
    if isinstance(found, Submission):
        found = Answer(200, _JSON, orjson.dumps(_submitted(found)))
    answer = shown(
        request, found, fields=wanted, extra={"pending": _briefs(pending)}, tag=_tag(pending)
    )
    return await noted_reading(gateway, principal, code, x_purpose, answer)


@router.get(
    "/v1/dossiers/{code}/steps",
    tags=["Hồ sơ · Dossiers"],
    summary="Tiến độ hồ sơ · Steps of a dossier",
    responses=PAGE,
)
async def read_steps(
    request: Request,
    gateway: GatewayOf,
    principal: Reader,
    code: DossierCode,
    after: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
    limit: Limit = None,
    fields: StepFields = None,
) -> Response:
    """The dossier's history; `pending` as of the dossier itself."""
    wanted = fields_of(fields, shapes.STEP)
    path = f"/v1/dossiers/{path_part(code)}/steps"
    query = given(after=after, limit=limit)
    pending = await gateway.dossiers.pending(principal, code)
    headers = passed_headers(request, token=True)
    found = await gateway.dossiers.read(principal, code, path, headers, query)
    if isinstance(found, Submission):
        found = Answer(200, _JSON, b'{"items":[],"next":null}')
    extra = {"pending": _briefs(pending)}
    return shown(request, found, fields=wanted, page="after", extra=extra)


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
    responses=PAGE,
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
    submitted_from: Moment | None = None,
    submitted_to: Moment | None = None,
    due_from: Moment | None = None,
    due_to: Moment | None = None,
    overdue: bool | None = None,
    after: After = None,
    limit: Limit = None,
    fields: DossierLineFields = None,
) -> Response:
    """Dossiers of the client's agencies, by agency and code.

    What is not decided yet is not among them; `GET /v1/submissions?state=pending` lists that.

    With a range of due dates, or only those overdue: dossiers that are not finished, by agency and
    due date. With a range of days of submission: by agency and that day.
    """
    wanted = fields_of(fields, shapes.DOSSIER_LINE)
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
    answer = await gateway.dossiers.service.get("/v1/dossiers", query, headers)
    return shown(request, answer, fields=wanted, page="after")


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


_JSON = {"content-type": "application/json"}


def _submitted(submission: Submission) -> dict[str, object]:
    return {
        "code": submission.dossier_code,
        "agency": submission.agency,
        "state": "pending",
        "submission_id": str(submission.id),
        "received_at": submission.received_at,
    }


def _briefs(pending: Sequence[Submission]) -> list[dict[str, object]]:
    return [
        {"submission_id": str(one.id), "kind": one.kind, "received_at": one.received_at}
        for one in pending
    ]


def _tag(pending: Sequence[Submission]) -> str | None:
    """What sets this representation apart from the one with nothing pending."""
    if not pending:
        return None
    known = b"".join(one.id.bytes for one in pending)
    return f"w{hashlib.sha256(known).hexdigest()[:8]}"
