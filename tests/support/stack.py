"""The whole system as real processes: PostgreSQL, RabbitMQ, simulators and the six services."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from backbone.assembly import MODULES, Plan, environment_of
from backbone.demo import play
from backbone.leash import Leashed
from backbone.postgres import EmbeddedPostgres
from tests.support.rabbitmq import RabbitNode

_READY_SECONDS = 60.0


@dataclass
class Stack:
    """What runs; a service or the broker can be killed and started again."""

    plan: Plan
    postgres: EmbeddedPostgres
    rabbit: RabbitNode
    processes: dict[str, Leashed] = field(default_factory=dict)

    def start(self, service: str) -> None:
        """Start a service's process."""
        self.processes[service] = Leashed(
            [sys.executable, "-m", service.replace("-", "_"), "serve"],
            log=self.plan.folder / f"{service}.log",
            env={**os.environ, **environment_of(self.plan, service)},
        )

    def kill(self, service: str) -> None:
        """SIGKILL a service."""
        os.kill(self.processes[service].pid, signal.SIGKILL)
        self.processes.pop(service).stop()

    async def ready(self, *services: str) -> None:
        """Wait until the services (all of them, unless named) say so themselves."""
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(_READY_SECONDS):
            for service in services or tuple(MODULES):
                while True:
                    try:
                        answer = await http.get(f"{self.plan.url(service)}/readyz")
                        if answer.status_code == 200:
                            break
                    except httpx.HTTPError:
                        pass
                    if not self.processes[service].running:
                        log = (self.plan.folder / f"{service}.log").read_text()[-3000:]
                        raise AssertionError(f"{service} ended:\n{log}")
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def running_stack(folder: Path) -> AsyncIterator[Stack]:
    """Everything up and ready; everything gone at the end."""
    async with AsyncExitStack() as stack:
        rabbit = RabbitNode(folder / "rabbit")
        await asyncio.to_thread(rabbit.start)
        stack.callback(rabbit.stop)
        postgres, outside = await stack.enter_async_context(play.stage(folder))
        plan = Plan(
            folder=folder,
            databases=await play.databases(postgres),
            ports=play.free_ports(),
            outside=outside,
            clients=(play.demo_client(),),
            amqp_url=rabbit.url,
        )
        system = Stack(plan, postgres, rabbit)

        def stop() -> None:
            for process in system.processes.values():
                process.stop()

        stack.callback(stop)
        for service in MODULES:
            system.start(service)
        await system.ready()
        yield system
