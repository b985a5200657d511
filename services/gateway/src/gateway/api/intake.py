"""``POST /v1/dossiers`` and its steps: taken in durably, answered once committed."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from common.auth import Principal, requires
from common.contracts.codes import DossierCode
from gateway.api.bodies import SUBMIT, Submit
from gateway.api.direct import DirectRoute
from gateway.api.document import WRITE, if_match_header, intake_headers, json_body
from gateway.api.parts import Gateway
from gateway.api.preferences import expected_of, preferences
from gateway.api.protection import counted
from gateway.api.reading import body_of, idempotency_key
from gateway.api.steps import STEP
from gateway.api.submissions import SubmissionAnswer, answer, content_of, refusal
from gateway.api.wishes import Asker, new_dossier, step_wish
from gateway.domain.submissions import Submission
from gateway.use_cases.message_log import Exchange

router = APIRouter(tags=["Hồ sơ · Dossiers"])
direct = APIRouter(tags=["Hồ sơ · Dossiers"], route_class=DirectRoute)

Writer = Annotated[Principal, requires("dossiers:write")]

RECEIPT = "exchange-receipt"
"""The header of a signed receipt, which proves what was put down in the message log."""

REPLAYED = "idempotent-replayed"
"""The header of an answer to a request that had been taken in before."""

_REPLAYED: dict[str, Any] = {
    "Idempotent-Replayed": {
        "description": "`true`: this request had been taken in before",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Exchange-Receipt": {
        "description": "With `Prefer: receipt`: a signed receipt (compact JWS, ES256)",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "What of `Prefer` the answer was made by (RFC 7240)",
        "schema": {"type": "string"},
    },
}
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": SubmissionAnswer,
        "description": "Applied while `Prefer: wait` waited",
        "headers": _REPLAYED,
    },
    202: {
        "model": SubmissionAnswer,
        "description": "Taken in; `Location` tells how it ends",
        "headers": _REPLAYED,
    },
    **WRITE,
}


@direct.post(
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
    exchange = Exchange("POST /v1/dossiers", await request.body(), 202, content_of)
    asker = Asker(principal, key, exchange=exchange)
    return await _answer(request, gateway, await taken(gateway, asker, body), exchange)


async def taken(gateway: Gateway, asker: Asker, body: Submit) -> Submission:
    """A dossier, taken in; whichever form it came in.

    Raises:
        Problem: see ``new_dossier``, ``Intake.take`` and ``NewDossiers.take``.
    """
    dossier = await new_dossier(gateway, asker, body)
    async with counted(gateway.limits, asker.principal.client_id) as count:
        if dossier.code is not None:
            return count(await gateway.intake.take(dossier.wish(dossier.code)))
        return count(
            await gateway.new_dossiers.take(
                client_id=asker.principal.client_id,
                key=str(asker.key),
                agency=dossier.agency,
                content=dossier.content,
                wish=dossier.wish,
            )
        )


@router.post(
    "/v1/dossiers/{code}/steps",
    summary="Cập nhật tiến độ · Take a step",
    status_code=202,
    responses=_ACCEPTED,
    openapi_extra={
        "requestBody": json_body("Step"),
        "parameters": [*intake_headers(key_required=True), if_match_header()],
    },
)
async def take_step(request: Request, code: DossierCode, principal: Writer) -> Response:
    """Steps of one dossier are applied in the order in which they were answered.

    With `If-Match`, the `ETag` of the dossier as it was read, a step is applied only if the dossier
    is still so when its turn comes; otherwise it is refused with `412 dossier-changed`.
    """
    gateway: Gateway = request.app.state.gateway
    headers = request.headers
    key = idempotency_key(headers, required=True)
    body = await body_of(request, STEP)
    exchange = Exchange("POST /v1/dossiers/{code}/steps", await request.body(), 202, content_of)
    asker = Asker(principal, key, expected=expected_of(headers), exchange=exchange)
    wish = await step_wish(gateway, asker, code, body)
    async with counted(gateway.limits, principal.client_id) as count:
        submission = count(await gateway.intake.take(wish))
    return await _answer(request, gateway, submission, exchange)


async def _answer(
    request: Request, gateway: Gateway, submission: Submission, exchange: Exchange
) -> Response:
    """The submission: at once, or once it is decided where the client prefers to wait for that."""
    preferred = preferences(request.headers)
    headers = {REPLAYED: "true"} if submission.repeated else {}
    if preferred.receipt and (receipt := await gateway.log_works.log.receipt(submission, exchange)):
        headers[RECEIPT] = receipt
    if preferred.wait:
        submission = await gateway.waiting.outcome(submission, preferred.wait)
    # Without a wait the answer tells what was taken in, even where that is a repetition.
    decided = submission.state != "pending" and preferred.wait > 0
    applied = preferred.applied(asynchronous=not decided)
    if RECEIPT in headers:
        applied.append("receipt")
    if applied:
        headers["preference-applied"] = ", ".join(applied)
    if decided and submission.state == "refused":
        return refusal(submission, headers)
    if submission.state == "pending" and exchange.content:
        return answer(submission, 202, headers, exchange.content)
    return answer(submission, 200 if decided else 202, headers)
