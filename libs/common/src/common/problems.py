"""Every error that leaves a service is a problem document (RFC 9457), in both languages."""

from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from common.errors import Invalid, NotFound, Problem
from common.middleware import request_id

MEDIA_TYPE = "application/problem+json"

_VIETNAMESE = {
    "missing": "thiếu trường bắt buộc",
    "extra_forbidden": "trường không được biết",
    "string_pattern_mismatch": "không đúng định dạng",
    "string_too_long": "quá dài",
    "string_too_short": "quá ngắn",
    "string_type": "phải là chuỗi ký tự",
    "int_type": "phải là số nguyên",
    "literal_error": "không thuộc các giá trị cho phép",
    "json_invalid": "JSON không hợp lệ",
    "datetime_parsing": "không phải thời điểm hợp lệ",
    "datetime_from_date_parsing": "không phải thời điểm hợp lệ",
    "timezone_aware": "thời điểm phải có múi giờ",
    "union_tag_invalid": "loại không được biết",
    "union_tag_not_found": "thiếu loại (kind)",
    "too_long": "quá nhiều phần tử",
    "uuid_parsing": "không phải UUID",
}


def answer(problem: Problem) -> Response:
    """The response of a problem."""
    body = problem.body()
    body["instance"] = f"urn:lienthong:request:{request_id.get()}"
    return Response(
        orjson.dumps(body),
        problem.status,
        headers=problem.headers,
        media_type=MEDIA_TYPE,
    )


def fields(errors: Any, *, skip: int = 0) -> list[dict[str, str]]:
    """Pydantic's errors as JSON pointers with a sentence each, without the faulty values."""
    told = []
    for error in errors:
        place = [str(part) for part in error["loc"][skip:]]
        told.append(
            {
                "pointer": "/"
                + "/".join(part.replace("~", "~0").replace("/", "~1") for part in place),
                "detail": _VIETNAMESE.get(error["type"], "giá trị không hợp lệ"),
                "detail_en": error["msg"],
            }
        )
    return told


def install(app: FastAPI) -> None:
    """Answer every exception of the application with a problem."""

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return answer(
            Invalid(
                "Yêu cầu có trường không hợp lệ",
                "The request has invalid fields",
                errors=fields(error.errors(), skip=1),
            )
        )

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        if error.status_code == NotFound.status:
            return answer(NotFound("Không có địa chỉ này", "There is no such address"))
        return answer(_plain(error))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        structlog.get_logger().error(
            "request failed",
            method=request.method,
            request_id=request_id.get(),
            exc_info=error,
        )
        return answer(Problem())


def _plain(error: HTTPException) -> Problem:
    """A problem for an error of the framework, such as 405."""
    kind = type(
        "Plain",
        (Problem,),
        {
            "status": error.status_code,
            "slug": f"http-{error.status_code}",
            "title": f"Lỗi HTTP {error.status_code}",
            "title_en": str(error.detail),
        },
    )
    made: Problem = kind(headers=dict(error.headers or {}))
    return made
