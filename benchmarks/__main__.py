"""Run the benchmarks one after the other, each in a process of its own.

    .venv/bin/python -m benchmarks [name …] [-- option …]

Options after ``--`` go to each of them.

Figures of two runs on a shared machine are hard to compare: what counts is a ratio within one run,
and CPU time rather than time on the wall.
"""

import subprocess
import sys
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Run those named, or all; the number of those that failed."""
    here = Path(__file__).parent
    wanted, options = _divided(wanted)
    modules = [*here.glob("[!_]*.py"), *(file.parent for file in here.glob("*/__main__.py"))]
    there = sorted(module.stem for module in modules)
    unknown = sorted(set(wanted) - set(there))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(there)}")
        return len(unknown)
    failed = 0
    for name in wanted or there:
        print(f"== {name}", flush=True)
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False)
        failed += ended.returncode != 0
    return failed


def _divided(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
