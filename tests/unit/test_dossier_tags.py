"""Entity tags of dossiers, and the condition on a step."""

from datetime import UTC, datetime
from functools import partial

import pytest

from dossier.domain import table
from dossier.domain.model import Dossier, Erasure, Refusal, Taken
from dossier.domain.steps import obey
from dossier.domain.tags import tag_of, unmet
from tests.support.dossiers import command

TABLE = table.load()
CODE = "H56.14-261102-0001"


def seven() -> Dossier:
    begun = obey(TABLE, None, command("submit"), code=CODE, agency="H56.14")
    assert isinstance(begun, Taken)
    return begun.dossier.model_copy(update={"steps": 7})


def erased() -> Dossier:
    return seven().model_copy(update={"erased": Erasure(at=datetime.now(UTC), policy="p")})


def test_a_tag_names_the_version_and_the_representation() -> None:
    assert (tag_of(seven()), tag_of(seven(), "p")) == ('"7"', '"7.p"')
    assert (tag_of(erased()), tag_of(erased(), "p")) == ('"7e"', '"7e.p"')


@pytest.mark.parametrize(
    "expected", [None, "*", '"7"', '"7.p"', '"7.en.f1"', '"6", "7"', 'W/"6","7"', '"x,y", "7"']
)
def test_who_saw_the_dossier_as_it_is_may_go_on(expected: str | None) -> None:
    assert unmet(seven(), expected) is None


@pytest.mark.parametrize("expected", ['"6"', '"8"', '""', '"77"', '"7e"', 'W/"7"', '"7,8"', '"a"'])
def test_who_saw_another_state_is_refused(expected: str) -> None:
    problem = unmet(seven(), expected)
    assert problem is not None
    assert (problem.status, problem.slug) == (412, "dossier-changed")
    assert "7" in str(problem.detail_en)


def test_an_anonymised_dossier_is_another_one() -> None:
    assert unmet(erased(), '"7"') is not None
    assert unmet(erased(), '"7e.p"') is None


def test_the_condition_is_judged_before_the_step() -> None:
    """A dossier that has ended meanwhile has changed: that is what its reader has to know."""
    withdrawn = obey(TABLE, seven(), command("withdraw", 1), code=CODE, agency="H56.14")
    assert isinstance(withdrawn, Taken)
    step = command("progress", 2)
    go_on = partial(obey, TABLE, withdrawn.dossier, step, code=CODE, agency="H56.14")
    seen, unconditional = go_on(expected='"7"'), go_on()
    assert isinstance(seen, Refusal)
    assert seen.problem.slug == "dossier-changed"
    assert isinstance(unconditional, Refusal)
    assert unconditional.problem.slug == "dossier-closed"


def test_a_dossier_that_is_not_there_has_not_changed() -> None:
    refused = obey(TABLE, None, command("receive"), code=CODE, agency="H56.14", expected='"1"')
    assert isinstance(refused, Refusal)
    assert refused.problem.slug == "unknown-dossier"
