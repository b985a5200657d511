"""One storm on a fresh system, and many of them until there are enough."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from pydantic import TypeAdapter

from tests.chaos.storm import PATIENCE, Outcome, storm
from tests.chaos.system import running_system

DOSSIERS, FAULTS = 100_000, 1_000
"""What the long proof is made of."""
ROUND_DOSSIERS, ROUND_FAULTS = 5_000, 50

RECORD = Path("docs/proof/chaos-rounds.jsonl")
"""The rounds of the long proof, one a line: kept with the document, so that anybody can go on."""
OUTCOME = TypeAdapter(Outcome)
Say = Callable[[str], None]


async def one_storm(
    folder: Path,
    seed: int,
    dossiers: int,
    faults: int,
    say: Say,
    *,
    only: Sequence[str] = (),
    patience: float = PATIENCE,
) -> Outcome:
    """A storm on a system of its own; its logs stay where something was violated."""
    place = (folder / f"storm-{seed}").absolute()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    async with running_system(place) as system:
        outcome = await storm(
            system,
            seed=seed,
            dossiers=dossiers,
            faults=faults,
            only=only,
            patience=patience,
            say=say,
        )
    if not outcome.violations:
        shutil.rmtree(place)
    return outcome


def finished() -> list[Outcome]:
    """The rounds that have been gone through so far."""
    if not RECORD.exists():
        return []
    return [OUTCOME.validate_json(line) for line in RECORD.read_bytes().splitlines()]


def _kept(outcome: Outcome) -> Outcome:
    """Put a round down, with the code that went through it."""
    outcome = replace(outcome, code=_code())
    with RECORD.open("ab") as record:
        record.write(OUTCOME.dump_json(outcome) + b"\n")
    return outcome


def _code() -> str:
    """The commit that is checked out, with ``+`` where something was changed."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        check=False,
        capture_output=True,
        text=True,
    )
    return told.stdout.strip()


async def rounds(folder: Path, seed: int, most: int, say: Say) -> list[Outcome]:
    """Go on with the rounds until there are enough dossiers and faults.

    Args:
        seed: of the first round; the others are those after it that are missing.
        most: how many rounds to go through this time.
    """
    done = finished()
    for _ in range(most):
        if sum(one.dossiers for one in done) >= DOSSIERS and (
            sum(len(one.struck) for one in done) >= FAULTS
        ):
            break
        known = {one.seed for one in done}
        following = next(one for one in count(min(known, default=seed)) if one not in known)
        outcome = await one_storm(folder, following, ROUND_DOSSIERS, ROUND_FAULTS, lambda _: None)
        done.append(_kept(outcome))
        say(
            f"round {len(done)}, seed {outcome.seed}: {outcome.dossiers} dossiers, "
            f"{len(outcome.struck)} faults, {sum(map(len, outcome.violations.values()))} violations"
        )
    return done
