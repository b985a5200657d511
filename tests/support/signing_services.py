"""Signing services as processes of their own: what they are asked, and how they misbehave."""

import json
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from backbone.leash import Leashed

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""httpx would read all the usual authorities for each call, for 20 ms and more."""
_START_SECONDS = 90.0
PERSON_MS = "100"
"""How long persons take where providers call back: until after the order was written down."""


@contextmanager
def door() -> Iterator[socket.socket]:
    """Where providers call back: a port that stays taken, whoever serves it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def calling_back(at: socket.socket, provider: str) -> tuple[str, str]:
    """The option by which a simulator calls the connector behind that door."""
    address = f"http://127.0.0.1:{at.getsockname()[1]}/v1/signing-callbacks/{provider}"
    return "--callback", address


def call(method: str, url: str, **given: Any) -> Any:
    """A simulator's answer to a question about itself, which is JSON."""
    answer = httpx.request(method, url, trust_env=False, verify=_NO_TLS, **given)
    return answer.raise_for_status().json()


@dataclass(frozen=True)
class SigningService:
    """A simulator: its address, its root certificate, its books and how it misbehaves."""

    url: str
    root: Path

    def reset(self) -> None:
        """No faults, and books that begin anew: orders under way are forgotten."""
        for path in ("/_faults", "/_books"):
            call("DELETE", self.url + path)

    def fault(self, **rule: Any) -> None:
        """Let it misbehave."""
        call("POST", f"{self.url}/_faults", json=rule)

    def mend(self) -> None:
        """No faults any more; what its books hold stays, such as orders under way."""
        call("DELETE", f"{self.url}/_faults")

    def books(self, page: str = "") -> dict[str, Any]:
        """The summary of its books, or a page of them."""
        return dict(call("GET", f"{self.url}/_books{page}"))


@dataclass(frozen=True)
class SigningGateway(SigningService):
    """The signing gateway."""

    def decide(self) -> None:
        """Those who were held (fault ``hold``) decide now; no faults any more."""
        self.mend()

    def requests(self) -> dict[str, dict[str, Any]]:
        """What it was asked to sign, by request id."""
        rows = self.books("/requests?limit=5000")["items"]
        return {row["doc_id"]: row for row in rows}


@contextmanager
def signing_services(
    folder: Path, options: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, SigningService]]:
    """Simulators as processes, on free ports, which start at the same time.

    Args:
        folder: for their logs and books.
        options: of each program, by its name; several of one program have names like ``tsa:2``.
    """
    processes: dict[str, Leashed] = {}
    try:
        for name, more in options.items():
            processes[name] = _started(folder, name, *more)
        yield {name: _there(folder, name, process) for name, process in processes.items()}
    finally:
        # Each waits a while for calls that hang.
        with ThreadPoolExecutor() as pool:
            list(pool.map(Leashed.stop, processes.values()))


@contextmanager
def signing_service(folder: Path, program: str, *options: str) -> Iterator[SigningService]:
    """One of them."""
    with signing_services(folder, {program: options}) as found:
        yield found[program]


@contextmanager
def signing_gateway(folder: Path, *options: str) -> Iterator[SigningGateway]:
    """The signing gateway, whose persons decide at once."""
    program = "signing-gateway"
    with signing_services(folder, {program: ("--person-ms", "0", *options)}) as found:
        yield SigningGateway(found[program].url, found[program].root)


def _state(folder: Path, name: str) -> Path:
    return folder / name.replace(":", "-")


def _log(folder: Path, name: str) -> Path:
    return _state(folder, name).with_suffix(".log")


def _started(folder: Path, name: str, *options: str) -> Leashed:
    state, log = _state(folder, name), _log(folder, name)
    log.unlink(missing_ok=True)  # of a run before, with another address
    program = [sys.executable, "-m", "simulators", name.partition(":")[0], "--port", "0"]
    return Leashed([*program, "--state", str(state), *options], log=log)


def _there(folder: Path, name: str, process: Leashed) -> SigningService:
    """The service, once it has told its address."""
    deadline = time.monotonic() + _START_SECONDS
    while not (told := _log(folder, name).read_text()).rstrip().endswith("}"):
        if time.monotonic() > deadline or not process.running:
            raise AssertionError(f"{name} did not start:\n{told}")
        time.sleep(0.05)
    url = json.loads(told.strip().splitlines()[-1])["url"]
    return SigningService(url, _state(folder, name) / "root.pem")
