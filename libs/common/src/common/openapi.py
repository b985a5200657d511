"""How OpenAPI documents tell of problems (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from common.problems import MEDIA_TYPE

REF = "#/components/schemas/{model}"
"""Where a component stands in a document."""


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


def problem_responses(
    meanings: Mapping[int, str], *statuses: int
) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that are problems.

    Args:
        meanings: of HTTP status codes, in words.
        statuses: those that the route can end in.
    """
    schema = {"$ref": REF.format(model="Problem")}
    return {
        status: {"description": meanings[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }
