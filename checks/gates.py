"""The gates of `make check`: what each runs, and what is said where its means are absent."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

BIN = Path(sys.executable).parent
NOT_RUN = "not run: "
_SHOWN = 80  # lines of a failed gate's output


@dataclass
class Outcome:
    """failed: names of gates and suites; not_run: (name, reason) of what could not be run."""

    failed: list[str] = field(default_factory=list)
    not_run: list[tuple[str, str]] = field(default_factory=list)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.failed + other.failed, self.not_run + other.not_run)


@dataclass(frozen=True)
class Gate:
    """A command that fails with a status other than 0. It can name a part of itself that it could
    not run in a line of output that starts with `not run: `."""

    name: str
    command: Sequence[str]
    needs: Sequence[str] = ()

    def absent(self) -> str | None:
        """Why it cannot run here, if so."""
        missing = [path for path in self.needs if not Path(path).exists()]
        return f"there is no {' or '.join(missing)}" if missing else None


def _tool(name: str, *arguments: str) -> list[str]:
    return [str(BIN / name), *arguments]


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


# The slow ones first, since they run side by side.
GATES = (
    Gate("types", _tool("mypy")),
    Gate(
        "contracts",
        _module("backbone", "contracts", "--check"),
        needs=["backbone/src/backbone/__main__.py"],
    ),
    Gate(
        "openapi",
        _module("checks.openapi", "contracts/rest/gateway.openapi.json"),
        needs=["contracts/rest/gateway.openapi.json"],
    ),
    Gate("kubernetes", _module("checks.kubernetes", "k8s"), needs=["k8s/base/kustomization.yaml"]),
    Gate("imports", _tool("lint-imports", "--no-logo", "--cache-dir", ".cache/import-linter")),
    Gate(
        "compose",
        _tool("docker-compose", "--file", "docker-compose.yml", "config", "--quiet"),
        needs=["docker-compose.yml"],
    ),
    Gate("dockerfile", _tool("hadolint", "Dockerfile"), needs=["Dockerfile"]),
    Gate("format", _tool("ruff", "format", "--check", "--output-format", "concise", ".")),
    Gate("lint", _tool("ruff", "check", "--output-format", "concise", ".")),
)


def names() -> list[str]:
    """What `run` can be asked for."""
    return [gate.name for gate in GATES]


def run(wanted: Sequence[str] = (), show: Callable[[str], None] = print) -> Outcome:
    """Run the wanted gates (all where none is named), as many at a time as there are cores."""
    outcome = Outcome()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chosen = [gate for gate in GATES if not wanted or gate.name in wanted]
        for gate, result in zip(chosen, pool.map(_run_one, chosen), strict=True):
            if isinstance(result, str):
                outcome.not_run.append((gate.name, result))
                continue
            status, output, seconds = result
            show(f"{'ok    ' if status == 0 else 'FAILED'}  {gate.name:12} {seconds:5.1f} s")
            for line in output.splitlines():
                if line.startswith(NOT_RUN):
                    outcome.not_run.append((gate.name, line.removeprefix(NOT_RUN)))
            if status:
                show(_shortened(output))
                outcome.failed.append(gate.name)
    return outcome


def _shortened(output: str) -> str:
    lines = output.rstrip().splitlines()
    left_out = len(lines) - _SHOWN
    if left_out <= 0:
        return "\n".join(lines)
    return "\n".join([*lines[: _SHOWN - 5], f"… {left_out} lines left out …", *lines[-5:]])


def _run_one(gate: Gate) -> str | tuple[int, str, float]:
    if reason := gate.absent():
        return reason
    began = time.monotonic()
    try:
        done = subprocess.run(
            gate.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
    except FileNotFoundError:
        return f"{gate.command[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 1, "no answer within 300 s", 300.0
    return done.returncode, done.stdout, time.monotonic() - began
