"""Every error that leaves a service is a problem document (RFC 9457), in both languages."""

from contextvars import ContextVar
from http import HTTPMethod, HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from common.database import database_is_away, sqlstate
from common.errors import (
    Invalid,
    NotFound,
    NotReady,
    Problem,
    TooLarge,
    TooSlow,
    describe,
    stack,
)

MEDIA_TYPE = "application/problem+json"
_NOT_STORABLE = frozenset({"22021", "22P05"})

request_id: ContextVar[str] = ContextVar("request_id", default="")

log = structlog.get_logger()

_VIETNAMESE = {
    "missing": "thiếu trường bắt buộc",
    "extra_forbidden": "trường không được biết",
    "string_pattern_mismatch": "không đúng định dạng",
    "string_too_long": "quá dài",
    "string_too_short": "quá ngắn",
    "string_type": "phải là chuỗi ký tự",
    "int_type": "phải là số nguyên",
    "int_parsing": "phải là số nguyên",
    "bool_type": "phải là đúng hoặc sai",
    "bool_parsing": "phải là đúng hoặc sai",
    "list_type": "phải là danh sách",
    "tuple_type": "phải là danh sách",
    "dict_type": "phải là đối tượng",
    "model_type": "phải là đối tượng",
    "model_attributes_type": "phải là đối tượng",
    "greater_than": "quá nhỏ",
    "greater_than_equal": "quá nhỏ",
    "less_than": "quá lớn",
    "less_than_equal": "quá lớn",
    "too_short": "quá ít phần tử",
    "literal_error": "không thuộc các giá trị cho phép",
    "json_invalid": "JSON không hợp lệ",
    "date_parsing": "không phải ngày hợp lệ",
    "datetime_parsing": "không phải thời điểm hợp lệ",
    "datetime_from_date_parsing": "không phải thời điểm hợp lệ",
    "timezone_aware": "thời điểm phải có múi giờ",
    "union_tag_invalid": "loại không được biết",
    "union_tag_not_found": "thiếu loại (kind)",
    "too_long": "quá nhiều phần tử",
    "uuid_parsing": "không phải UUID",
}
# Where pydantic's own sentence holds (a part of) the value.
_ENGLISH = {
    "union_tag_invalid": "The kind is not known",
    "uuid_parsing": "Input should be a valid UUID",
    "json_invalid": "The JSON is not valid",
}


class BodyRefused(HTTPException):
    """A body that is not read to its end, as an exception that FastAPI does not take for
    unreadable JSON."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status)
        self.problem = problem


class BodyTooLarge(BodyRefused):
    """A body above its limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            TooLarge(
                f"Nội dung vượt giới hạn {limit} byte",
                f"The body is above the limit of {limit} bytes",
            )
        )


class BodyTooSlow(BodyRefused):
    """A body that stays below its least rate; the connection is closed with the answer."""

    def __init__(self) -> None:
        super().__init__(
            TooSlow(
                "Nội dung đến quá chậm",
                "The body comes too slowly",
                headers={"Connection": "close"},
            )
        )


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
                "detail_en": _ENGLISH.get(error["type"], error["msg"]),
            }
        )
    return told


def install(app: FastAPI) -> None:
    """Answer what the application refuses with a problem (``unexpected`` is the middleware's)."""

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
    async def plain(request: Request, error: HTTPException) -> Response:
        if isinstance(error, BodyRefused):
            return answer(error.problem)
        if error.status_code == NotFound.status:
            return answer(NotFound("Không có địa chỉ này", "There is no such address"))
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        return answer(_plain(error, headers))


def unexpected(error: Exception) -> Response:
    """The answer to an error that nobody foresaw; where it happened is logged, without values."""
    if database_is_away(error):
        problem: Problem = NotReady(
            "Cơ sở dữ liệu tạm thời không truy cập được",
            "The database cannot be used now",
            headers={"Retry-After": "2"},
        )
    elif sqlstate(error) in _NOT_STORABLE:
        return answer(
            Invalid("Có ký tự không lưu được (NUL)", "A character cannot be stored (NUL)")
        )
    else:
        problem = Problem()
    log.error(
        "request failed",
        request_id=request_id.get(),
        error=describe(error),
        frames=stack(error),  # "stack" is a word of structlog's own
    )
    return answer(problem)


def _allowed(request: Request) -> list[str]:
    """The methods that this address has, in whichever routes (RFC 9110 section 10.2.1)."""
    return [
        method.value
        for method in HTTPMethod
        if any(
            route.matches({**request.scope, "method": method.value})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def _plain(error: HTTPException, headers: dict[str, str]) -> Problem:
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
    made: Problem = kind(headers=headers)
    return made
