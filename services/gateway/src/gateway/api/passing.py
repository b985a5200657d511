"""What passes between a client and the service behind that answers it."""

from typing import Any
from urllib.parse import quote

from fastapi import Request, Response

from common.middleware import request_id
from common.telemetry import current_traceparent
from gateway.api.document import READ
from gateway.clients import Answer

_PASSED = ("if-none-match", "if-modified-since", "accept-language")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_OBJECT: dict[str, Any] = {"content": {"application/json": {"schema": {"type": "object"}}}}

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _OBJECT,
    304: {"description": "Unchanged since `If-None-Match` or `If-Modified-Since`"},
    **READ,
}


def passed_headers(request: Request, *, token: bool) -> dict[str, str]:
    """What the service behind gets to see; the caller's token only where it checks rights."""
    passed = [*_PASSED, *(["authorization"] if token else [])]
    headers = {name: value for name in passed if (value := request.headers.get(name))}
    if token and (purpose := request.headers.get("x-purpose")) is not None:
        # Bytes beyond ASCII (UTF-8) go on percent-encoded: not every hop takes them.
        headers["x-purpose"] = quote(purpose.encode("latin-1"), safe=_PRINTABLE)
    headers["x-request-id"] = request_id.get()
    if traceparent := current_traceparent():
        headers["traceparent"] = traceparent
    return headers


def given(**asked: str | int | None) -> dict[str, str | int]:
    """The parameters that were asked with."""
    return {name: value for name, value in asked.items() if value is not None}


def path_part(value: str) -> str:
    """A value as a segment of a path."""
    return quote(value, safe="")


def passed_on(answer: Answer) -> Response:
    """The answer of the service behind."""
    return Response(answer.content, answer.status, headers=dict(answer.headers))
