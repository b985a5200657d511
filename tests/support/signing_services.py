"""Signing services as processes of their own: what they are asked, and how they misbehave."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from backbone.leash import Leashed


@dataclass(frozen=True)
class SigningService:
    """A simulator: its address, its books and how it misbehaves."""

    url: str
    root: Path

    def reset(self) -> None:
        """No faults, and books that begin anew."""
        for path in ("/_faults", "/_books"):
            httpx.delete(self.url + path, trust_env=False).raise_for_status()

    def fault(self, **rule: Any) -> None:
        """Let it misbehave."""
        httpx.post(f"{self.url}/_faults", json=rule, trust_env=False).raise_for_status()

    def books(self, page: str = "") -> dict[str, Any]:
        """The summary of its books, or a page of them."""
        return dict(httpx.get(f"{self.url}/_books{page}", trust_env=False).json())


@contextmanager
def signing_service(folder: Path, program: str, *options: str) -> Iterator[SigningService]:
    """The simulator as a process, on a free port."""
    log, state = folder / f"{program}.log", folder / program
    log.unlink(missing_ok=True)  # of a run before, with another address
    command = [sys.executable, "-m", "simulators", program, "--port", "0", "--state", str(state)]
    process = Leashed([*command, *options], log=log)
    try:
        deadline = time.monotonic() + 90
        while not (told := log.read_text()).rstrip().endswith("}"):
            if time.monotonic() > deadline or not process.running:
                raise AssertionError(f"{program} did not start:\n{told}")
            time.sleep(0.05)
        yield SigningService(json.loads(told.strip().splitlines()[-1])["url"], state / "root.pem")
    finally:
        process.stop()
