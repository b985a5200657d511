"""The OpenAPI document is complete: words in both languages, and examples that hold.

A new route is named here until it has its words and examples in ``gateway/api/examples``.
"""

import inspect
import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no types of its own
import pytest

import catalog.errors
import common.errors
import dossier.errors
import gateway.errors
import signature_connector.errors
from gateway.api.bodies import SUBMIT
from gateway.api.completion import operations
from gateway.api.examples import TOLD, problems, schemas
from gateway.api.examples.parameters import PARAMETERS
from gateway.api.lower_level import LowerLevel
from gateway.api.steps import KINDS, STEP
from gateway.main import create_app
from tests.support import gateway as support

ROOT = Path(__file__).parents[2]
PROBLEM = "application/problem+json"
TONED = re.compile(
    "[àáảãạăằắẳẵặâầấẩẫậđèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵ]", re.IGNORECASE
)
BEHIND = ("dossier", "catalog", "signature-connector", "national-portal-sync")
NOT_SHOWN = {
    "too-many-requests",  # what it is refined to is shown
    *("malformed-request", "head-too-large", "head-too-slow"),  # before there is a request
    *("not-in-the-message-log", "not-anchored-yet", "too-many-exchanges", "no-timestamp"),
}
"""Kinds of problems that no client's route tells; the last ones are those of operators' routes."""
FORMATS = jsonschema.FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def is_moment(value: object) -> bool:
    """With a zone; the library itself checks this form only with a further package."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@cache
def document() -> dict[str, Any]:
    made = support.settings("postgresql+asyncpg://nobody@127.0.0.1:9/none", Path("none"))
    return create_app(made).openapi()


OPERATIONS = {
    operation["operationId"]: (path, operation) for path, _, operation in operations(document())
}


def every_operation(function: Any) -> Any:
    return pytest.mark.parametrize("name", sorted(OPERATIONS))(function)


def bodies(media: dict[str, Any]) -> dict[str, Any]:
    """The examples of a media type, by name."""
    found = {}
    for name, given in media.get("examples", {}).items():
        shared = given.get("$ref", "").rpartition("/")[2]
        found[name] = (document()["components"]["examples"][shared] if shared else given)["value"]
    if "example" in media:
        found["example"] = media["example"]
    return found


def faults(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> list[str]:
    """What of a value breaks a schema of a document."""
    checked = {**schema, "components": root["components"]}
    checker = jsonschema.Draft202012Validator(checked, format_checker=FORMATS)
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(value)]


@every_operation
def test_every_operation_has_words_in_both_languages(name: str) -> None:
    _, operation = OPERATIONS[name]
    assert name in TOLD, "it needs an entry in gateway/api/examples"
    vietnamese, _, english = operation["summary"].partition(" · ")
    assert TONED.search(vietnamese)
    assert english
    vietnamese, _, english = operation["description"].partition("\n\n")
    assert TONED.search(vietnamese)
    assert len(english) > 10
    for parameter in operation.get("parameters", ()):
        assert told_in_both(parameter.get("description", "")), parameter["name"]
    for status, answer in operation["responses"].items():
        assert told_in_both(answer["description"]), status


def told_in_both(words: str) -> bool:
    vietnamese, middle, english = words.partition(" · ")
    return bool(middle and vietnamese and english)


@every_operation
def test_every_operation_shows_its_request_and_each_answer(name: str) -> None:
    _, operation = OPERATIONS[name]
    for parameter in operation.get("parameters", ()):
        assert "example" in parameter or "examples" in parameter, parameter["name"]
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        assert bodies(media), kind
    for status, answer in operation["responses"].items():
        if status in {"204", "304"} or (name, status) == ("revoke_token", "200"):
            assert "content" not in answer
            continue
        assert answer["content"], status
        for kind, media in answer["content"].items():
            assert bodies(media) or name == "head_file", f"{status} {kind}"
            assert "schema" in media
        assert "X-Request-Id" in answer["headers"]


@every_operation
def test_every_example_fits_its_schema(name: str) -> None:
    _, operation = OPERATIONS[name]
    for place, schema, value in shown(operation):
        assert faults(schema, value, document()) == [], place


def shown(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example of an operation with its schema."""
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], parameter["schema"], parameter["example"]
    answers = {
        status: answer.get("content", {}) for status, answer in operation["responses"].items()
    }
    request = operation.get("requestBody", {}).get("content", {})
    for status, content in {"request": request, **answers}.items():
        for kind, media in content.items():
            for name, value in bodies(media).items():
                yield f"{status} {kind} {name}", media["schema"], value


