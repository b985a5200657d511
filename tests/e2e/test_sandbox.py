"""The sandbox as a program of its own, and a client system that the conformance kit looks at."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backbone.conformance.disturbances import Disturbances
from backbone.conformance.door import Door
from backbone.conformance.report import judged
from backbone.demo import play
from backbone.demo.client import ClientSystem
from backbone.demo.lives import lives
from backbone.leash import Leashed
from common.http import http_client

_START_SECONDS = 120.0
_DOSSIERS = 14


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one sandbox is kept after the other."""
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture
def sandbox(place: Path) -> Iterator[dict[str, Any]]:
    """What a sandbox tells at its start."""
    log = place / "sandbox.log"
    log.unlink(missing_ok=True)
    command = ["-m", "backbone", "sandbox", "--listen", "127.0.0.1:0"]
    program = Leashed([sys.executable, *command, "--folder", str(place / "kept")], log=log)
    try:
        yield _told(program, log)
    finally:
        program.stop()


def _told(program: Leashed, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and program.running:
        for line in log.read_text("utf-8").splitlines() if log.exists() else ():
            if line.startswith('{"gateway"'):
                return dict(json.loads(line))
        time.sleep(0.1)
    raise AssertionError(log.read_text("utf-8")[-2000:])


async def test_a_careful_system_meets_every_obligation_that_is_seen(
    sandbox: dict[str, Any],
) -> None:
    async with http_client(base_url=sandbox["gateway"], timeout=60.0) as http:
        door = Door(http, sandbox["client_id"], Disturbances(times=1), marked=False)
        async with door.open("127.0.0.1", 0) as address:
            system = ClientSystem(address, sandbox["client_id"], sandbox["client_secret"])
            procedures = await play.catalogue(system)
            played = lives(_DOSSIERS, play.AGENCIES, procedures, seed=11)
            await system.play(played, at_once=4, step_done=lambda _: None)
            async with asyncio.timeout(60):
                while set((await system.outcomes()).values()) != {"applied"}:
                    await asyncio.sleep(0.2)
    verdicts = {verdict.of.name: verdict for verdict in judged(door.exchanges)}
    assert {name: one.failures for name, one in verdicts.items() if one.state == "not met"} == {}
    seen = {name for name, one in verdicts.items() if one.state == "met"}
    assert {
        "repeats-what-was-not-answered",
        "waits-as-it-is-told",
        "renews-its-token",
        "keeps-the-order-of-a-dossier",
        "learns-every-outcome",
    } <= seen


async def test_made_anew_it_knows_nothing_of_what_was_tried_out(
    sandbox: dict[str, Any], place: Path
) -> None:
    system = ClientSystem(sandbox["gateway"], sandbox["client_id"], sandbox["client_secret"])
    async with http_client(base_url=sandbox["gateway"]) as http:
        headers = await system.authorization(http)
        for kind in ("dossiers", "submissions"):
            assert (await http.get(f"/v1/{kind}", headers=headers)).json()["items"] == []
    assert list((place / "kept" / "blobs").glob("**/*.pdf")) == []


async def test_nothing_is_disturbed_where_work_is_real(sandbox: dict[str, Any]) -> None:
    """The sandbox's own gateway sets no mark: to the kit it looks like a real one."""
    async with http_client(base_url=sandbox["gateway"], timeout=60.0) as http:
        door = Door(http, sandbox["client_id"], Disturbances(times=1))
        async with door.open("127.0.0.1", 0) as address:
            system = ClientSystem(address, sandbox["client_id"], sandbox["client_secret"])
            async with http_client(base_url=address) as caller:
                headers = await system.authorization(caller)
                first = await caller.get("/v1/submissions", headers=headers)
                second = await caller.post("/v1/dossiers", json={}, headers=headers)
    assert (first.status_code, second.status_code) == (502, 502)
    assert door.real.is_set()
    assert [exchange.disturbed for exchange in door.exchanges] == [None, None]
