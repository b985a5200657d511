"""Run the benchmarks one after the other, each in a process of its own.

    .venv/bin/python -m benchmarks [name …]

Figures of two runs on a shared machine are hard to compare: what counts is a ratio within one run,
and CPU time rather than time on the wall.
"""

import subprocess
import sys
from pathlib import Path


def main(wanted: list[str]) -> int:
    """Run those named, or all; the number of those that failed."""
    there = sorted(
        file.stem for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_")
    )
    unknown = sorted(set(wanted) - set(there))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(there)}")
        return len(unknown)
    failed = 0
    for name in wanted or there:
        print(f"== {name}", flush=True)
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
        failed += ended.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