@every_operation
def test_every_problem_is_shown_with_its_own_status(name: str) -> None:
    _, operation = OPERATIONS[name]
    for status, answer in operation["responses"].items():
        for body in bodies(answer.get("content", {}).get(PROBLEM, {})).values():
            assert body["status"] == int(status)
    further = {slug if isinstance(slug, str) else slug.slug for slug in TOLD[name].refusals}
    statuses = {str(problems.examples()[slug]["status"]) for slug in further}
    assert statuses <= set(operation["responses"]), "a refusal with a status it does not have"


def test_every_kind_of_problem_is_shown_somewhere() -> None:
    kinds = {kind.slug for kind in problems.kinds()} | set(problems.BEHIND)
    assert kinds - set(document()["components"]["examples"]) == NOT_SHOWN


def test_problems_of_services_behind_are_told_as_they_tell_them() -> None:
    theirs = {
        (kind.slug, kind.status, kind.title, kind.title_en)
        for module in (dossier.errors, catalog.errors, signature_connector.errors)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, common.errors.Problem)
    }
    told = {
        (name.removesuffix(f"-{status}"), status, title, title_en)
        for name, (status, title, title_en) in problems.BEHIND.items()
    }
    assert told <= theirs


def test_no_words_are_left_over() -> None:
    assert set(TOLD) <= set(OPERATIONS)
    known = {
        parameter["name"].lower()
        for _, operation in OPERATIONS.values()
        for parameter in operation.get("parameters", ())
    }
    assert set(PARAMETERS) <= known
    assert set(schemas.MEANINGS) <= set(document()["components"]["schemas"])


def test_every_component_says_in_both_languages_what_it_is() -> None:
    for name, schema in document()["components"]["schemas"].items():
        assert name in schemas.MEANINGS, name
        assert schema["description"].startswith(schemas.MEANINGS[name])


def test_every_tag_is_described() -> None:
    used = {tag for _, operation in OPERATIONS.values() for tag in operation["tags"]}
    described = {tag["name"]: tag["description"] for tag in document()["tags"]}
    assert set(described) == used
    assert all(told_in_both(words) for words in described.values())


def test_the_ways_to_log_in_are_named() -> None:
    ways = document()["components"]["securitySchemes"]
    assert {way["type"] for way in ways.values()} == {"http", "oauth2", "mutualTLS"}
    _, token = OPERATIONS["token"]
    assert {way for asked in token["security"] for way in asked} == set(ways) - {"HTTPBearer"}


def test_no_address_of_the_document_leads_anywhere_else() -> None:
    text = json.dumps(document(), ensure_ascii=False)
    assert not re.findall(r"https?://[A-Za-z0-9]", text)
    assert [server["url"] for server in document()["servers"]] == ["/"]
    assert "contact" not in document()["info"]


def behind() -> Iterator[Any]:
    """Answers that a service behind gives, with that service's own schema of them."""
    theirs: dict[tuple[str, str, str], tuple[dict[str, Any], dict[str, Any]]] = {}
    for service in BEHIND:
        other = json.loads((ROOT / f"contracts/rest/{service}.openapi.json").read_text("utf-8"))
        for path, method, operation in operations(other):
            for status, answer in operation["responses"].items():
                media = answer.get("content", {}).get("application/json")
                if media and status.startswith("2"):
                    place = re.sub(r"\{[^}]*\}", "{}", path), method, status
                    theirs[place] = media["schema"], other
    for path, method, operation in operations(document()):
        for status, answer in operation["responses"].items():
            place = re.sub(r"\{[^}]*\}", "{}", path), method, status
            if place in theirs:
                for name, value in bodies(answer["content"]["application/json"]).items():
                    case = f"{operation['operationId']} {status} {name}"
                    yield pytest.param(*theirs[place], value, id=case)


@pytest.mark.parametrize(("schema", "root", "value"), list(behind()))
def test_what_is_shown_is_what_the_service_behind_answers(
    schema: dict[str, Any], root: dict[str, Any], value: Any
) -> None:
    if value.get("state") == "pending":
        return  # the gateway's own answer
    assert faults(schema, value, root) == []


def test_the_requests_that_are_shown_are_taken() -> None:
    for body in TOLD["submit_dossier"].request.values():
        SUBMIT.validate_json(json.dumps(body))
    for body in TOLD["take_step"].request.values():
        STEP.validate_json(json.dumps(body))
    assert set(TOLD["take_step"].request) == KINDS
    for body in TOLD["exchange_submit"].request.values():
        LowerLevel.model_validate(body).submission()


def test_the_documents_errors_are_those_of_the_code() -> None:
    assert gateway.errors.DossierCodeTaken in problems.kinds()
    shown_problem = document()["components"]["examples"]["dossier-code-taken"]["value"]
    assert shown_problem["title"] == gateway.errors.DossierCodeTaken.title
