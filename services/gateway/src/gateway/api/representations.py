"""How an answer of a service behind is shown: its language, the fields asked for, the next page.

Each step keeps what a client goes on with: the entity tag names the version before its first dot
(``If-Match`` looks at nothing else), and ``next`` stays whatever the fields are.
"""

from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import ParamTypes
from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from starlette.datastructures import MutableHeaders

from common.errors import Invalid
from gateway.api.languages import english_first, language_of, varies
from gateway.clients import Answer
from gateway.domain.shapes import Shape, UnknownField, chosen, only, pattern

_NAME = r"[a-z0-9_]{1,60}(\.[a-z0-9_]{1,60}){0,5}"

FIELDS = Query(
    max_length=2000,
    pattern=rf"^{_NAME}(,{_NAME})*$",
    description="Only these members, separated by commas; those inside of one by dotted names, "
    "as `code,procedure.name`. Of a list, of each of its items.",
)


class Members:
    """Has the document say which names ``fields`` may hold; ``fields_of`` refuses others, better
    told than by a pattern."""

    def __init__(self, known: Shape) -> None:
        self._pattern = pattern(known)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self._pattern}


def fields_of(fields: str | None, known: Shape) -> Shape | None:
    """The members that are asked for; None is all.

    Raises:
        Invalid: one is not known.
    """
    if fields is None:
        return None
    try:
        return chosen(known, fields.split(","))
    except UnknownField as unknown:
        names = ", ".join(unknown.known) or "–"
        raise Invalid(
            "fields có tên không được biết",
            "fields has a name that is not known",
            errors=[
                {
                    "pointer": "/fields",
                    "detail": f"ở vị trí này có: {names}",
                    "detail_en": f"in its place there are: {names}",
                }
            ],
        ) from None


def shown(
    request: Request,
    answer: Answer,
    *,
    fields: Shape | None = None,
    page: str | None = None,
    extra: Mapping[str, Any] | None = None,
    tag: str | None = None,
    bilingual: bool = False,
) -> Response:
    """The answer of a service behind, as the client asked for it.

    Args:
        fields: what of it; of each of its ``items`` where it is a list.
        page: the parameter that goes on with a list, if it is one.
        extra: members besides those of the answer.
        tag: a word for the entity tag, where ``extra`` makes it another representation.
        bilingual: whether its texts can have both languages.
    """
    headers = MutableHeaders(dict(answer.headers))
    if answer.status != 200:
        return Response(answer.content, answer.status, headers=dict(headers))
    content = answer.content
    words = [tag] if tag else []
    english = bilingual and language_of(request.headers) == "en"
    if english or page or extra is not None or fields is not None:
        body = orjson.loads(content)
        if isinstance(body, dict):
            if english and english_first(body):
                words.append("en")
            body.update(extra or {})
            if page and (link := next_link(request, page, body)):
                headers["link"] = link
            if fields is not None:
                body = _chosen(body, fields, listed=page is not None)
            content = orjson.dumps(body)
    if bilingual:
        headers["content-language"] = "en, vi" if "en" in words else "vi"
        varies(headers)
    if "etag" in headers and words:
        headers["etag"] = f'{headers["etag"][:-1]}.{".".join(words)}"'
    if unchanged(request.headers, headers):
        kept = {k: v for k, v in headers.items() if k not in ("content-type", "content-length")}
        return Response(status_code=304, headers=kept)
    return Response(content, headers=dict(headers))


def _chosen(body: dict[str, Any], fields: Shape, *, listed: bool) -> dict[str, Any]:
    if not listed:
        return dict(only(fields, body))
    return {**body, "items": only(fields, body.get("items", []))}


def next_link(request: Request, page: str, body: Mapping[str, Any]) -> str | None:
    """The ``Link`` to the next page (RFC 8288), with all parameters of this one; None at the end.

    A feed's ``next`` is told at its end, too; then ``more`` says that there is nothing yet.
    """
    following = body.get("next")
    if following is None or body.get("more") is False:
        return None
    asked = [(name, value) for name, value in request.query_params.items() if name != page]
    return f'<{request.url.path}?{urlencode([*asked, (page, str(following))])}>; rel="next"'


def unchanged(asked: Mapping[str, str], told: Mapping[str, str]) -> bool:
    """Whether the client has this already (RFC 9110 §13.1): ``If-None-Match`` decides alone where
    it is given, ``If-Modified-Since`` otherwise."""
    if (tags := asked.get("if-none-match")) is not None:
        known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
        tag = told.get("etag", "")
        return bool(tag) and ("*" in known or tag.removeprefix("W/") in known)
    since, changed = asked.get("if-modified-since"), told.get("last-modified")
    if not since or not changed:
        return False
    try:
        return parsedate_to_datetime(changed) <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False  # a date that is none is ignored


async def known_parameters(request: Request) -> None:
    """A dependency of routes whose parameters are taken at their word.

    A misspelt filter that is passed over would show more than was asked for.

    Raises:
        Invalid: a parameter that the route does not know, or one that is there twice.
    """
    given: Sequence[tuple[str, str]] = request.query_params.multi_items()
    if not given:
        return
    route = request.scope["route"]
    known = {
        field.alias
        for field in get_flat_params(route.dependant)
        if getattr(field.field_info, "in_", None) == ParamTypes.query
    }
    names = [name for name, _ in given]
    if not known.issuperset(names):
        told = ", ".join(sorted(known)) or "–"
        raise Invalid(
            f"Có tham số không được biết; các tham số của địa chỉ này: {told}",
            f"A parameter is not known; those of this address are: {told}",
        )
    if len(set(names)) < len(names):
        raise Invalid("Một tham số có hai lần", "A parameter is there twice")


STRICT_PARAMETERS = Depends(known_parameters)
