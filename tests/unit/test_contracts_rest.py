"""A published REST document is never broken within its version."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backbone import contracts
from backbone.compatibility import breaks

ROOT = Path(__file__).parents[2]
Change = Callable[[dict[str, Any]], object]


def document() -> dict[str, Any]:
    """A small document with one of everything."""
    return {
        "paths": {
            "/things/{code}": {
                "put": {
                    "operationId": "put_thing",
                    "security": [{"Token": []}],
                    "parameters": [
                        {
                            "name": "code",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string"},
                        },
                        {
                            "name": "X-Why",
                            "in": "header",
                            "schema": {"type": "string", "maxLength": 9},
                        },
                    ],
                    "requestBody": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/New"}}
                        }
                    },
                    "responses": {
                        "200": {
                            "headers": {"ETag": {}},
                            "content": {
                                "application/json": {
                                    "schema": {"$ref": "#/components/schemas/Told"}
                                }
                            },
                        },
                        "304": {},
                        "409": {},
                    },
                }
            },
            "/open": {"get": {"operationId": "open", "responses": {"200": {}}}},
        },
        "components": {
            "schemas": {
                "New": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"},
                        "kind": {"enum": ["a", "b"], "type": "string"},
                        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                        "step": {
                            "oneOf": [{"$ref": "#/components/schemas/Part"}],
                            "discriminator": {
                                "propertyName": "kind",
                                "mapping": {"part": "#/components/schemas/Part"},
                            },
                        },
                    },
                },
                "Part": {"type": "object", "properties": {"id": {"type": "integer"}}},
                "Told": {
                    "type": "object",
                    "required": ["name", "state"],
                    "properties": {
                        "name": {"type": "string"},
                        "state": {"type": "string", "enum": ["open", "done"]},
                        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                    },
                },
            }
        },
    }


def put(new: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = new["paths"]["/things/{code}"]["put"]
    return found


def schema(new: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = new["components"]["schemas"][name]
    return found


def field(new: dict[str, Any], model: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema(new, model)["properties"][name]
    return found


NARROWER: dict[str, tuple[Change, str]] = {
    "operation": (lambda new: new["paths"]["/things/{code}"].pop("put"), "is gone"),
    "path": (lambda new: new["paths"].pop("/open"), "GET /open is gone"),
    "name of operation": (lambda new: put(new).update(operationId="x"), "called it put_thing"),
    "status": (lambda new: put(new)["responses"].pop("409"), "status 409 is gone"),
    "header": (lambda new: put(new)["responses"]["200"].pop("headers"), "header ETag is gone"),
    "media": (
        lambda new: put(new)["responses"]["200"].update(content={"text/html": {}}),
        "application/json is gone",
    ),
    "request media": (lambda new: put(new)["requestBody"].update(content={}), "is gone"),
    "body required": (lambda new: put(new)["requestBody"].update(required=True), "body has to"),
    "parameter": (lambda new: put(new)["parameters"].pop(), "header x-why is gone"),
    "parameter required": (
        lambda new: put(new)["parameters"][1].update(required=True),
        "x-why has to be sent",
    ),
    "new parameter required": (
        lambda new: put(new)["parameters"].append(
            {"name": "q", "in": "query", "required": True, "schema": {}}
        ),
        "query q has to be sent",
    ),
    "parameter shorter": (
        lambda new: put(new)["parameters"][1]["schema"].update(maxLength=8),
        "lower maxLength",
    ),
    "login": (lambda new: put(new).update(security=[{"Other": []}]), "Token is not enough"),
    "login where none was": (
        lambda new: new["paths"]["/open"]["get"].update(security=[{"Token": []}]),
        "no login is not enough",
    ),
    "sent field": (lambda new: schema(new, "New")["properties"].pop("kind"), ".kind is gone"),
    "sent field required": (
        lambda new: schema(new, "New")["required"].append("kind"),
        ".kind has to be sent",
    ),
    "sent value": (lambda new: field(new, "New", "kind")["enum"].pop(), "every value"),
    "sent values named": (lambda new: field(new, "New", "name").update(enum=["a"]), "every value"),
    "sent type": (lambda new: field(new, "New", "name").update(type="integer"), "takes string"),
    "sent null": (lambda new: field(new, "New", "size")["anyOf"].pop(), "no longer takes null"),
    "sent pattern": (lambda new: field(new, "New", "name").update(pattern="^b"), "pattern"),
    "sent format": (lambda new: field(new, "New", "name").update(format="uuid"), "format"),
    "sent longer": (lambda new: field(new, "New", "name").update(minLength=2), "higher minLength"),
    "sent limit": (lambda new: field(new, "New", "parts").update(maxItems=2), "lower maxItems"),
    "sent variant": (
        lambda new: field(new, "New", "step")["discriminator"]["mapping"].clear(),
        "no longer takes part",
    ),
    "sent further fields": (
        lambda new: schema(new, "New").update(additionalProperties=False),
        "takes no further fields",
    ),
    "sent list's field": (
        lambda new: schema(new, "Part")["properties"].pop("id"),
        "body.parts[].id is gone",
    ),
    "told field": (lambda new: schema(new, "Told")["properties"].pop("name"), "200.name is gone"),
    "told field at times": (
        lambda new: schema(new, "Told")["required"].remove("name"),
        "name is no longer always there",
    ),
    "told value": (
        lambda new: field(new, "Told", "state")["enum"].append("x"),
        "values it did not",
    ),
    "told type": (
        lambda new: field(new, "Told", "name").update(type=["string", "null"]),
        "may now be null",
    ),
}

WIDER: dict[str, Change] = {
    "operation": lambda new: new["paths"].update({"/new": {"get": {"responses": {}}}}),
    "status": lambda new: put(new)["responses"].update({"429": {}}),
    "unchanged": lambda new: put(new)["responses"].pop("304"),
    "parameter": lambda new: put(new)["parameters"].append(
        {"name": "q", "in": "query", "schema": {"type": "string"}}
    ),
    "case of a header": lambda new: put(new)["parameters"][1].update(name="x-why"),
    "login": lambda new: put(new)["security"].append({"Certificate": []}),
    "sent field": lambda new: schema(new, "New")["properties"].update(more={"type": "string"}),
    "sent value": lambda new: field(new, "New", "kind")["enum"].append("c"),
    "sent limit": lambda new: field(new, "New", "name").update(maxLength=99, minLength=0),
    "sent field optional": lambda new: schema(new, "New")["required"].clear(),
    "told field": lambda new: schema(new, "Told")["properties"].update(more={"type": "string"}),
    "told value": lambda new: field(new, "Told", "state")["enum"].pop(),
    "told always": lambda new: schema(new, "Told")["required"].append("parts"),
    "words": lambda new: schema(new, "Told").update(description="x", examples=[1]),
}


def found(change: Change) -> list[str]:
    new = document()
    change(new)
    return list(breaks(document(), new))


@pytest.mark.parametrize("case", NARROWER)
def test_a_change_that_breaks_clients_is_refused(case: str) -> None:
    change, said = NARROWER[case]
    assert any(said in fault for fault in found(change)), found(change)


@pytest.mark.parametrize("case", WIDER)
def test_a_change_that_breaks_nobody_is_allowed(case: str) -> None:
    assert found(WIDER[case]) == []


def published() -> dict[str, Any]:
    text = (ROOT / "contracts/published/gateway.openapi.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_a_document_does_not_break_itself() -> None:
    assert list(breaks(published(), copy.deepcopy(published()))) == []


def test_the_gateway_keeps_what_it_has_published() -> None:
    now = dict(contracts.openapi())["gateway"]
    assert list(breaks(published(), now)) == []


def test_a_document_that_breaks_clients_is_not_written(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    baseline = contracts.publish(tmp_path)
    promised = json.loads(baseline.read_text("utf-8"))
    promised["paths"]["/v1/promised"] = {"get": {"operationId": "promised", "responses": {}}}
    baseline.write_text(json.dumps(promised))
    with pytest.raises(contracts.BreakingChange, match="GET /v1/promised is gone"):
        contracts.write(tmp_path)
    with pytest.raises(contracts.BreakingChange, match="GET /v1/promised is gone"):
        contracts.publish(tmp_path)
