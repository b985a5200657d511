"""``POST /v1/dossiers`` and its steps: taken in durably, answered once committed."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from common.auth import Principal, requires
from common.contracts.codes import DossierCode
from common.contracts.commands import Command
from common.errors import Invalid
from common.middleware import request_id
from common.telemetry import current_traceparent
from gateway.api.bodies import SUBMIT, Submit
from gateway.api.document import WRITE, intake_headers, json_body
from gateway.api.parts import Gateway
from gateway.api.reading import body_of, idempotency_key, wait_of
from gateway.api.steps import STEP, Complete, Transfer, command_of
from gateway.api.submissions import SubmissionAnswer, answer, refusal
from gateway.domain.codes import vietnam_day
from gateway.domain.submissions import Submission, dossier_agency
from gateway.errors import IdempotencyKeyMissing, may_not_act_for
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
    """Taken in once for each dossier code, until its submission is refused.

    Without a code one is issued, `<agency>-YYMMDD-XXXX` of the day of intake in Vietnam; then
    `agency` and `Idempotency-Key` are required, and repeating the request gives the same code.
    """
    gateway: Gateway = request.app.state.gateway
    key = idempotency_key(request.headers, required=False)
    body = await body_of(request, SUBMIT)
    submission = await taken(gateway, principal, body, key)
    return await _answer(request, gateway, submission)


async def taken(
    gateway: Gateway, principal: Principal, body: Submit, key: str | None
) -> Submission:
    """A dossier, taken in; whichever form it came in.

    Args:
        key: the ``Idempotency-Key``; needed where the body has no code.
    """
    agency = _agency(body, key)
    if not principal.may_act_for(agency):
        raise may_not_act_for(agency)
    await gateway.reference.agency(agency, "/code" if body.agency is None else "/agency")
    await gateway.uploads.check(principal.client_id, body.files())
    procedure = await gateway.reference.procedure(body.procedure, vietnam_day(body.submitted_at))
    content = body.canonical()

    def wish(code: str) -> Wish:
        command = body.command(procedure, partial(gateway.keys.seal, owner=code))
        return _wish(principal, code, agency, command, content, key, issued=body.code is None)

    if body.code is not None:
        submission = await gateway.intake.take(wish(body.code))
    else:
        submission = await gateway.new_dossiers.take(
            client_id=principal.client_id,
            key=str(key),
            agency=agency,
            content=content,
            wish=wish,
        )
    return submission


def _agency(body: Submit, key: str | None) -> str:
    """The agency of a new dossier.

    Raises:
        Invalid: neither a code nor an agency names it.
        IdempotencyKeyMissing: without a code, nothing else would tell a repetition.
        CodeAgencyMismatch: see ``gateway.domain.submissions.dossier_agency``.
    """
    if body.code is not None:
        return dossier_agency(body.code, body.agency)
    if body.agency is None:
        raise Invalid(
            "Hồ sơ chưa có mã thì phải có mã cơ quan để cấp mã",
            "A dossier without a code needs the agency whose code is to be issued",
            errors=[{"pointer": "/agency", "detail": "thiếu", "detail_en": "missing"}],
        )
    if key is None:
        raise IdempotencyKeyMissing(
            "Hồ sơ chưa có mã cần Idempotency-Key để gửi lại được an toàn",
            "A dossier without a code needs an Idempotency-Key, which makes sending it again safe",
        )
    return body.agency


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
    to_sign = body.files_to_sign() if isinstance(body, Complete) else ()
    await gateway.uploads.check(principal.client_id, body.files(), to_sign)
    if isinstance(body, Transfer):
        await gateway.reference.agency(body.agency, "/agency")
    command = command_of(body, partial(gateway.keys.seal, owner=code))
    wish = _wish(principal, code, None, command, body.canonical(), key)
    return await _answer(request, gateway, await gateway.intake.take(wish))


def _wish(
    principal: Principal,
    code: str,
    agency: str | None,
    command: Command,
    content: bytes,
    key: str | None,
    *,
    issued: bool = False,
) -> Wish:
    return Wish(
        principal=principal,
        dossier_code=code,
        agency=agency,
        command=command,
        content=content,
        key=key,
        traceparent=current_traceparent(),
        request_id=request_id.get(),
        issued=issued,
    )


async def _answer(request: Request, gateway: Gateway, submission: Submission) -> Response:
    wait = wait_of(request.headers)
    if not wait:
        return answer(submission, 202)
    submission = await gateway.waiting.outcome(submission, wait)
    if submission.state == "refused":
        return refusal(submission)
    status = 200 if submission.state == "applied" else 202
    return answer(submission, status, {"preference-applied": f"wait={wait}"})
