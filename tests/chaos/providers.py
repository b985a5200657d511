"""The signing providers beside the gateway: one process that speaks four dialects, the file by
which the connector knows them, and the people who are asked through them."""

import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from backbone.assembly import Outside, Plan
from backbone.demo.lives import Life
from backbone.leash import Leashed
from tests.chaos.proxy import Proxies

_START_SECONDS = 60.0
_CLIENT = "storm"
_NEWS_SECONDS = 30.0
"""How long an order of unknown fate is asked about: an order that never arrived ends so."""
WILLING, UNWILLING = "099", "098"
"""How the numbers of people begin who sign, and of those who do not."""
DISAPPOINTING, UNHEARD, MISTAKEN = "09?????????[012]", "09?????????[345]", "099????????[6789]"
"""People to whom one fault or another happens: nobody meets two of them, of which one would hide
the other."""
BASIS = "hai dịch vụ của cùng một tổ chức cung cấp, chỉ dùng để thử nghiệm"


@dataclass(frozen=True)
class Provider:
    """A provider as storms know it.

    Attributes:
        ca_name: whose people it asks.
        asks: the call that asks a person.
        status: the call that tells how an order went, where there is one.
        named: what faults know a person by in the asking call, and what stands before the number.
        flaws: ways in which its results can be wrong.
        calls_back: whether it tells of outcomes by itself.
        asked_later: whether the fate of any order can be found out by our own id.
        sessions: whether it can lose one.
        settings: its entry in the connector's file, beside those that all have.
    """

    ca_name: str
    asks: str
    status: str = ""
    named: tuple[str, str] = ("credentialID", "C-")
    flaws: tuple[str, ...] = ("wrong_certificate", "bad_signature", "other_document")
    calls_back: bool = False
    asked_later: bool = False
    sessions: bool = True
    settings: Mapping[str, Any] | None = None
    account: Mapping[str, Any] | None = None

    def of(self, people: str) -> dict[str, str]:
        """What a fault has to match to strike people whose numbers are, or begin, so."""
        name, before = self.named
        return {name: f"{before}{people}*"}

    def meets(self, person: str, match: Mapping[str, str]) -> bool:
        """Whether that would strike a person."""
        named = f"{self.named[1]}{person}"
        return all(fnmatchcase(named, pattern) for pattern in match.values())


GATEWAY = "signing-gateway"
PROVIDERS: Mapping[str, Provider] = {
    GATEWAY: Provider(
        "BkavCA",
        "sign_file",
        named=("user_id", ""),
        flaws=("wrong_certificate", "bad_signature", "altered_document", "other_document"),
        sessions=False,
    ),
    "smartca": Provider(
        "VNPT-CA",
        "sign",
        "status",
        named=("user_id", ""),
        calls_back=True,
        asked_later=True,
        sessions=False,
    ),
    "mysign": Provider(
        "Viettel-CA",
        "signHash",
        "status",
        named=("credentialID", ""),
        calls_back=True,
        settings={"mode": 3},
        account={"profile_id": "adss:ras:profile:001", "citizen_prefix": "CMT_"},
    ),
    "csc-v1": Provider("FPT-CA", "authorize", settings={"user_seconds": 15.0}),
    "csc-v2": Provider(
        "TrustCA",
        "authorize",
        "signPolling",
        settings={
            "user_seconds": 15.0,
            "stands_in_for": [{"ca_name": "FPT-CA", "basis": BASIS}],
        },
    ),
}
"""The gateway is called ``esign`` in the connector's own books."""
HASHES = tuple(name for name in PROVIDERS if name != GATEWAY)


def spread(lives: Sequence[Life], seed: int) -> list[Life]:
    """The same lives, each result to be signed by a person of its own, so that the books of
    providers tell whose it is; every provider's turn comes before any has another."""
    chance = random.Random(f"signers of {seed}")
    turns: list[str] = []
    played = []
    for life in lives:
        steps = []
        for step in life.steps:
            if "results" in step:
                turns = turns or chance.sample(sorted(PROVIDERS), len(PROVIDERS))
                (result,) = step["results"]
                signing = _signer(life, PROVIDERS[turns.pop()])
                step = {**step, "results": [{**result, "signing": signing}]}  # noqa: PLW2901
            steps.append(step)
        played.append(replace(life, steps=tuple(steps)))
    return played


