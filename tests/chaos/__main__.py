"""``python -m tests.chaos``: storms by hand, in long rounds, and over deliberately broken code.

make chaos                     one storm with a seed of its own
make chaos SEED=7 DOSSIERS=500 FAULTS=40
make chaos FULL=1              rounds until there are enough; goes on where it was stopped
make chaos MUTANTS=1           every mutant must be caught
"""

import argparse
import secrets
import sys
from pathlib import Path

import uvloop

from tests.chaos import proof
from tests.chaos.mutants import MUTANTS, survives
from tests.chaos.rounds import one_storm, rounds


def main() -> int:
    """Run what was asked for; 0 where every invariant held and every mutant was caught."""
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--dossiers", type=int, default=1500)
    parser.add_argument("--faults", type=int, default=26)
    parser.add_argument("--folder", type=Path, default=Path(".run/chaos"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--most-rounds", type=int, default=10**6)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.mutants:
        found = {mutant.name: survives(mutant, asked.folder, print) for mutant in MUTANTS}
        proof.write(found)
        return 1 if None in found.values() else 0
    if asked.full:
        done = uvloop.run(rounds(asked.folder, asked.seed, asked.most_rounds, print))
        proof.write()
        return 1 if any(outcome.violations for outcome in done) else 0
    outcome = uvloop.run(one_storm(asked.folder, asked.seed, asked.dossiers, asked.faults, print))
    print(proof.told(outcome))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
