"""``POST /v1/dossiers`` and its steps: taken in durably, answered once committed."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from common.auth import Principal, requires
from common.contracts.codes import DossierCode
from common.contracts.commands import Command
from common.middleware import request_id
from common.telemetry import current_traceparent
from gateway.api.bodies import STEP, SUBMIT, command_of
from gateway.api.document import WRITE, intake_headers, json_body
from gateway.api.parts import Gateway
from gateway.api.reading import body_of, idempotency_key, wait_of
from gateway.api.submissions import SubmissionAnswer, answer, refusal
from gateway.domain import dossier_agency
from gateway.errors import may_not_act_for
from gateway.use_cases.intake import Wish

router = APIRouter(tags=["Hồ sơ · Dossiers"])

Writer = Annotated[Principal, requires("dossiers:write")]

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    200: {"model": SubmissionAnswer, "description": "Applied while `Prefer: wait` waited"},
    202: {"model": SubmissionAnswer, "description": "Taken in; `Location` tells how it ends"},
    **WRITE,
}


@router.post(
    "/v1/dossiers",
    summary="Nộp hồ sơ · Submit a dossier",
    status_code=202,
    responses=_ACCEPTED,
    openapi_extra={
        "requestBody": json_body("Submit"),
        "parameters": intake_headers(key_required=False),
    },
)
async def submit_dossier(request: Request, principal: Writer) -> Response:
    """Taken in once for each dossier code, until its submission is refused."""
    gateway: Gateway = request.app.state.gateway
    key = idempotency_key(request.headers, required=False)
    body = await body_of(request, SUBMIT)
    agency = dossier_agency(body.code, body.agency)
    if not principal.may_act_for(agency):
        raise may_not_act_for(agency)
    await gateway.reference.agency(agency, "/code" if body.agency is None else "/agency")
    procedure = await gateway.reference.procedure(body.procedure)
    command = body.command(procedure, partial(gateway.keys.seal, owner=body.code))
    return await _take(
        request, gateway, principal, body.code, agency, command, body.canonical(), key
    )


@router.post(
    "/v1/dossiers/{code}/steps",
    summary="Cập nhật tiến độ · Take a step",
    status_code=202,
    responses=_ACCEPTED,
    openapi_extra={
        "requestBody": json_body("Step"),
        "parameters": intake_headers(key_required=True),
    },
)
async def take_step(request: Request, code: DossierCode, principal: Writer) -> Response:
    """Steps of one dossier are applied in the order in which they were answered."""
    gateway: Gateway = request.app.state.gateway
    key = idempotency_key(request.headers, required=True)
    body = await body_of(request, STEP)
    dossier_agency(code)  # refuses a code without a usable agency part
    await gateway.uploads.check(principal.client_id, body.files())
    command = command_of(body, partial(gateway.keys.seal, owner=code))
    return await _take(request, gateway, principal, code, None, command, body.canonical(), key)


async def _take(
    request: Request,
    gateway: Gateway,
    principal: Principal,
    code: str,
    agency: str | None,
    command: Command,
    content: bytes,
    key: str | None,
) -> Response:
    wish = Wish(
        principal=principal,
        dossier_code=code,
        agency=agency,
        command=command,
        content=content,
        key=key,
        traceparent=current_traceparent(),
        request_id=request_id.get(),
    )
    submission = await gateway.intake.take(wish)
    wait = wait_of(request.headers)
    if not wait:
        return answer(submission, 202)
    submission = await gateway.waiting.outcome(submission, wait)
    if submission.state == "refused":
        return refusal(submission)
    status = 200 if submission.state == "applied" else 202
    return answer(submission, status, {"preference-applied": f"wait={wait}"})