def _signer(life: Life, provider: Provider) -> dict[str, str]:
    people = UNWILLING if life.kind == "not-signed" else WILLING
    number = int(life.code.rpartition("-")[2])
    return {"user": f"{people}{number:09d}", "ca_name": provider.ca_name}


def signer_of(life: Life) -> tuple[str, str] | None:
    """The person who is to sign a dossier's result and the program that is to ask; None where
    nothing is signed."""
    for step in life.steps:
        for result in step.get("results", ()):
            programs = {one.ca_name: name for name, one in PROVIDERS.items()}
            return result["signing"]["user"], programs[result["signing"]["ca_name"]]
    return None


def unwilling() -> Iterator[tuple[str, dict[str, Any]]]:
    """The rules by which some people say no, with the program of each."""
    for name, one in PROVIDERS.items():
        yield name, {"on": one.asks, "kind": "refuse", "match": one.of(UNWILLING)}


@contextmanager
def programs(folder: Path, callback: str, secret: str) -> Iterator[dict[str, str]]:
    """The providers that sign hashes as one process; their addresses.

    Args:
        callback: what the address begins with that is told of outcomes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "providers.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "simulators", "providers", "--ports-base", "0"]
    command += ["--state", str(folder), "--account", f"{_CLIENT}:{secret}", "--callback", callback]
    process = Leashed(command, log=log)
    try:
        yield _addresses(process, log)
    finally:
        process.stop()


def _addresses(process: Leashed, log: Path) -> dict[str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while process.running and time.monotonic() < deadline:
        lines = [json.loads(one) for one in log.read_text("utf-8").splitlines() if one[:1] == "{"]
        urls: dict[str, str] = {one["program"]: one["url"] for one in lines if "program" in one}
        if urls.keys() >= set(HASHES):
            return urls
        time.sleep(0.05)
    raise AssertionError(f"the providers did not start:\n{log.read_text('utf-8')[-2000:]}")


class Connected:
    """The providers as a stack has them.

    Attributes:
        urls: their own addresses.
        environment: by which the connector knows them.
    """

    def __init__(self, folder: Path, wires: Proxies) -> None:
        self._folder = folder / "providers"
        self._wires = wires
        self._running: Any = None
        self.urls: dict[str, str] = {}
        self.environment: dict[str, str] = {}

    async def start(self, plan: Plan, outside: Outside) -> None:
        """Start them, and lay down what the connector is to read."""
        secret = secrets.token_urlsafe(16)
        ours = await self._wires.through("callbacks", plan.url("signature-connector"))
        self._running = programs(self._folder, f"{ours}/v1/signing-callbacks", secret)
        self.urls = await asyncio.to_thread(self._running.__enter__)
        entries = [
            _entry(name, await self._wires.through(name, self.urls[name])) for name in HASHES
        ]
        (self._folder / "secret").write_text(secret, "utf-8")
        (self._folder / "providers.json").write_text(json.dumps({"providers": entries}), "utf-8")
        roots = [outside.trust_roots, *(self._folder / name / "root.pem" for name in HASHES)]
        (self._folder / "roots.pem").write_bytes(b"".join(root.read_bytes() for root in roots))
        self.environment = {
            "SIGNATURE_CONNECTOR_PROVIDERS_FILE": str(self._folder / "providers.json"),
            "SIGNATURE_CONNECTOR_TRUST_ROOTS": str(self._folder / "roots.pem"),
            "SIGNATURE_CONNECTOR_NEWS_SECONDS": str(_NEWS_SECONDS),
        }

    async def stop(self) -> None:
        """End them."""
        if self._running is not None:
            await asyncio.to_thread(self._running.__exit__, None, None, None)


def _entry(name: str, url: str) -> dict[str, Any]:
    one = PROVIDERS[name]
    account = {"agencies": ["*"], "client_id": _CLIENT, "secret_file": "secret"}
    return {
        "name": name,
        "dialect": name,
        "url": url,
        "ca_names": [one.ca_name],
        "call_seconds": 10.0,
        "accounts": [{**account, **(one.account or {})}],
        **(one.settings or {}),
    }
