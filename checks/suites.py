"""The test suites of `make test`, in the order in which they tell most for the time they take."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from checks.gates import Outcome

_NO_TESTS = 5  # pytest's exit status


@dataclass(frozen=True)
class Suite:
    """Folders under tests/ that one pytest run takes together, with its options."""

    folders: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in the account."""
        return " + ".join(self.folders)


# A file stays with one worker, so that what its tests share is started once. Files go out in the
# order of the folders, not the ones with most tests first: at the end a worker that is done must
# not wait for another whose file of one test takes half a minute. There are two workers more than
# processors, since tests wait for servers and for time to pass.
_WORKERS = min((os.cpu_count() or 1) + 2, 6)
PARALLEL = (f"--numprocesses={_WORKERS}", "--dist=loadfile", "--no-loadscope-reorder")
SUITES = (
    Suite(("contract", "integration", "unit"), PARALLEL),
    # Each of these starts all services as processes of their own, and waits for them mostly.
    Suite(("e2e",), ("--numprocesses=2", "--dist=loadfile")),
    Suite(("chaos",), ("--numprocesses=0",)),
)


def run() -> Outcome:
    """Run every suite, also after one has failed."""
    outcome = Outcome()
    for suite in SUITES:
        empty = [folder for folder in suite.folders if not _has_tests(folder)]
        outcome.not_run += [(f"tests/{folder}", "it holds no tests yet") for folder in empty]
        folders = [f"tests/{folder}" for folder in suite.folders if folder not in empty]
        if not folders:
            continue
        print(f"tests: {suite.name}", flush=True)
        with tempfile.NamedTemporaryFile("r", suffix=".skipped") as skipped:
            pytest = [sys.executable, "-m", "pytest", "--quiet", *suite.options]
            record = f"--not-run-file={skipped.name}"
            status = subprocess.run([*pytest, record, *folders], check=False).returncode
            outcome.not_run += [_split(line) for line in skipped.read().splitlines()]
        if status == _NO_TESTS:
            outcome.not_run.append((suite.name, "no test was selected"))
        elif status:
            outcome.failed.append(f"tests {suite.name}")
    return outcome


def _has_tests(folder: str) -> bool:
    return any(Path("tests", folder).rglob("test_*.py"))


def _split(line: str) -> tuple[str, str]:
    test, _, reason = line.partition(": ")
    return test, reason
