"""The guarantees that the chaos suite takes out of the code are still where it looks for them."""

import pytest

from tests.chaos.mutants import MUTANTS, Mutant, mutated


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_made_and_is_python(mutant: Mutant) -> None:
    compile(mutated(mutant), mutant.file, "exec")


def test_code_that_has_changed_is_named() -> None:
    gone = Mutant("something", MUTANTS[0].package, MUTANTS[0].file, "no such line", "")
    with pytest.raises(ValueError, match=r"something: .* has changed"):
        mutated(gone)
