"""A storm of every kind of fault over the whole system: nothing lost, nothing doubled."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.storm import storm
from tests.chaos.system import System, running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEED, DOSSIERS, FAULTS = 20220624, 1500, 26


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("chaos")) as running:
        yield running


async def test_whatever_fails_nothing_is_lost_and_nothing_doubled(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = await storm(system, seed=SEED, dossiers=DOSSIERS, faults=FAULTS)
    with capsys.disabled():
        print(  # noqa: T201 - so that everybody can try another
            f"\n{outcome.dossiers} dossiers, {len(outcome.struck)} faults, seed {SEED}; "
            f"with another: make chaos SEED={secrets.randbelow(10**6)}"
        )
    assert outcome.violations == {}
    assert len(outcome.struck) == FAULTS
    assert outcome.dossiers >= DOSSIERS
    for program, ends in outcome.signings.items():  # each gave out something good and something bad
        assert "signed" in ends, program
        assert any(end.startswith("signed, ") for end in ends), program
