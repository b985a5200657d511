"""The reference pipelines of ``benchmarks/peers``, on the same servers as ours.

They have databases and a virtual host of their own.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from backbone.leash import Leashed
from benchmarks.chain.ours import OUTSIDE, servers
from benchmarks.chain.rounds import Chain
from benchmarks.peers import clients
from benchmarks.peers.floor import TABLES
from benchmarks.peers.least import STORE, make_queue
from tests.support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "benchmarks/peers/requirements.lock"
_REST_SECONDS = 2.0
_CHILDREN = "16"
"""Of the Celery worker: calls to the portal at the same time."""


@dataclass(frozen=True)
class Places:
    """Where a pipeline's parts are."""

    intake: str
    store: str
    amqp: str
    portal: str
    port: int

    def environment(self) -> dict[str, str]:
        """The same for programs that take it from the environment."""
        return {
            "PEER_INTAKE": self.intake,
            "PEER_STORE": self.store,
            "PEER_AMQP": self.amqp,
            "PEER_PORTAL": self.portal,
        }


@dataclass(frozen=True)
class Pipeline:
    """One of them.

    Attributes:
        programs: modules with their arguments, by role; ``intake`` listens.
        framework: whether it needs the virtual environment of ``peers/requirements.lock``.
    """

    name: str
    programs: Callable[[Places], Mapping[str, Sequence[str]]]
    framework: bool = True


def _least(places: Places) -> dict[str, list[str]]:
    options = ["--intake", places.intake, "--store", places.store]
    options += ["--amqp", places.amqp, "--portal", places.portal]
    port = str(places.port)
    return {
        "intake": ["benchmarks.peers.floor", "--database", places.intake, "--port", port],
        **{
            role: ["benchmarks.peers.least", role, *options]
            for role in ("relay", "consumer", "pusher")
        },
    }


def _intake(module: str, places: Places) -> list[str]:
    quiet = ["--no-access-log", "--log-level", "warning"]
    return ["uvicorn", f"benchmarks.peers.{module}:api", "--port", str(places.port), *quiet]


def _celery(places: Places) -> dict[str, list[str]]:
    app = "benchmarks.peers.celery_pipeline:tasks"
    return {
        "intake": _intake("celery_pipeline", places),
        "worker": ["celery", "-A", app, "worker", "--concurrency", _CHILDREN, "-l", "WARNING"],
    }


def _faststream(places: Places) -> dict[str, list[str]]:
    return {
        "intake": _intake("faststream_pipeline", places),
        "worker": ["benchmarks.peers.faststream_pipeline"],
    }


PIPELINES = {
    one.name: one
    for one in (
        Pipeline("least", _least, framework=False),
        Pipeline("celery", _celery),
        Pipeline("faststream", _faststream),
    )
}


class NotInstalled(Exception):
    """What the pipelines on frameworks need could not be installed."""


def frameworks() -> str:
    """The Python of a virtual environment with the frameworks, made where there is none.

    It is one of its own, since neither the product nor its tests may come to need them.

    Raises:
        NotInstalled: the package index did not give them.
    """
    mark = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache/peers" / mark
    python = folder / "bin/python"
    done = folder / "complete"
    if done.exists():
        return str(python)
    uv = str(Path(sys.executable).parent / "uv")
    cache = {"UV_CACHE_DIR": str(ROOT / ".cache/uv"), "UV_SYSTEM_CERTS": "1"}
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(LOCK)],
    ):
        made = subprocess.run(
            command, env={**cache, **os.environ}, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise NotInstalled(" ".join(made.stderr.split())[:200])
    done.touch()
    return str(python)


class _Counting:
    """The portal that only counts (``peers/portal.py``)."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def known(self) -> tuple[int, float]:
        told = (await self._http.get(f"{self._url}/arrived")).json()
        return told["arrived"], told["last"]

    async def times(self) -> Mapping[str, float]:
        told: dict[str, float] = (await self._http.get(f"{self._url}/times")).json()
        return told


@asynccontextmanager
async def running(
    pipeline: Pipeline, stack: Stack, folder: Path, delay: float
) -> AsyncIterator[Chain]:
    """A pipeline with empty databases, running.

    Raises:
        NotInstalled: it cannot run here.
    """
    python = frameworks() if pipeline.framework else sys.executable
    name = f"peers-{pipeline.name}"
    async with AsyncExitStack() as ends:
        broker = stack.rabbit.broker
        amqp = broker.create_vhost(name)
        ends.callback(broker.delete_vhost, name)
        if not pipeline.framework:
            await make_queue(amqp)
        databases = [f"peers_{part}" for part in ("intake", "store")]
        intake, store = [await _database(stack, one) for one in databases]
        await _execute(intake, TABLES)
        await _execute(store, STORE)
        port, portal_port = clients.free_port(), clients.free_port()
        portal = f"http://127.0.0.1:{portal_port}"
        places = Places(intake, store, amqp, f"{portal}/push", port)
        environment = {**os.environ, **places.environment(), "PYTHONPATH": str(ROOT)}

        def start(role: str, python: str, arguments: Sequence[str]) -> Leashed:
            log = folder / f"{name}-{role}.log"
            started = Leashed([python, "-m", *arguments], log=log, cwd=ROOT, env=environment)
            ends.callback(started.stop)
            return started

        counting = ["benchmarks.peers.portal", "--port", str(portal_port), "--delay", str(delay)]
        counted = start("portal", sys.executable, counting)
        programs = pipeline.programs(places)
        started = {role: start(role, python, given) for role, given in programs.items()}
        await clients.listening(portal_port)
        await clients.listening(port)
        http = await ends.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))

        async def requests(count: int) -> list[bytes]:
            return clients.requests("/dossiers", count, {})

        yield Chain(
            pipeline.name,
            stack,
            [port],
            requests,
            _Counting(http, portal),
            {**{role: [one.pid] for role, one in started.items()}, **servers(stack)},
            {OUTSIDE: [counted.pid]},
            databases,
            lambda: asyncio.sleep(_REST_SECONDS),
        )


def example() -> bytes:
    """A dossier as it goes over the wire, without the header lines."""
    return clients.requests("/dossiers", 1, {})[0].partition(b"\r\n\r\n")[2]


async def _database(stack: Stack, name: str) -> str:
    await _execute(stack.postgres.dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    return await stack.postgres.create_database(name, "peers", "peers")


async def _execute(dsn: str, statements: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.execute(statements)
    finally:
        await connection.close()
