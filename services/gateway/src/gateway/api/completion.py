"""Completes the OpenAPI document: words in both languages, examples, headers, ways to log in.

It works on the finished document, so that routes stay short. What it has no words or examples for
it leaves as it is: the tests of the document name that.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from common.problems import MEDIA_TYPE
from gateway.api.examples import TOLD, problems, schemas, words
from gateway.api.examples.form import Told
from gateway.api.examples.parameters import PARAMETERS, PLACES
from gateway.errors import UpstreamAway

_EXAMPLE = "#/components/examples/"
_NOTHING = Told("")
_EXCHANGE = "exchange_"
_JSON = "application/json"
_INTERNAL = 500
_BEFORE_ROUTES = {"body-too-slow", "timed-out", "sandbox-unavailable"}


def complete(document: dict[str, Any]) -> None:
    """Complete the document in place."""
    document["servers"] = [{"url": "/", "description": words.SERVER}]
    components = document["components"]
    components["securitySchemes"] = {name: dict(way) for name, way in words.SECURITY.items()}
    known = problems.examples()
    used: set[str] = set()
    tags: set[str] = set()
    for path, method, operation in operations(document):
        name = operation["operationId"]
        told = TOLD.get(name, _NOTHING)
        tags.update(operation.get("tags", ()))
        operation["tags"] = [_english(tag) for tag in operation.get("tags", ())]
        _describe(operation, told)
        for parameter in operation.get("parameters", ()):
            _complete_parameter(parameter, path, told)
        for media in operation.get("requestBody", {}).get("content", {}).values():
            _show(media, told.request)
        if method == "head":
            told = Told(told.vi, refusals=told.refusals)  # it answers without a body
        _complete_answers(operation, told, known, used)
        _complete_security(operation, name)
    document["tags"] = [
        {"name": _english(tag), "description": f"{tag.partition(' · ')[0]}: {meaning}"}
        for tag, meaning in words.TAGS.items()
        if tag in tags
    ]
    components["examples"] = {
        name: {"summary": f"{body['title']} · {body['title_en']}", "value": body}
        for name, body in sorted(known.items())
        if name in used
    }
    components["headers"] = {
        name: {"description": meaning, "schema": {"type": "string"}, "example": value}
        for name, (meaning, value) in words.HEADERS.items()
    }
    for name, schema in components["schemas"].items():
        if name in schemas.MEANINGS:
            schema["description"] = _both(schemas.MEANINGS[name], schema.get("description", name))


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _english(tag: str) -> str:
    """What generated clients call the group of operations."""
    return tag.rpartition(" · ")[2]


def _both(vietnamese: str, english: str) -> str:
    return f"{vietnamese}\n\n{english.strip()}"


def _describe(operation: dict[str, Any], told: Told) -> None:
    if told.vi:
        operation["description"] = _both(told.vi, operation.get("description", ""))


def _complete_parameter(parameter: dict[str, Any], path: str, told: Told) -> None:
    name = parameter["name"].lower()
    meaning, value = next(
        (
            known
            for (beginning, place), known in PLACES.items()
            if place == name and path.startswith(beginning)
        ),
        PARAMETERS.get(name, (None, None)),
    )
    value = told.parameters.get(name, value)
    if meaning:
        parameter["description"] = meaning
    if value is not None and "examples" not in parameter:
        parameter["example"] = value


def _show(media: dict[str, Any], bodies: Mapping[str, Any], *, html: bool | None = None) -> None:
    """Put bodies in as examples; of those with two media types the pages are the texts."""
    fitting = {
        name: {"summary": name, "value": body}
        for name, body in bodies.items()
        if html is None or isinstance(body, str) == html
    }
    if fitting and "examples" not in media and "example" not in media:
        media["examples"] = fitting


def _complete_answers(
    operation: dict[str, Any], told: Told, known: Mapping[str, dict[str, Any]], used: set[str]
) -> None:
    answers = operation["responses"]
    # What stands before every route can say these, whatever the route.
    anywhere = [429, _INTERNAL, 503, *([408] if "requestBody" in operation else [])]
    for status in anywhere:
        schema = {"$ref": "#/components/schemas/Problem"}
        answers.setdefault(str(status), {"content": {MEDIA_TYPE: {"schema": schema}}})
    further = {slug if isinstance(slug, str) else slug.slug for slug in told.refusals}
    further |= _BEFORE_ROUTES
    if "502" in answers:
        further.add(UpstreamAway.slug)
    for number, answer in answers.items():
        status = int(number)
        standard = answer.get("description", "")
        if " · " not in standard and status in words.MEANINGS:
            answer["description"] = words.MEANINGS[status]
        content = answer.get("content", {})
        if status < 400:
            for kind, media in content.items():
                several = len(content) > 1 and "text/html" in content
                bodies = told.answers.get(status, {})
                _show(media, bodies, html=(kind == "text/html") if several else None)
        else:
            names = [
                name
                for name, body in known.items()
                if body["status"] == status
                and (name in further or problems.USUAL.get(status) == name)
            ]
            _show_refusals(operation, status, content, names, known, used)
        _name_headers(answer, status, answers)
    operation["responses"] = dict(sorted(answers.items()))


def _show_refusals(
    operation: dict[str, Any],
    status: int,
    content: dict[str, dict[str, Any]],
    names: list[str],
    known: Mapping[str, dict[str, Any]],
    used: set[str],
) -> None:
    if MEDIA_TYPE in content:
        used.update(names)
        shown = {name: {"$ref": _EXAMPLE + name} for name in names}
        content[MEDIA_TYPE].setdefault("examples", shown)
    elif _JSON in content and operation["operationId"].startswith(_EXCHANGE):
        bodies = {
            name: {
                "code": name,
                "message": known[name].get("detail", known[name]["title"]),
                "data": None,
            }
            for name in names
        }
        _show(content[_JSON], bodies)
    elif _JSON in content:  # RFC 6749 §5.2
        _show(content[_JSON], words.TOKEN_FAULTS.get(status, {}))


def _name_headers(answer: dict[str, Any], status: int, answers: Mapping[str, Any]) -> None:
    """The headers that answers of this status carry; those that only some carry where they do."""
    names = ["X-Request-Id", *words.HEADERS_OF.get(status, ())]
    if status == 200 and "304" in answers:
        names.append("ETag")
    schema = answer.get("content", {}).get(_JSON, {}).get("schema", {})
    if status == 202 and schema.get("$ref", "").endswith("/SubmissionAnswer"):
        names.append("Location")
    headers = answer.setdefault("headers", {})
    for name in names:
        headers.setdefault(name, {"$ref": f"#/components/headers/{name}"})


def _complete_security(operation: dict[str, Any], name: str) -> None:
    if name in {"token", "revoke_token"}:
        operation["security"] = [dict(way) for way in words.TOKEN_SECURITY]
    elif name in {"download_file", "head_file"}:  # a signed link is enough
        operation["security"] = [{}, {"HTTPBearer": []}]
    else:
        operation.setdefault("security", [])
