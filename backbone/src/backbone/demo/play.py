"""The main job from beginning to end: simulators, services, a client system, and the comparison."""

import asyncio
import json
import random
import secrets
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from backbone.assembly import MODULES, Client, Outside
from backbone.demo.client import Book, ClientSystem, Sent
from backbone.demo.comparison import Check, compare, complete, settled
from backbone.demo.flags import AskFlags
from backbone.demo.lives import REFUSING_SIGNER, Procedure, lives
from backbone.leash import Leashed
from backbone.postgres import EmbeddedPostgres

SCOPES = (
    "dossiers:write",
    "dossiers:read",
    "dossiers:personal",
    "signing:read",
    "dossiers:search",
    "questions:read",
    "questions:write",
    "channels:write",
    "audit",
    "operations",
)
AGENCIES = ("H49", "H26", "H29", "H17", "H01", "H60")
STILL_SECONDS = 60.0
_AFTER_SECONDS = 1.0
FIRST_PORT = 8080
REFUSES = {"on": "sign_file", "kind": "refuse", "match": {"user_id": REFUSING_SIGNER}}


def fresh_folder(folder: Path) -> Path:
    """A folder without what an earlier run left, but for the database server's own files."""
    for name in ("blobs", "simulators"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def databases(postgres: EmbeddedPostgres) -> dict[str, str]:
    """A new, empty database and a role of its own for each service."""
    import asyncpg

    urls = {}
    for service in MODULES:
        name = service.replace("-", "_")
        connection = await asyncpg.connect(postgres.dsn)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()
        url = await postgres.create_database(name, name, secrets.token_hex(16))
        urls[service] = url.replace("postgresql://", "postgresql+asyncpg://", 1)
    return urls


def free_ports(first: int = FIRST_PORT) -> dict[str, int]:
    """A port for each service: from ``first`` on where free, any free one otherwise.

    Args:
        first: 0 draws it, below what the kernel gives to outgoing connections: programs that start
            at the same time do not take each other's.
    """
    first = first or random.randrange(10_000, 32_000, 16)
    ports: dict[str, int] = {}
    ordered = ["gateway", *(name for name in MODULES if name != "gateway")]
    for offset, name in enumerate(ordered):
        for port in (first + offset, 0):
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                ports[name] = probe.getsockname()[1]
                break
    return ports


@contextmanager
def simulators(folder: Path) -> Iterator[Outside]:
    """The outside systems as a program of their own, until the block ends."""
    state = folder / "simulators"
    state.mkdir(parents=True, exist_ok=True)
    log = folder / "simulators.log"
    log.unlink(missing_ok=True)
    program = Leashed(
        [sys.executable, "-m", "simulators", "all", "--ports-base", "0", "--state", str(state)],
        log=log,
    )
    try:
        yield _addresses(program, log, state)
    finally:
        program.stop()


def _addresses(program: Leashed, log: Path, state: Path) -> Outside:
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and program.running:
        lines = (
            [
                json.loads(line)
                for line in log.read_text("utf-8").splitlines()
                if line.startswith("{")
            ]
            if log.exists()
            else []
        )
        urls = {line["program"]: line["url"] for line in lines if "program" in line}
        if urls.keys() >= {"national-portal", "signing-gateway", "emc", "tsa"}:
            return Outside(
                urls["national-portal"],
                urls["signing-gateway"],
                urls["emc"],
                state / "signing-gateway" / "root.pem",
                urls["tsa"],
                (state / "tsa" / "root.pem").read_text("ascii"),
            )
        time.sleep(0.05)
    raise RuntimeError(f"the simulators did not start: {log.read_text('utf-8')[-2000:]}")


async def set_faults(outside: Outside, faults: list[dict[str, object]]) -> None:
    """Tell the simulators how to misbehave; each fault names its ``program``."""
    urls = {
        "national-portal": outside.national_portal,
        "signing-gateway": outside.signing_gateway,
        "emc": outside.emc,
        "tsa": outside.tsa,
    }
    async with httpx.AsyncClient(trust_env=False) as http:
        for fault in faults:
            told = {key: value for key, value in fault.items() if key != "program"}
            answer = await http.post(f"{urls[str(fault['program'])]}/_faults", json=told)
            answer.raise_for_status()


def demo_client() -> Client:
    """The client system of the demonstration."""
    return Client("tinh-demo", secrets.token_urlsafe(24), SCOPES, AGENCIES)


def operator_client() -> Client:
    """Who operates the backbone, for all agencies."""
    return Client("van-hanh", secrets.token_urlsafe(24), ("operations",), ("*",))


async def play(console: Console, system: ClientSystem, count: int, seed: int) -> None:
    """Play the lives through the gateway, with progress on the screen."""
    found = await catalogue(system)
    played = lives(count, AGENCIES, found, seed)
    steps = sum(1 + len(life.steps) for life in played)
    with _progress(console) as progress:
        whole = progress.add_task("dossiers through their lives", total=count)
        single = progress.add_task("submissions taken in (202)", total=steps)

        def step_done(sent: Sent) -> None:
            if sent.done:
                progress.advance(whole)
            else:
                progress.advance(single)

        await system.play(played, step_done=step_done)


async def catalogue(system: ClientSystem) -> list[Procedure]:
    """Procedures to submit dossiers for, once the catalogue is loaded and known to the gateway."""
    async with asyncio.timeout(60):
        while True:
            items = [item for item in await system.procedures(200) if item["active"]]
            if len(items) >= 50:
                return [Procedure(item["code"], item["name"]) for item in items]
            await asyncio.sleep(0.2)


async def arrived(
    console: Console, outside: Outside, book: Book, patience: float = STILL_SECONDS
) -> None:
    """Wait until everything is in the outside systems' books, or until nothing has moved there for
    a while; the comparison then says what is missing.

    Args:
        patience: seconds without any movement.
    """
    still = 0.0
    last: tuple[int, ...] = ()
    with console.status("waiting until everything has arrived"):
        while still < patience and not await complete(book, outside):
            await asyncio.sleep(0.5)
            now = await settled(outside)
            still = still + 0.5 if now == last else 0.0
            last = now
        await asyncio.sleep(_AFTER_SECONDS)  # for what would come once too often


async def held_against(system: ClientSystem, outside: Outside, ask_flags: AskFlags) -> list[Check]:
    """The comparison of everybody's books, after the gateway was asked for every outcome."""
    states, held = await system.outcomes(), await system.held()
    return await compare(system.book, states, held, outside, ask_flags)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[EmbeddedPostgres, Outside]]:
    """Database server and simulators, started side by side."""
    with EmbeddedPostgres(folder / "postgres") as postgres, simulators(folder) as outside:
        await set_faults(outside, [{"program": "signing-gateway", **REFUSES}])
        yield postgres, outside


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
