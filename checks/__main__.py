"""`python -m checks check [GATE …]` runs the gates, `python -m checks test` the tests as well."""

import argparse
import os
import sys
import time
from pathlib import Path

from checks import gates, suites

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run what was asked for; 0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="checks")
    parser.add_argument("what", choices=["check", "test"])
    parser.add_argument("gates", nargs="*", help=f"of {', '.join(gates.names())}; all if none")
    asked = parser.parse_args()
    if unknown := set(asked.gates) - set(gates.names()):
        parser.error(f"no such gate: {', '.join(sorted(unknown))}")

    os.chdir(ROOT)
    began = time.monotonic()
    outcome = gates.run(asked.gates)
    if asked.what == "test":
        outcome += suites.run()
    for gate, reason in outcome.not_run:
        print(f"not run: {gate}: {reason}")
    verdict = f"failed: {', '.join(outcome.failed)}" if outcome.failed else "passed"
    print(f"{asked.what} {verdict} in {time.monotonic() - began:.0f} s")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
