"""Questions from the national portal, answered by national-portal-sync."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from common.auth import Principal, requires
from gateway.api.document import problems
from gateway.api.parts import Gateway, GatewayOf
from gateway.api.passing import ANSWERS, PAGE, given, passed_headers, passed_on, path_part
from gateway.api.reading import passed_body
from gateway.api.representations import STRICT_PARAMETERS, shown
from gateway.clients import Behind
from gateway.errors import UpstreamAway

router = APIRouter(prefix="/v1/questions", tags=["Hỏi đáp · Questions"])

QuestionId = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^\x00-\x1F\x7F]+$")]
_ANSWER = {
    "type": "object",
    "required": ["content"],
    "properties": {
        "content": {"type": "string", "maxLength": 10_000},
        "official": {"type": "string", "maxLength": 300},
    },
}


@router.get(
    "",
    summary="Câu hỏi từ Cổng DVCQG · Questions",
    responses=PAGE,
    dependencies=[STRICT_PARAMETERS],
)
async def list_questions(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("questions:read")],
    state: Literal["open", "answered", "told"] | None = None,
    after: Annotated[str | None, Query(max_length=100, pattern=r"^[^\x00-\x1F\x7F]*$")] = None,
    limit: Annotated[int | None, Query(ge=1, le=200)] = None,
) -> Response:
    """Questions to the client's agencies; who asked is masked."""
    query = given(state=state, after=after, limit=limit)
    headers = passed_headers(request, token=True)
    answer = await _service(gateway).get("/v1/questions", query, headers)
    return shown(request, answer, page="after")


@router.post(
    "/{question_id:path}/answer",
    summary="Trả lời câu hỏi · Answer a question",
    status_code=202,
    responses={
        202: ANSWERS[200],
        **{k: v for k, v in ANSWERS.items() if k not in (200, 304)},
        **problems(400, 409, 413, 415),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ANSWER}}}
    },
)
async def answer_question(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("questions:write")],
    question_id: QuestionId,
) -> Response:
    """The portal is told the answer; the same answer again is no second one."""
    path = f"/v1/questions/{path_part(question_id)}/answer"
    headers = passed_headers(request, token=True)
    content = await passed_body(request)
    return passed_on(await _service(gateway).ask("POST", path, {}, headers, content))


def _service(gateway: Gateway) -> Behind:
    if gateway.portal is None:
        raise UpstreamAway(
            "Chưa cấu hình dịch vụ đồng bộ Cổng DVCQG",
            "The service that speaks with the national portal is not configured",
        )
    return gateway.portal
