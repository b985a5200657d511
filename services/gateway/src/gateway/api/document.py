"""The OpenAPI document: bodies that are read by hand, and the problems of every route."""

from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import models_json_schema

from common.problems import MEDIA_TYPE
from gateway.api.bodies import Submit
from gateway.api.lower_level import ClientCredentials, LowerLevel, NextValue
from gateway.api.reading import LONGEST_WAIT
from gateway.api.steps import AnyStep

_REF = "#/components/schemas/{model}"

DESCRIPTION = """
The one door for other government systems.

Writes are taken in durably and answered with 202 and a submission, which ends `applied` or
`refused`. `Prefer: wait=N` waits up to 30 seconds for that. Repeating a request is safe: the same
`Idempotency-Key`, or without one the same dossier code, with the same content gives the same
submission. A dossier that comes without a code is given one; then the key is required. A dossier
code whose submission was refused is free again; to try unchanged content anew, send it with a new
`Idempotency-Key`.

Every error is a problem document (RFC 9457) with a stable `type`, in Vietnamese and English.
"""


class FieldFault(BaseModel):
    """A faulty field."""

    pointer: str = Field(description="JSON pointer")
    detail: str
    detail_en: str


class Problem(BaseModel):
    """What is wrong (RFC 9457)."""

    type: str
    title: str
    title_en: str
    status: int
    detail: str | None = None
    detail_en: str | None = None
    errors: list[FieldFault] = []
    instance: str | None = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problems."""
    schema = {"$ref": _REF.format(model="Problem")}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


_MEANINGS = {
    400: "Malformed request",
    401: "No valid access token",
    403: "Without the right asked for",
    404: "No such thing, or none this client may know of",
    405: "Method not allowed",
    408: "The body did not arrive in time",
    409: "Conflict with what is there",
    410: "No longer valid",
    412: "The state has changed",
    413: "Body too large",
    415: "Unsupported media type or coding",
    422: "Invalid content",
    500: "Internal error",
    502: "The service behind failed",
    503: "Temporarily not possible; see Retry-After",
}

READ = problems(401, 403, 404, 422, 502, 503)
"""What any proxied read can end in."""

WRITE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 503)
"""What intake can end in; under ``Prefer: wait`` also what dossier refuses with."""


def json_body(model: str) -> dict[str, Any]:
    """A required JSON body of a component."""
    schema = {"$ref": _REF.format(model=model)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def intake_headers(*, key_required: bool) -> list[dict[str, Any]]:
    """The headers of durable intake."""
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": key_required,
            "description": "Names this request: sent again with it, it is done once.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
        },
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": f"`wait=N`: wait up to N seconds (at most {LONGEST_WAIT}).",
            "schema": {"type": "string", "pattern": r"^[ -~]{0,200}$"},
            "example": "wait=10",
        },
    ]


def describe(app: FastAPI) -> None:
    """Give the application its document."""
    app.openapi = partial(_document, app)  # type: ignore[method-assign]  # FastAPI's own way


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title="Liên thông",
            version=app.version,
            description=DESCRIPTION,
            routes=app.routes,
        )
        components = document["components"]
        components["schemas"].update(_schemas())
        components["securitySchemes"]["ClientBasic"] = {
            "type": "http",
            "scheme": "basic",
            "description": "client_id and client_secret, each form-encoded (RFC 6749 §2.3.1)",
        }
        app.openapi_schema = document
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    _, models = models_json_schema(
        [
            (Submit, "validation"),
            (LowerLevel, "validation"),
            (NextValue, "validation"),
            (ClientCredentials, "validation"),
            (Problem, "serialization"),
        ],
        ref_template=_REF,
    )
    steps = TypeAdapter[Any](AnyStep).json_schema(ref_template=_REF)
    found: dict[str, Any] = {**models["$defs"], **steps.pop("$defs")}
    found["Step"] = {"title": "Step", "description": "One step of a dossier's life.", **steps}
    return found
