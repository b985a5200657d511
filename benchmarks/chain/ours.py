"""Our own chain: six services, once or twice each, with everything on."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import httpx
import orjson
import psutil

from backbone.assembly import MODULES, Client, Outside
from backbone.demo import play
from backbone.demo.client import ClientSystem
from benchmarks.chain.portal_books import Journal
from benchmarks.chain.rounds import Chain
from benchmarks.peers import clients
from tests.support.stack import Stack, running_stack

OUTSIDE = "outside systems"
STEPS = ("receive", "progress", "complete")
"""Taken with every dossier of the second profile."""
_REST_SECONDS, _REST_PATIENCE = 2.0, 120.0
_TELLING = "EXISTS (SELECT FROM outbox)"
_DELIVERING = "EXISTS (SELECT FROM delivery WHERE state <> 'held')"
_APPLIED = """
SELECT dossier_code, extract(epoch FROM decided_at)::float8 AS at FROM submission
WHERE kind = 'submit' AND state = 'applied' AND dossier_code = ANY($1::text[])
"""
_OFFICIAL = {"name": "Lý Thị Ánh", "title": "Chuyên viên", "department": "Bộ phận Một cửa"}


@dataclass
class Place:
    """Servers and outside systems, on which our services can be started and stopped.

    Attributes:
        delay: seconds that a call to the portal takes.
        dossiers: new ones in the portal's books.
        both: these and steps.
    """

    stack: Stack
    client: Client
    delay: float
    dossiers: Journal
    both: Journal
    agencies: Sequence[str]
    procedure: str

    @property
    def outside(self) -> Outside:
        """Addresses of the outside systems."""
        return self.stack.outside

    async def slow_portal(self) -> None:
        """Let a call to the portal take its time."""
        slow: dict[str, object] = {"program": "national-portal", "kind": "delay", "on": "*"}
        await play.set_faults(self.outside, [{**slow, "ms": self.delay * 1000}])

    @property
    def databases(self) -> list[str]:
        """Names of the services' databases."""
        return [name.replace("-", "_") for name in MODULES]


def _settings(process: str) -> dict[str, str]:
    """No client is slowed, and measurements are told as often as a deployment tells them."""
    prefix = process.partition("/")[0].upper().replace("-", "_")
    settings = {"USAGE_SECONDS": "60", "RATE_PER_SECOND": "1000000", "RATE_BURST": "1000000"}
    return {f"{prefix}_{name}": value for name, value in settings.items()}


@asynccontextmanager
async def place(folder: Path, delay: float) -> AsyncIterator[Place]:
    """Everything but the services, with the catalogue loaded."""
    client = Client("bench", secrets.token_urlsafe(24), play.SCOPES, ("*",))
    async with running_stack(folder, client=client, around=_settings) as stack:
        url = stack.plan.url("gateway")
        system = ClientSystem(url, client.client_id, client.secret)
        procedure = (await play.catalogue(system))[0].code
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            told = await http.get(f"{url}/v1/agencies?limit=200")
        agencies = [one["code"] for one in told.json()["items"]]
        await stop(stack)
        journal = folder / "simulators" / "national-portal" / "books.jsonl"
        dossiers = Journal(journal, (b"created",), delay)
        both = Journal(journal, (b"created", b"steps"), delay)
        found = Place(stack, client, delay, dossiers, both, agencies, procedure)
        await found.slow_portal()
        yield found


async def stop(stack: Stack) -> None:
    """End all services in order."""
    await asyncio.gather(*(asyncio.to_thread(one.stop) for one in stack.processes.values()))
    stack.processes.clear()


