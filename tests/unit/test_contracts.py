"""The published language: written from the code, and never broken within a major."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from backbone import contracts
from common.contracts import catalog, commands
from common.contracts.base import RequiredNulls
from common.contracts.registry import EVENTS

ROOT = Path(__file__).parents[2]


def received() -> dict:
    return contracts.schema_of("dossier.received.v1")


def test_the_committed_contracts_are_what_the_code_says() -> None:
    assert contracts.drift(ROOT / "contracts") == []


def test_a_changed_contract_is_noticed(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    assert contracts.drift(tmp_path) == []
    (tmp_path / "asyncapi.yaml").write_text("{}")
    (tmp_path / "events" / "stale.schema.json").write_text("{}")
    assert contracts.drift(tmp_path) == ["asyncapi.yaml", "events/stale.schema.json"]


def test_every_event_says_who_tells_it_and_what_it_means() -> None:
    for type_, event in EVENTS.items():
        assert type_.rsplit(".", 1)[1].removeprefix("v").isdecimal()
        assert event.PRODUCER, type_
        assert event.__doc__, type_


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_a_schema_does_not_break_itself(type_: str) -> None:
    schema = contracts.schema_of(type_)
    assert list(contracts.breaks(schema, copy.deepcopy(schema))) == []


def test_a_new_field_breaks_nobody() -> None:
    new = received()
    new["$defs"]["DossierState"]["properties"]["added"] = {"type": "string"}
    assert list(contracts.breaks(received(), new)) == []


def test_a_field_that_disappears_breaks_its_readers() -> None:
    new = received()
    del new["$defs"]["DossierState"]["properties"]["summary"]
    assert "$.dossier.summary is gone" in list(contracts.breaks(received(), new))


def test_a_field_that_may_be_missing_breaks_its_readers() -> None:
    new = received()
    new["$defs"]["DossierState"]["required"].remove("code")
    assert "$.dossier.code is no longer always there" in list(contracts.breaks(received(), new))


def test_another_type_breaks_its_readers() -> None:
    new = received()
    new["$defs"]["StepTaken"]["properties"]["number"] = {"type": "string"}
    assert "$.step.number may now be string" in list(contracts.breaks(received(), new))


def test_a_value_nobody_knew_breaks_its_readers() -> None:
    new = received()
    new["$defs"]["DossierState"]["properties"]["status"]["enum"].append("11")
    assert "$.dossier.status has values it did not have" in list(contracts.breaks(received(), new))


def test_a_change_within_a_list_or_an_optional_field_is_seen() -> None:
    new = received()
    del new["$defs"]["Official"]["properties"]["name"]
    del new["$defs"]["Document"]["properties"]["id"]
    found = list(contracts.breaks(received(), new))
    assert any("official" in fault and "name is gone" in fault for fault in found)
    assert any("documents[]" in fault and "id is gone" in fault for fault in found)


def test_a_broken_schema_is_not_written(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    place = tmp_path / "events" / "dossier.received.v1.schema.json"
    promised = json.loads(place.read_text())
    promised["properties"]["promised"] = {"type": "string"}
    place.write_text(json.dumps(promised))
    with pytest.raises(contracts.BreakingChange, match="promised is gone"):
        contracts.write(tmp_path)


def _inside(annotation: Any) -> Iterator[Any]:
    """Everything that a type is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _parts(model: type[BaseModel], found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """A model and all that stands in it."""
    if model not in found:
        found.add(model)
        for field in model.model_fields.values():
            for one in _inside(field.annotation):
                if isinstance(one, type) and issubclass(one, BaseModel):
                    _parts(one, found)
    return found


@pytest.mark.parametrize("type_", sorted(EVENTS))
def test_what_is_null_can_be_left_out_or_is_told(type_: str) -> None:
    for part in _parts(EVENTS[type_], set()):
        for name, field in part.model_fields.items():
            if NoneType not in get_args(field.annotation):
                continue
            if field.is_required():
                assert issubclass(part, RequiredNulls), f"{part.__name__}.{name}"
            else:
                assert field.get_default() is None, f"{part.__name__}.{name}"


def test_only_what_the_schema_requires_is_told_when_it_is_null() -> None:
    document = commands.Document(id="TL01", name="Giấy khai sinh")
    assert json.loads(document.told()) == {"id": "TL01", "name": "Giấy khai sinh"}
    procedure = commands.ProcedureSummary(
        code="1.000001", name="Khai sinh", field=catalog.Field(code=None, name="Hộ tịch")
    )
    told = json.loads(procedure.told())
    assert told["field"] == {"code": None, "name": "Hộ tịch"}
    assert commands.ProcedureSummary.model_validate(told) == procedure
