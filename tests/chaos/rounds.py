"""One storm on a fresh system, and many of them until there are enough."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from tests.chaos.storm import Outcome, storm
from tests.chaos.system import running_system

DOSSIERS, FAULTS = 100_000, 1_000
"""What the long proof is made of."""
ROUND_DOSSIERS, ROUND_FAULTS = 5_000, 50

OUTCOME = TypeAdapter(Outcome)
Say = Callable[[str], None]


async def one_storm(
    folder: Path, seed: int, dossiers: int, faults: int, say: Say, only: Sequence[str] = ()
) -> Outcome:
    """A storm on a system of its own; its logs stay where something was violated."""
    place = (folder / f"storm-{seed}").absolute()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    async with running_system(place) as system:
        outcome = await storm(
            system, seed=seed, dossiers=dossiers, faults=faults, only=only, say=say
        )
    if not outcome.violations:
        shutil.rmtree(place)
    return outcome


def finished(folder: Path) -> list[Outcome]:
    """The rounds that have been gone through so far."""
    record = folder / "rounds.jsonl"
    if not record.exists():
        return []
    return [OUTCOME.validate_json(line) for line in record.read_bytes().splitlines()]


async def rounds(folder: Path, seed: int, most: int, say: Say) -> list[Outcome]:
    """Go on with the rounds until there are enough dossiers and faults.

    Args:
        seed: of the first round; later ones count on from it.
        most: how many rounds to go through this time.
    """
    done = finished(folder)
    first = done[0].seed if done else seed
    for _ in range(most):
        if sum(one.dossiers for one in done) >= DOSSIERS and (
            sum(len(one.struck) for one in done) >= FAULTS
        ):
            break
        number = first + len(done)
        outcome = await one_storm(folder, number, ROUND_DOSSIERS, ROUND_FAULTS, lambda _: None)
        with (folder / "rounds.jsonl").open("ab") as record:
            record.write(OUTCOME.dump_json(outcome) + b"\n")
        done.append(outcome)
        say(
            f"round {len(done)}, seed {number}: {outcome.dossiers} dossiers, "
            f"{len(outcome.struck)} faults, {sum(map(len, outcome.violations.values()))} violations"
        )
    return done