@asynccontextmanager
async def ours(where: Place, replicas: int = 1) -> AsyncIterator[Chain]:
    """Our chain, running."""
    stack = where.stack
    # While they were not running somebody else may have taken their ports.
    stack.plan = replace(stack.plan, ports={name: clients.free_port() for name in MODULES})
    stack.ports.clear()
    for service in MODULES:
        stack.start(service)
    await stack.ready()
    for number in range(2, replicas + 1):
        for service in MODULES:
            stack.start(f"{service}/{number}")
    await stack.ready()
    gateways = [name for name in stack.processes if name.partition("/")[0] == "gateway"]

    async def requests(count: int) -> list[bytes]:
        return clients.requests(
            "/v1/dossiers",
            count,
            await authorization(where),
            agencies=where.agencies,
            procedure=where.procedure,
        )

    try:
        async with AsyncExitStack() as ends:
            connections = [await _connected(stack, name, ends) for name in where.databases]
            yield Chain(
                "ours" if replicas == 1 else f"ours times {replicas}",
                stack,
                [stack.port(name) for name in gateways],
                requests,
                where.dossiers,
                {**services(stack), **servers(stack)},
                {OUTSIDE: [_simulators()]},
                where.databases,
                lambda: _at_rest(connections),
                lambda codes: _applied(connections[where.databases.index("gateway")], codes),
            )
    finally:
        await stop(stack)


def with_steps(chain: Chain, where: Place) -> Chain:
    """The same chain with the second profile: steps after each submission."""

    async def requests(count: int) -> list[bytes]:
        submitted = await chain.requests(count // (1 + len(STEPS)))
        header = "".join(f"{k}: {v}\r\n" for k, v in (await authorization(where)).items())
        codes = [clients.code_of(one) for one in submitted]
        taken = [_step(code or "", kind, header) for kind in STEPS for code in codes]
        return submitted + taken

    return replace(chain, name="ours with steps", requests=requests, portal=where.both)


def _step(code: str, kind: str, header: str) -> bytes:
    body = {"kind": kind, "at": "2026-11-02T09:00:00+07:00", "official": _OFFICIAL}
    lines = f"{header}idempotency-key: {code}/{kind}\r\n".encode()
    return clients.request(f"/v1/dossiers/{code}/steps", orjson.dumps(body), lines)


async def authorization(where: Place) -> dict[str, str]:
    """The header of the client whose dossiers these are, with a new token."""
    system = ClientSystem(
        where.stack.plan.url("gateway"), where.client.client_id, where.client.secret
    )
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        return await system.authorization(http)


def services(stack: Stack) -> dict[str, list[int]]:
    """Process ids of the running services."""
    return {name: [process.pid] for name, process in stack.processes.items()}


def servers(stack: Stack) -> dict[str, list[int]]:
    """Process ids of the servers."""
    return {"PostgreSQL": [stack.postgres.pid], "RabbitMQ": [stack.rabbit.pid]}


def _simulators() -> int:
    for process in psutil.Process().children(recursive=True):
        if process.cmdline()[1:3] == ["-m", "simulators"]:
            return int(process.pid)
    raise RuntimeError("the outside systems are gone")


async def _connected(stack: Stack, name: str, ends: AsyncExitStack) -> asyncpg.Connection:
    connection = await asyncpg.connect(stack.postgres.dsn, database=name)
    ends.push_async_callback(connection.close)
    return connection


async def _applied(gateway: asyncpg.Connection, codes: Sequence[str]) -> Mapping[str, float]:
    return {row["dossier_code"]: row["at"] for row in await gateway.fetch(_APPLIED, codes)}


async def _at_rest(connections: Sequence[asyncpg.Connection]) -> None:
    """Wait until no service has anything to tell or to deliver, and stays so.

    Raises:
        RuntimeError: it does not come to rest.
    """
    busy = [await _question(one) for one in connections]
    begun = moved = time.monotonic()
    while time.monotonic() < moved + _REST_SECONDS:
        await asyncio.sleep(_REST_SECONDS / 8)
        for connection, question in zip(connections, busy, strict=True):
            if await connection.fetchval(question):
                moved = time.monotonic()
        if moved > begun + _REST_PATIENCE:
            raise RuntimeError("our chain does not come to rest")


async def _question(connection: asyncpg.Connection) -> str:
    delivers = await connection.fetchval("SELECT to_regclass('delivery') IS NOT NULL")
    return f"SELECT {_TELLING} OR {_DELIVERING if delivers else 'false'}"
