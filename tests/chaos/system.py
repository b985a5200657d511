"""The system that is disturbed: real processes, two of the important ones, reached by proxies."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import aio_pika
import httpx
from aio_pika.abc import AbstractIncomingMessage

from backbone.assembly import MODULES
from tests.chaos import clock
from tests.chaos.providers import PROVIDERS, Connected, unwilling
from tests.chaos.proxy import Proxies, proxies
from tests.support.stack import Stack, running_stack

_BROKER_SECONDS = 180.0
_BACK_SECONDS = 120.0
WITNESS = "chaos-witness"
"""A queue that gets a copy of every event."""
_BLOBS_SIZE = "256m"

TWICE = ("dossier", "gateway", "national-portal-sync")
"""Services that run as two processes: locks between replicas are worth nothing untested."""
CLOCKED = tuple(f"{service}/2" for service in TWICE)
"""Processes whose clocks can be stepped; to make time up costs a third of their speed."""


@dataclass
class System:
    """What faults can get hold of."""

    stack: Stack
    proxies: Proxies
    clocks: bool
    """Whether clocks can be stepped here."""
    providers: dict[str, str] = field(default_factory=dict)
    """Addresses of the signing providers beside the gateway."""
    _held: dict[str, asyncio.Lock] = field(default_factory=dict)

    def held(self, what: str) -> asyncio.Lock:
        """Whoever breaks something has it to themselves until it is mended."""
        return self._held.setdefault(what, asyncio.Lock())

    @property
    def services(self) -> list[str]:
        """Every process of a service, such as ``dossier`` and ``dossier/2``."""
        return sorted((*MODULES, *(f"{service}/2" for service in TWICE)))

    async def back(self, process: str) -> None:
        """Wait until a service is ready; one that ends because what it needs is away is started
        again, as whatever runs it in production does."""
        async with asyncio.timeout(_BACK_SECONDS):
            while True:
                try:
                    return await self.stack.ready(process)
                except AssertionError:
                    await asyncio.to_thread(self.stack.processes.pop(process).stop)
                    self.stack.start(process)

    async def fault(self, program: str, **rule: Any) -> None:
        """Tell a simulator to misbehave."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"{self.outside(program)}/_faults", json=rule)
        answer.raise_for_status()

    async def rules(self, program: str) -> list[dict[str, Any]]:
        """The rules in force in a simulator."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self.outside(program)}/_faults")
        return list(answer.json())

    def outside(self, program: str) -> str:
        """A simulator's address."""
        if program in self.providers:
            return self.providers[program]
        return str(getattr(self.stack.outside, program.replace("-", "_")))

    @property
    def programs(self) -> tuple[str, ...]:
        """Every simulator that faults are told to."""
        return ("national-portal", "emc", *PROVIDERS)

    async def unmet(self) -> list[tuple[str, dict[str, Any]]]:
        """The rules in force at signing providers that nobody has met, with the program of each."""
        return [
            (program, rule)
            for program in PROVIDERS
            for rule in await self.rules(program)
            if rule["times"] and not rule["struck"]
        ]

    async def calm(self) -> None:
        """Simulators behave, but for people who do not sign."""
        async with httpx.AsyncClient(trust_env=False) as http:
            for program in self.programs:
                (await http.delete(f"{self.outside(program)}/_faults")).raise_for_status()
        for program, rule in unwilling():
            await self.fault(program, **rule)

    async def broker(self, method: str, path: str, body: object = None) -> Any:
        """Ask the management API, once the broker is there (another fault may have it)."""
        async with asyncio.timeout(_BROKER_SECONDS):
            while True:
                try:
                    request = self.stack.rabbit.broker.request
                    return await asyncio.to_thread(request, method, path, body)
                except (OSError, HTTPException):
                    await asyncio.sleep(0.5)

    async def publish(self, routing_key: str, payload: str) -> None:
        """Put a message on the services' exchange, as a program that is not ours would."""
        body = {
            "properties": {"delivery_mode": 2, "content_type": "application/cloudevents+json"},
            "routing_key": routing_key,
            "payload": payload,
            "payload_encoding": "string",
        }
        await self.broker("POST", "/api/exchanges/%2F/events/publish", body)

    async def watch(self) -> None:
        """From now on the broker keeps a copy of all that is published."""
        if any(queue["name"] == WITNESS for queue in await self.broker("GET", "/api/queues/%2F")):
            await self.broker("DELETE", f"/api/queues/%2F/{WITNESS}")
        await self.broker("PUT", f"/api/queues/%2F/{WITNESS}", {"durable": True})
        binding = {"routing_key": "#", "arguments": {}}
        await self.broker("POST", f"/api/bindings/%2F/e/events/q/{WITNESS}", binding)

    async def published(self) -> Counter[str]:
        """How often each event was published since ``watch``, by its id."""
        times: Counter[str] = Counter()
        async with await aio_pika.connect(self.stack.rabbit.url) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(WITNESS)
            left = queue.declaration_result.message_count or 0
            done = asyncio.Event()

            async def note(message: AbstractIncomingMessage) -> None:
                nonlocal left
                left -= 1
                if message.message_id is not None:  # what a fault published has none
                    times[message.message_id] += 1
                if left <= 0:
                    done.set()

            if left:
                await queue.consume(note, no_ack=True)
                await done.wait()
        return times


def clock_of(folder: Path, process: str) -> Path:
    """The file that a process's clock follows."""
    return folder / f"{process.replace('/', '-')}.clock"


@asynccontextmanager
async def _room_of_its_own(folder: Path) -> AsyncIterator[None]:
    """A small file system for the file store, so that it can be filled up; needs root."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_BLOBS_SIZE}", "tmpfs", str(folder)]
    mounted = (await _run(*mount)) == 0
    try:
        yield
    finally:
        if mounted:
            await _run("umount", "--lazy", str(folder))


async def _run(*command: str) -> int:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    return await process.wait()


@asynccontextmanager
async def running_system(folder: Path) -> AsyncIterator[System]:
    """Everything up, by way of proxies; the simulators keep books that no fault of ours touches."""
    async with AsyncExitStack() as stack:
        if os.geteuid() == 0:
            await stack.enter_async_context(_room_of_its_own(folder / "blobs"))
        wires = await stack.enter_async_context(proxies())
        library = await asyncio.to_thread(clock.library)

        providers = Connected(folder, wires)
        stack.push_async_callback(providers.stop)

        def around(process: str) -> dict[str, str]:
            if process == "signature-connector":
                return providers.environment
            if library is None or process not in CLOCKED:
                return {}
            return clock.environment(library, clock_of(folder, process))

        system = await stack.enter_async_context(
            running_stack(
                folder,
                through=wires.through,
                twice=TWICE,
                around=around,
                before=providers.start,
            )
        )
        yield System(system, wires, clocks=library is not None, providers=providers.urls)
