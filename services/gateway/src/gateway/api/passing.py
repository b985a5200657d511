"""What passes between a client and the service behind that answers it."""

from typing import Any
from urllib.parse import quote

from fastapi import Request, Response

from common.middleware import request_id
from common.telemetry import current_traceparent
from gateway.api.document import READ
from gateway.api.parts import gateway_of
from gateway.api.preferences import preferences
from gateway.clients import Answer

_PASSED = ("if-none-match", "if-modified-since", "accept-language")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_OBJECT: dict[str, Any] = {"content": {"application/json": {"schema": {"type": "object"}}}}

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _OBJECT,
    304: {"description": "Unchanged since `If-None-Match` or `If-Modified-Since`"},
    **READ,
}
PAGE: dict[int | str, dict[str, Any]] = {
    **ANSWERS,
    200: {
        **_OBJECT,
        "headers": {
            "Link": {
                "description": 'The next page, `rel="next"` (RFC 8288); none at the end',
                "schema": {"type": "string"},
            }
        },
    },
}
"""Of a list."""


def passed_headers(request: Request, *, token: bool) -> dict[str, str]:
    """What the service behind gets to see.

    Where it checks rights, a token of the gateway's own that says what the caller may do now; the
    caller's token goes nowhere.
    """
    headers = {
        name: value
        for name in _PASSED
        # A condition or language with other characters than ASCII is none, and no hop takes it.
        if (value := request.headers.get(name)) and value.isascii()
    }
    if token:
        tokens = gateway_of(request).tokens
        headers["authorization"] = f"Bearer {tokens.inner(request.state.principal)}"
    if token and (purpose := request.headers.get("x-purpose")) is not None:
        # Bytes beyond ASCII (UTF-8) go on percent-encoded: not every hop takes them.
        headers["x-purpose"] = quote(purpose.encode("latin-1"), safe=_PRINTABLE)
    if patience := preferences(request.headers).wait:
        headers["prefer"] = f"wait={patience}"
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
