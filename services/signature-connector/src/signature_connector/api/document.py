"""What the OpenAPI document says beside the routes' own types: how each of them can fail, and
headers and bodies that are read by hand."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI

from common.openapi import REF, Problem, problem_responses

_NOT_SENT = ("HTTPValidationError", "ValidationError")
"""FastAPI's own form of a 422, which nobody is told here."""
_MEANINGS: Mapping[int, str] = {
    400: "Malformed request",
    401: "No valid access token",
    403: "Without the right asked for",
    404: "No such thing, or none this client may know of",
    409: "Conflict with what is there",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Invalid content",
    429: "Too many requests; see Retry-After",
    503: "Temporarily not possible; see Retry-After",
}


problems = partial(problem_responses, _MEANINGS)
"""The responses of a route that are problems, by their status codes."""

KEY = r"^[\x21-\x7e]{1,255}$"
"""An idempotency key: visible ASCII."""
KEY_HEADER: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "Names this request: sent again with it, nobody is asked twice",
            "schema": {"type": "string", "pattern": KEY},
        }
    ]
}
"""Read by hand, since one that is missing is told in words of its own."""


def describe(app: FastAPI) -> None:
    """Give the application its document."""
    app.openapi = partial(_document, app)  # type: ignore[method-assign]  # FastAPI's own way


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        schemas = document["components"]["schemas"]
        for name in _NOT_SENT:
            schemas.pop(name, None)
        told = Problem.model_json_schema(mode="serialization", ref_template=REF)
        schemas |= {**told.pop("$defs"), "Problem": told}
    return app.openapi_schema or {}
