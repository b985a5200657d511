"""The OpenAPI document: bodies that are read by hand, and the problems of every route."""

from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from common.openapi import REF, Problem, problem_responses
from gateway.api.bodies import Submit
from gateway.api.completion import complete
from gateway.api.examples import words
from gateway.api.lower_level import ClientCredentials, LowerLevel, NextValue
from gateway.api.preferences import CONDITION, LONGEST_CONDITION, LONGEST_WAIT
from gateway.api.steps import AnyStep

problems = partial(problem_responses, words.MEANINGS)
"""The responses of a route that are problems, by their status codes."""

READ = problems(401, 403, 404, 422, 502, 503)
"""What any proxied read can end in."""

WRITE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 503)
"""What intake can end in; under ``Prefer: wait`` also what dossier refuses with."""


def json_body(model: str) -> dict[str, Any]:
    """A required JSON body of a component."""
    schema = {"$ref": REF.format(model=model)}
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
            "description": f"`wait=N`: wait up to N seconds (at most {LONGEST_WAIT}) for the "
            "outcome; `respond-async`: do not (RFC 7240).",
            "schema": {"type": "string"},
            "example": "wait=10",
        },
    ]


def if_match_header() -> dict[str, Any]:
    """The condition of a step."""
    return {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "description": "`ETag` of the dossier as it was read, or several, or `*`. Part of the "
        "request: the same key with another condition is another request.",
        "schema": {"type": "string", "maxLength": LONGEST_CONDITION, "pattern": CONDITION},
        "example": '"7"',
    }


def describe(app: FastAPI) -> None:
    """Give the application its document."""
    app.openapi = partial(_document, app)  # type: ignore[method-assign]  # FastAPI's own way


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=words.TITLE,
            version=app.version,
            description=words.DESCRIPTION,
            routes=app.routes,
        )
        document["components"]["schemas"].update(_schemas())
        complete(document)
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
        ref_template=REF,
    )
    steps = TypeAdapter[Any](AnyStep).json_schema(ref_template=REF)
    found: dict[str, Any] = {**models["$defs"], **steps.pop("$defs")}
    found["Step"] = {"title": "Step", "description": "One step of a dossier's life.", **steps}
    return found
