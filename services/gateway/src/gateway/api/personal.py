"""Personal data: a person's dossiers, and who asked for personal data.

Whether the client may search is judged by the dossier service alone, which puts down refusals too.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from common.auth import Principal, principal_of, requires
from common.contracts.codes import DossierCode
from gateway.api.document import problems
from gateway.api.fields import Moment
from gateway.api.parts import GatewayOf
from gateway.api.passing import ANSWERS, PAGE, given, passed_headers, passed_on
from gateway.api.proxied import After, Limit, Purpose
from gateway.api.reading import passed_body
from gateway.api.representations import STRICT_PARAMETERS, shown

router = APIRouter()

_SEARCH_ANSWERS: dict[int | str, dict[str, Any]] = {
    **{status: answer for status, answer in ANSWERS.items() if status != 304},
    **problems(400, 409, 413, 415),
}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}
_TYPES = ("citizen-id", "old-citizen-id", "passport", "tax-code")
_SOUGHT: dict[str, Any] = {
    "type": "object",
    "description": "Exactly one of these",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "identity": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "number"],
            "properties": {"type": {"type": "string", "enum": list(_TYPES)}, "number": _TEXT},
        },
        "phone": _TEXT,
        "email": _TEXT,
    },
}


@router.post(
    "/v1/dossiers/search",
    tags=["Hồ sơ · Dossiers"],
    summary="Tra cứu hồ sơ theo người nộp · Dossiers of a person",
    responses=_SEARCH_ANSWERS,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _SOUGHT}}}
    },
)
async def search_dossiers(
    request: Request,
    gateway: GatewayOf,
    _: Annotated[Principal, Depends(principal_of)],
    after: After = None,
    limit: Limit = None,
    x_purpose: Purpose = None,
) -> Response:
    """Dossiers of the client's agencies, masked. Scope `dossiers:search`, and `X-Purpose`."""
    answer = await gateway.dossiers.service.ask(
        "POST",
        "/v1/dossiers/search",
        given(after=after, limit=limit),
        passed_headers(request, token=True),
        await passed_body(request),
    )
    return passed_on(answer)


@router.get(
    "/v1/personal-reads",
    tags=["Hồ sơ · Dossiers"],
    summary="Nhật ký truy cập dữ liệu cá nhân · Who asked for personal data",
    responses=PAGE,
    dependencies=[STRICT_PARAMETERS],
)
async def list_personal_reads(
    request: Request,
    gateway: GatewayOf,
    _: Annotated[Principal, requires("audit")],
    dossier: DossierCode | None = None,
    client: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1F\x7F]+$")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    after: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> Response:
    """Requests for personal data, answered or refused, for auditors."""
    query = given(
        dossier=dossier,
        client=client,
        since=_text(since),
        until=_text(until),
        after=after,
        limit=limit,
    )
    headers = passed_headers(request, token=True)
    answer = await gateway.dossiers.service.get("/v1/personal-reads", query, headers)
    return shown(request, answer, page="after")


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
