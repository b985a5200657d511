"""Rules about personal data: normal forms, what is erased, how long it is kept, its settings."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_origin
from uuid import uuid4

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from common.blind import BlindIndex
from common.contracts.dossier import DossierState, StepTaken
from common.settings import ServiceSettings
from dossier.domain import persons
from dossier.domain.erasing import erased, erased_step
from dossier.domain.masking import Applicant
from dossier.domain.model import Dossier
from dossier.domain.retention import Policy, load
from dossier.settings import Settings

NOW = datetime(2026, 11, 21, tzinfo=UTC)

# The blind index


def key(letter: str, size: int = 32) -> SecretStr:
    return SecretStr(base64.b64encode(letter.encode() * size).decode())


def test_entries_differ_by_key_kind_and_value() -> None:
    index = BlindIndex({"a": key("a"), "b": key("b")}, "a")
    entries = {
        index.digest("citizen-id", "1"),
        index.digest("citizen-id", "2"),
        index.digest("phone", "1"),
        index.digests("citizen-id", "1")["b"],
    }
    assert len(entries) == 4
    assert index.digests("phone", "1")["a"] == index.digest("phone", "1")
    assert b"1" * 12 not in index.digest("phone", "1" * 12)


def test_an_index_without_its_keys_says_so() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        BlindIndex({"a": key("a", 16)}, "a")
    with pytest.raises(ValueError, match="not among"):
        BlindIndex({"a": key("a")}, "b")
    with pytest.raises(ValueError, match="no index key"):
        BlindIndex({}, None).digest("phone", "1")


FORMS = [
    ("citizen-id", "012 345-678.901", "012345678901"),
    ("passport", "c 1234567", "C1234567"),
    ("tax-code", "0101234567-001", "0101234567001"),
    ("citizen-id", "０１２３", "0123"),
    ("phone", "+84 (0)912 345 678", "840912345678"),
    ("phone", "+84 912 345 678", "0912345678"),
    ("phone", "0084912345678", "0912345678"),
    ("phone", "024.3825.1234", "02438251234"),
    ("email", " Anh@Example.VN ", "anh@example.vn"),
    ("phone", "—", ""),
]


@pytest.mark.parametrize(("kind", "written", "normal"), FORMS)
def test_one_value_has_one_form(kind: str, written: str, normal: str) -> None:
    assert persons.normal(kind, written) == normal


def test_an_applicant_is_found_by_what_it_has() -> None:
    assert persons.entries(Applicant(name="A")) == []
    whole = Applicant.model_validate(
        {"name": "A", "identity": {"type": "tax-code", "number": "1-2"}, "phone": "1", "email": ""}
    )
    assert persons.entries(whole) == [("tax-code", "12"), ("phone", "1")]


# Erasing

KEPT = {
    *("code", "agency", "processing_unit", "return_method", "filed_at", "databases"),
    *("online_payment", "former_agencies", "procedure", "rating", "fees"),
    *("documents.id", "documents.component", "documents.reused", "documents.replaced_by"),
    *("results.id", "results.component", "results.signing"),
    *("supplements.requested_by", "supplements.received_by", "supplements.fees"),
    *("supplements.documents.id", "supplements.documents.component"),
    *("supplements.documents.reused", "supplements.documents.replaced_by"),
    *("channel", "applicant_kind", "status"),
}
"""Texts that stay, by their place: codes, amounts, and who handled it for the agency."""


def filled(kind: Any, name: str) -> Any:
    """A value with a text of its own wherever a text can stand."""
    if kind is None or kind is type(None):
        return None
    if get_origin(kind) is tuple:
        return (filled(get_args(kind)[0], name),)
    options = [one for one in get_args(kind) if one is not type(None)]
    if get_origin(kind) is not None and str(get_origin(kind)) == "typing.Literal":
        return options[0]
    if options:
        return filled(options[0], name)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        given = {
            field: filled(info.annotation, f"{name}.{field}".lstrip("."))
            for field, info in kind.model_fields.items()
        }
        return kind.model_construct(**given)
    values = {str: f"text of {name}", int: 1, bool: True, datetime: NOW}
    return values.get(kind, uuid4())


def texts(value: Any, place: str = "") -> dict[str, str]:
    """Every text of a model, by its place."""
    found: dict[str, str] = {}
    if isinstance(value, BaseModel):
        for name, one in value:
            found |= texts(one, f"{place}.{name}".lstrip("."))
    elif isinstance(value, tuple):
        for one in value:
            found |= texts(one, place)
    elif isinstance(value, str) and value:
        found[place] = value
    return found


def test_every_text_of_a_dossier_is_erased_or_named_as_kept() -> None:
    """A field that is added later fails here until somebody has decided."""
    before = Dossier.model_construct(state=filled(DossierState, ""), steps=1)
    assert {"sealed", "summary", "documents.name", "results.file"} <= texts(before.state).keys()
    after = erased(before, NOW, "p 1")
    left = texts(after.state).keys()
    undecided = {place for place in left if not any(_under(place, kept) for kept in KEPT)}
    assert undecided == set()
    assert after.erased is not None
    assert erased(after, datetime(2030, 1, 1, tzinfo=UTC), "p 2") is after


def _under(place: str, kept: str) -> bool:
    return place == kept or place.startswith(f"{kept}.")


def test_a_step_keeps_who_took_it_and_when() -> None:
    step = filled(StepTaken, "")
    left = texts(erased_step(step))
    assert "note" not in left
    assert left["official.name"] == "text of official.name"


# The policy

FIVE = {"keep": {"years": 5}, "basis": "a decision"}


def policy(*rules: dict[str, Any]) -> Policy:
    given = {"name": "p", "version": "1", "source": "s", "confidence": "operator", "rules": rules}
    return Policy.model_validate(given)


def test_the_policy_of_the_release_keeps_everything() -> None:
    assert load().selections() == []
    assert load().confidence == "not found"


def test_the_first_rule_that_names_a_procedure_counts() -> None:
    made = policy(
        {"statuses": ["10"], "procedures": ["1.000001"], "keep": {"years": 70}, "basis": "x"},
        {"statuses": ["10", "3"], "procedures": ["1.000002"], "keep": {"months": 6}, "basis": "x"},
        {"statuses": ["10"], **FIVE},
    )
    found = {(one.status, one.procedures): one.excluded for one in made.selections()}
    assert found == {
        ("3", ("1.000002",)): (),
        ("10", ("1.000001",)): (),
        ("10", ("1.000002",)): ("1.000001",),
        ("10", None): ("1.000001", "1.000002"),
    }


BAD = [
    {"statuses": ["4"], **FIVE},
    {"statuses": [], **FIVE},
    {"statuses": ["10"], "keep": {"years": 0}, "basis": "x"},
    {"statuses": ["10"], "keep": {"years": -1}, "basis": "x"},
    {"statuses": ["10"], "keep": {"years": 5}},
    {"statuses": ["10"], **FIVE, "unknown": 1},
]


@pytest.mark.parametrize("rule", BAD, ids=str)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(rule)


def test_a_rule_that_can_never_apply_is_refused() -> None:
    with pytest.raises(ValidationError, match="never applies"):
        policy({"statuses": ["10"], **FIVE}, {"statuses": ["10"], **FIVE})


def test_the_example_in_the_documentation_is_a_policy() -> None:
    text = (Path(__file__).parents[2] / "docs" / "personal-data.md").read_text("utf-8")
    example = text.split("```json\n", 1)[1].split("```", 1)[0]
    assert Policy.model_validate(json.loads(example)).rules


# Settings

URL = SecretStr("postgresql+asyncpg://u:p@h/d")


@pytest.mark.parametrize("days", [364, 0, -1])
def test_logs_are_kept_for_a_year_at_least(days: int) -> None:
    with pytest.raises(ValidationError, match="log_days must be at least 365"):
        ServiceSettings(database_url=URL, log_days=days)


def test_what_was_done_is_remembered_longer_than_it_can_be_told_again() -> None:
    ServiceSettings(database_url=URL, log_days=365, inbox_days=427)
    with pytest.raises(ValidationError, match="inbox_days must be at least"):
        ServiceSettings(database_url=URL, log_days=365, inbox_days=426)


def test_keys_of_the_index_are_its_own() -> None:
    keys = {"k1": key("k")}
    with pytest.raises(ValidationError, match="must not be a sealing key"):
        Settings(database_url=URL, sealing_keys=keys, index_keys={"i1": key("k")}, index_key="i1")
    with pytest.raises(ValidationError, match="index_key must name one"):
        Settings(database_url=URL, index_key="i1")
    with pytest.raises(ValidationError, match="audit_days"):
        Settings(database_url=URL, audit_days=364)
