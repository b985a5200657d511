"""An example of every problem: from the tree of errors, and of what services behind refuse with."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import TYPE_BASE, Problem
from gateway import errors

_INSTANCE = "urn:lienthong:request:01a2012b-1a6b-764d-a7e7-058dcad22725"

USUAL: Mapping[int, str] = {
    400: errors.MalformedJson.slug,
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    408: errors.UploadTooSlow.slug,
    409: "conflict",
    410: errors.LinkOver.slug,
    412: "dossier-changed",
    413: "body-too-large",
    415: errors.UnsupportedMedia.slug,
    422: "invalid-content",
    429: errors.RateExceeded.slug,
    500: "internal-error",
    502: "upstream-failed",
    503: "not-ready",
}
"""The kind of problem that any route with this status can have."""

BEHIND: Mapping[str, tuple[int, str, str]] = {
    "malformed-parts": (400, "Biểu mẫu sai", "Malformed form"),
    "unknown-dossier": (404, "Không có hồ sơ này", "No such dossier"),
    "dossier-exists": (409, "Mã hồ sơ đã tồn tại", "The dossier exists already"),
    "dossier-closed": (409, "Hồ sơ đã kết thúc", "The dossier is closed"),
    "dossier-anonymised": (
        409,
        "Dữ liệu cá nhân của hồ sơ đã được xóa",
        "The dossier was anonymised",
    ),
    "step-not-possible": (
        409,
        "Không thể thực hiện bước này",
        "This step is not possible now",
    ),
    "dossier-changed": (412, "Hồ sơ đã thay đổi", "The dossier has changed"),
    "invalid-results": (422, "Giấy tờ kết quả không hợp lệ", "Invalid result papers"),
    "purpose-missing": (400, "Chưa nêu mục đích", "No purpose given"),
    "search-not-set-up": (
        409,
        "Chưa bật tra cứu theo giấy tờ",
        "Search by identity is not set up",
    ),
    "unknown-agency-404": (404, "Không có cơ quan này", "Unknown agency"),
    "unknown-channel": (404, "Không có kênh này", "Unknown channel"),
    "unknown-statement": (404, "Chưa có nội dung khai", "No such statement"),
    "no-rules": (404, "Không có quy định cho ngày này", "No rules for this day"),
    "agency-closed": (409, "Cơ quan đã kết thúc", "Agency closed"),
    "too-many-channels": (409, "Quá nhiều kênh", "Too many channels"),
    "no-portal": (409, "Chưa cấu hình Cổng DVCQG", "No national portal configured"),
}
"""What services behind refuse with; a test holds it against their own errors. One name is a
type that the gateway tells with another status."""

_DETAILS: Mapping[str, tuple[str, str]] = {
    "unauthorised": ("Cần token truy cập", "An access token is needed"),
    "forbidden": (
        "Hệ thống này không có quyền với cơ quan H26",
        "This client may not act for the agency H26",
    ),
    "malformed-json": (
        "Một đối tượng JSON có tên trường lặp lại",
        "A JSON object names one of its members twice",
    ),
    "body-too-large": (
        "Nội dung vượt giới hạn 1048576 byte",
        "The body is above the limit of 1048576 bytes",
    ),
    "unsupported-media-type": ("Cần application/json", "The body must be application/json"),
    "invalid-content": ("Yêu cầu có trường không hợp lệ", "The request has invalid fields"),
    "upstream-unavailable": (
        "Dịch vụ trả lời yêu cầu này tạm thời không phản hồi",
        "The service that answers this request does not respond now",
    ),
}
_FAULT = {
    "pointer": "/applicant/identity/number",
    "detail": "không đúng dạng của loại giấy tờ này",
    "detail_en": "Input should have the form of this type of number",
}


def examples() -> dict[str, dict[str, Any]]:
    """Problem documents by slug (``BEHIND`` by its names)."""
    found = {
        kind.slug: _body(kind.slug, kind.status, kind.title, kind.title_en) for kind in kinds()
    }
    for name, (status, title, title_en) in BEHIND.items():
        found[name] = _body(name.removesuffix(f"-{status}"), status, title, title_en)
    return found


def kinds() -> list[type[Problem]]:
    """Every kind of problem that the gateway tells itself."""
    found: list[type[Problem]] = [Problem, *_below(Problem)]
    return [kind for kind in found if kind.__module__ in _TREES]


_TREES = ("common.errors", errors.__name__)


def _below(kind: type[Problem]) -> Iterator[type[Problem]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _body(slug: str, status: int, title: str, title_en: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": TYPE_BASE + slug,
        "title": title,
        "title_en": title_en,
        "status": status,
    }
    if slug in _DETAILS:
        body["detail"], body["detail_en"] = _DETAILS[slug]
    if slug == "invalid-content":
        body["errors"] = [_FAULT]
    return {**body, "instance": _INSTANCE}
