"""The whole system as real processes: PostgreSQL, RabbitMQ, simulators and the six services."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from backbone.assembly import MODULES, Client, Outside, Plan, environment_of
from backbone.demo import play
from backbone.leash import Leashed
from backbone.postgres import EmbeddedPostgres
from tests.support.rabbitmq import RabbitNode

_READY_SECONDS = 120.0

Through = Callable[[str, str], Awaitable[str]]
"""Takes what an address is of and the address; gives the one to use in its place."""


@dataclass
class Stack:
    """What runs; a service or the broker can be killed and started again.

    A second process of a service is called ``<service>/2`` and has a port of its own.

    Attributes:
        outside: the outside systems' own addresses, for those who look into their books.
        around: further environment of a process.
    """

    plan: Plan
    postgres: EmbeddedPostgres
    rabbit: RabbitNode
    outside: Outside
    processes: dict[str, Leashed] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    around: Callable[[str], Mapping[str, str]] = lambda _: {}

    def start(self, process: str) -> None:
        """Start a service's process."""
        service, port = process.partition("/")[0], self.port(process)
        own = replace(self.plan, ports={**self.plan.ports, service: port})
        self.processes[process] = Leashed(
            [sys.executable, "-m", service.replace("-", "_"), "serve"],
            log=self.log(process),
            env={**os.environ, **environment_of(own, service), **self.around(process)},
        )

    def port(self, process: str) -> int:
        """Where a process listens."""
        if process in self.plan.ports:
            return self.plan.ports[process]
        if process not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[process] = probe.getsockname()[1]
        return self.ports[process]

    def log(self, process: str) -> Path:
        """The file that a process logs to."""
        return self.plan.folder / f"{process.replace('/', '-')}.log"

    def kill(self, process: str) -> None:
        """SIGKILL a service's process."""
        os.kill(self.processes[process].pid, signal.SIGKILL)
        self.processes.pop(process).stop()

    async def ready(self, *processes: str) -> None:
        """Wait until the processes (all of them, unless named) say so themselves."""
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(_READY_SECONDS):
            for process in processes or tuple(self.processes):
                while True:
                    try:
                        answer = await http.get(f"http://127.0.0.1:{self.port(process)}/readyz")
                        if answer.status_code == 200:
                            break
                    except httpx.HTTPError:
                        pass
                    if not self.processes[process].running:
                        raise AssertionError(
                            f"{process} ended:\n{self.log(process).read_text()[-3000:]}"
                        )
                    await asyncio.sleep(0.05)


async def _straight(_: str, address: str) -> str:
    return address


@asynccontextmanager
async def running_stack(
    folder: Path,
    *,
    through: Through = _straight,
    twice: Sequence[str] = (),
    around: Callable[[str], Mapping[str, str]] = lambda _: {},
    client: Client | None = None,
    before: Callable[[Plan, Outside], Awaitable[None]] | None = None,
) -> AsyncIterator[Stack]:
    """Everything up and ready; everything gone at the end.

    Args:
        through: changes the addresses under which services reach the database, the broker and the
            outside systems.
        twice: services that run as two processes.
        around: further environment of a process.
        client: in place of the demonstration's.
        before: called with the plan and the outside systems' own addresses, before any service
            starts.
    """
    async with AsyncExitStack() as stack:
        rabbit = RabbitNode(folder / "rabbit")
        await asyncio.to_thread(rabbit.start)
        stack.push_async_callback(asyncio.to_thread, rabbit.kill)
        postgres, outside = await stack.enter_async_context(play.stage(folder))
        databases = await play.databases(postgres)
        plan = Plan(
            folder=folder,
            databases={name: await through("database", url) for name, url in databases.items()},
            ports=play.free_ports(0),
            outside=replace(
                outside,
                national_portal=await through("national-portal", outside.national_portal),
                signing_gateway=await through("signing-gateway", outside.signing_gateway),
                emc=await through("emc", outside.emc),
            ),
            clients=(client or play.demo_client(), play.operator_client()),
            amqp_url=await through("broker", rabbit.url),
        )
        system = Stack(plan, postgres, rabbit, outside, around=around)

        def stop() -> None:
            for process in system.processes.values():
                process.stop()

        # In a thread: what they reach through this process must stay reachable meanwhile.
        stack.push_async_callback(asyncio.to_thread, stop)
        if before is not None:
            await before(plan, outside)
        for process in (*MODULES, *(f"{service}/2" for service in twice)):
            system.start(process)
        await system.ready()
        yield system
