"""Sparse fields: names that the providers' documents have, and what they leave of an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.domain import shapes
from gateway.domain.shapes import Shape, UnknownField, chosen, only, shape

CONTRACTS = Path(__file__).parents[2] / "contracts" / "rest"
OWN = {"DOSSIER": {"pending", "submission_id"}, "AGENCY": {"name_vi"}}
"""Members that the gateway itself adds."""


def written(document: dict[str, Any], schema: dict[str, Any]) -> Shape:
    """The names of a schema's members, each with those inside of it."""
    if "$ref" in schema:
        return written(document, document["components"]["schemas"][schema["$ref"].split("/")[-1]])
    names: dict[str, Shape] = {}
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        names.update(written(document, option))
    if schema.get("type") == "array":
        names.update(written(document, schema.get("items", {})))
    for name, inside in schema.get("properties", {}).items():
        names[name] = written(document, inside)
    return names


@pytest.mark.parametrize(
    ("name", "service", "schema"),
    [
        ("DOSSIER", "dossier", "DossierView"),
        ("DOSSIER_LINE", "dossier", "DossierLine"),
        ("STEP", "dossier", "StepView"),
        ("PROCEDURE", "catalog", "PublishedProcedure"),
        ("PROCEDURE_LINE", "catalog", "ProcedureBrief"),
        ("AGENCY", "catalog", "PublishedAgency"),
        ("SUBMISSION", "gateway", "SubmissionAnswer"),
    ],
)
def test_the_names_are_those_of_the_service_that_answers(
    name: str, service: str, schema: str
) -> None:
    document = json.loads((CONTRACTS / f"{service}.openapi.json").read_text())
    provided = written(document, {"$ref": f"#/components/schemas/{schema}"})
    known = {
        field: inside
        for field, inside in getattr(shapes, name).items()
        if field not in OWN.get(name, ())
    }
    if name == "SUBMISSION":  # the problem is chosen as a whole
        provided = {field: {} for field in provided}
    assert known == provided


KNOWN = shape("code name procedure(code name field(code name)) documents(id name) any")


def test_nested_members_are_chosen_by_dotted_names() -> None:
    value = {
        "code": "a",
        "name": "b",
        "procedure": {"code": "1", "name": "2", "field": {"code": "3", "name": "4"}},
        "documents": [{"id": "d1", "name": "x"}, {"id": "d2", "name": None}],
        "any": {"free": [1]},
    }
    wanted = ["code", "procedure.field.name", "documents.id", "any"]
    assert only(chosen(KNOWN, wanted), value) == {
        "code": "a",
        "procedure": {"field": {"name": "4"}},
        "documents": [{"id": "d1"}, {"id": "d2"}],
        "any": {"free": [1]},
    }
    assert only(chosen(KNOWN, ["procedure.code"]), {**value, "procedure": None}) == {
        "procedure": None
    }


@pytest.mark.parametrize(
    "paths", [["procedure", "procedure.code"], ["procedure.code", "procedure"]]
)
def test_the_whole_includes_its_parts_in_either_order(paths: list[str]) -> None:
    value = {"procedure": {"code": "1", "name": "2"}}
    assert only(chosen(KNOWN, paths), value) == value


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("nam", ("any", "code", "documents", "name", "procedure")),
        ("procedure.nam", ("code", "field", "name")),
        ("code.x", ()),
        ("any.free", ()),
    ],
)
def test_an_unknown_name_is_told_what_is_there(path: str, known: tuple[str, ...]) -> None:
    with pytest.raises(UnknownField) as unknown:
        chosen(KNOWN, ["name", path])
    assert unknown.value.known == known
