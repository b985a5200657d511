"""Problems told to clients (RFC 9457), in Vietnamese and English.

::

    Problem                          500 internal-error
    ├── MalformedRequest             400 malformed-request
    ├── Unauthorised                 401 unauthorised
    ├── Forbidden                    403 forbidden
    ├── NotFound                     404 not-found
    ├── TooSlow                      408 body-too-slow
    ├── HeadTooSlow                  408 head-too-slow
    ├── Conflict                     409 conflict
    ├── TooLarge                     413 body-too-large
    ├── Invalid                      422 invalid-content
    ├── TooManyRequests              429 too-many-requests
    ├── HeadTooLarge                 431 head-too-large
    ├── NotReady                     503 not-ready
    │   ├── Busy                     503 busy
    │   └── TimedOut                 503 timed-out
    └── Upstream                     502 upstream-failed

Services add their own branches in their ``errors.py``.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

# Code in which an error is raised though it is not at home there.
_LIBRARIES = sys.stdlib_module_names | {
    *("aio_pika", "aiohttp", "aiormq", "alembic", "anyio", "asyncpg", "cryptography", "fastapi"),
    *("httpx", "httpx_aiohttp", "jwt", "obstore", "orjson", "pydantic", "sqlalchemy", "starlette"),
}
TYPE_BASE = "urn:lienthong:problem:"


class Problem(Exception):
    """A refusal with a stable type; each class is one kind.

    Args:
        detail: what is wrong with this request, in Vietnamese.
        detail_en: the same in English.
        errors: for each faulty field its JSON pointer and a sentence in both languages.
        headers: response headers, such as ``Retry-After``.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Lỗi nội bộ"
    title_en: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str | None = None,
        detail_en: str | None = None,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail_en or self.title_en)
        self.detail = detail
        self.detail_en = detail_en
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The members of the problem document."""
        body: dict[str, Any] = {
            "type": TYPE_BASE + self.slug,
            "title": self.title,
            "title_en": self.title_en,
            "status": self.status,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.detail_en:
            body["detail_en"] = self.detail_en
        if self.errors:
            body["errors"] = [dict(error) for error in self.errors]
        return body


class MalformedRequest(Problem):
    """Bytes that are no HTTP request."""

    status, slug = 400, "malformed-request"
    title, title_en = "Không phải yêu cầu HTTP hợp lệ", "Malformed HTTP request"


class Unauthorised(Problem):
    """No valid token."""

    status, slug = 401, "unauthorised"
    title, title_en = "Chưa xác thực", "Not authenticated"


class Forbidden(Problem):
    """A valid token without the right asked for."""

    status, slug = 403, "forbidden"
    title, title_en = "Không có quyền", "Not allowed"


class NotFound(Problem):
    """No such thing, or none this client may know of."""

    status, slug = 404, "not-found"
    title, title_en = "Không tìm thấy", "Not found"


class TooSlow(Problem):
    """A body that comes drop by drop."""

    status, slug = 408, "body-too-slow"
    title, title_en = "Nội dung gửi quá chậm", "Body too slow"


class HeadTooSlow(Problem):
    """Headers that come drop by drop."""

    status, slug = 408, "head-too-slow"
    title, title_en = "Tiêu đề yêu cầu gửi quá chậm", "Request head too slow"


class Conflict(Problem):
    """The state of the thing does not allow it."""

    status, slug = 409, "conflict"
    title, title_en = "Xung đột trạng thái", "Conflict"


class TooLarge(Problem):
    """A body above the limit."""

    status, slug = 413, "body-too-large"
    title, title_en = "Nội dung quá lớn", "Body too large"


class Invalid(Problem):
    """Well-formed HTTP with content that breaks a rule."""

    status, slug = 422, "invalid-content"
    title, title_en = "Nội dung không hợp lệ", "Invalid content"


class TooManyRequests(Problem):
    """Above a rate or quota."""

    status, slug = 429, "too-many-requests"
    title, title_en = "Quá nhiều yêu cầu", "Too many requests"


class HeadTooLarge(Problem):
    """More or longer headers than are read."""

    status, slug = 431, "head-too-large"
    title, title_en = "Tiêu đề yêu cầu quá lớn", "Request head too large"


class Upstream(Problem):
    """A service behind this one failed or did not answer in time."""

    status, slug = 502, "upstream-failed"
    title, title_en = (
        "Dịch vụ phía sau không phản hồi",
        "A service behind this one failed",
    )


class NotReady(Problem):
    """Temporarily unable to serve."""

    status, slug = 503, "not-ready"
    title, title_en = "Tạm thời chưa sẵn sàng", "Temporarily not ready"


class Busy(NotReady):
    """More work waits than is taken on."""

    slug = "busy"
    title, title_en = "Hệ thống đang quá tải", "Overloaded"


class TimedOut(NotReady):
    """An answer that took longer than any may. What happened is unknown; asking again is safe."""

    slug = "timed-out"
    title, title_en = "Xử lý quá lâu", "Timed out"


def describe(error: BaseException | None) -> str:
    """An error for operators: kind, SQLSTATE and place, without values that may be personal."""
    if error is None:
        return "unknown"
    told = type(error).__qualname__
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    if state:
        told += f" {state}"
    frames = stack(error)
    return f"{told} at {frames[-1]}" if frames else told


def stack(error: BaseException) -> list[str]:
    """Where an error passed through our own code, outermost first, for logs."""
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _LIBRARIES:
            frames.append(f"{module}.{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames
