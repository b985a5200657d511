"""How a service is put together and run: one call in its ``main.py``.

A service says what it is made of (``Parts``); everything that all services have comes from here:
the database and its migrations, the transport, relay and consumers, health, problems, telemetry.
"""

import asyncio
import gc
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from opentelemetry.sdk.trace import SpanProcessor

from common import operations, operators, problems, seals
from common.auth import OwnToken, TokenChecker, TokenKeys, keys_over_http
from common.backfill import Backfill
from common.cancellation import cancelled
from common.contracts.usage import Count, UsageMeasured
from common.database import Database, ensure_partitions, migrate
from common.envelope import MalformedEvent, decode
from common.errors import describe
from common.history import HttpHistory
from common.http import http_client
from common.identifiers import new_id
from common.inbox import Consumer, Subscription
from common.middleware import RequestLimits, Requests
from common.outbox import Outbox
from common.parking import History, Recovery
from common.retention import drop_old
from common.revocations import Revocations
from common.sealing import KeyRing
from common.settings import ServiceSettings
from common.telemetry import Telemetry
from common.transport.base import Transport
from common.transport.rabbitmq import RabbitTransport

log = structlog.get_logger()

Worker = Callable[[], Awaitable[None]]
_UPKEEP_SECONDS = 3600.0
_RESTART_LEAST, _RESTART_MOST = 0.2, 10.0


@dataclass
class Core:
    """What every service stands on; routes reach it as ``request.app.state.core``."""

    name: str
    settings: ServiceSettings
    database: Database
    outbox: Outbox
    transport: Transport
    telemetry: Telemetry
    tokens: TokenChecker
    revocations: Revocations
    own_token: OwnToken
    http: httpx.AsyncClient
    keys: KeyRing
    consumers: list[Consumer] = field(default_factory=list)


@dataclass(frozen=True)
class Parts:
    """What one service is made of.

    Attributes:
        subscriptions: the queues it consumes.
        workers: endless coroutines, started again with a pause when they fail.
        state: what its routes need, by name, on ``app.state``.
        checks: further conditions of readiness, by name; each raises unless it holds.
    """

    subscriptions: Sequence[Subscription] = ()
    workers: Sequence[Worker] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Worker] = field(default_factory=dict)


Assemble = Callable[[Core], AbstractAsyncContextManager[Parts]]


@dataclass(frozen=True)
class Shared:
    """What services of one process share in place of their own (all-in-one run, tests)."""

    transport: Transport | None = None
    history: History | None = None
    token_keys: TokenKeys | None = None
    spans: SpanProcessor | None = None


def create_service(
    name: str,
    settings: ServiceSettings,
    assemble: Assemble,
    *,
    routers: Sequence[APIRouter] = (),
    package: str | None = None,
    body_limits: dict[str, int] | None = None,
    time_limits: dict[str, float] | None = None,
    shared: Shared = Shared(),
) -> FastAPI:
    """The service's application; everything is built when it starts, nothing on import.

    Args:
        name: the service's name, also the first half of its queues' names.
        settings: read by the caller.
        assemble: opens what is the service's own and says what it is made of.
        routers: its REST routes.
        package: where its migrations are; the name with underscores unless given.
        body_limits: other body limits in bytes, by path prefix (the longest counts).
        time_limits: other time limits of whole requests in seconds, likewise.
        shared: what it does not build itself.
    """
    telemetry = Telemetry(name, settings, shared.spans)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(telemetry.close)
            database = Database(settings, name=name)
            stack.push_async_callback(database.close)
            await migrate(database, package or name.replace("-", "_"))
            http = await stack.enter_async_context(http_client())
            transport = shared.transport or _rabbit(settings, name)
            revocations = Revocations(http, settings.revocations_url, settings.revocations_seconds)
            core = Core(
                name=name,
                settings=settings,
                database=database,
                outbox=Outbox(database, name),
                transport=transport,
                telemetry=telemetry,
                tokens=TokenChecker(
                    settings, shared.token_keys or _keys(settings, http), revocations
                ),
                revocations=revocations,
                own_token=OwnToken(settings, http),
                http=http,
                keys=KeyRing(settings.sealing_keys, settings.sealing_key),
            )
            app.state.core = core
            await transport.start()
            parts = await stack.enter_async_context(assemble(core))
            for key, value in parts.state.items():
                setattr(app.state, key, value)
            app.state.checks = {
                "database": database.check,
                "transport": transport.ready,
                **parts.checks,
            }
            await stack.enter_async_context(_running(core, parts, shared))
            app.state.ready = True
            gc.collect()
            gc.freeze()
            yield
            app.state.ready = False

    app = FastAPI(
        title=f"Liên thông – {name}",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        generate_unique_id_function=lambda route: route.name,
        # Requests has its own; even unused, the framework's costs each request six percent.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.ready = False
    # A request is held against one after the other: what is asked most comes first.
    for router in (*routers, operations.router, operators.router, seals.router):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(
        Requests,
        telemetry=telemetry,
        limits=RequestLimits.of(settings, body_limits, time_limits),
    )
    return app


def core_of(request: Request) -> Core:
    """The service's core (a dependency of routes)."""
    core: Core = request.app.state.core
    return core


CoreOf = Annotated[Core, Depends(core_of)]


def _rabbit(settings: ServiceSettings, name: str) -> Transport:
    if settings.amqp_url is None:
        raise ValueError("AMQP_URL is not set and no transport is shared")
    return RabbitTransport(settings.amqp_url, name)


def _keys(settings: ServiceSettings, http: httpx.AsyncClient) -> TokenKeys:
    if settings.token_keys_url is None:

        async def none() -> dict[str, Any]:
            return {"keys": []}

        return TokenKeys(none)
    return keys_over_http(http, settings.token_keys_url)


@asynccontextmanager
async def _running(core: Core, parts: Parts, shared: Shared) -> AsyncIterator[None]:
    """Consumers, relay and workers, started in this order and stopped in the reverse one."""
    history = shared.history or HttpHistory(
        core.settings.history_urls,
        core.http,
        core.own_token.headers,
        core.own_token.forget,
    )
    core.consumers = [
        Consumer(core.name, subscription, core.outbox, core.telemetry)
        for subscription in parts.subscriptions
    ]
    check = core.database.check
    backfills = [Backfill(consumer, core.database, history) for consumer in core.consumers]
    for consumer, backfill in zip(core.consumers, backfills, strict=True):
        core.transport.consume(
            consumer.queue,
            consumer.take,
            check=check,
            batch=consumer.subscription.batch,
            attaching=backfill.attaching,
        )
    if core.consumers and isinstance(core.transport, RabbitTransport):
        core.transport.consume_dead(_dead(core.consumers), check=check, batch=50)
    recoveries = [Recovery(consumer, core.database, history) for consumer in core.consumers]
    usage = _Usage(core)
    workers: dict[str, Worker] = {
        "relay": lambda: core.outbox.relay(core.transport),
        "usage": usage.run,
        "revocations": core.revocations.run,
        "upkeep": lambda: _upkeep(core),
        **{f"recovery {recovery.name}": recovery.run for recovery in recoveries},
        **{f"backfill {backfill.name}": backfill.run for backfill in backfills},
        **{f"worker {number}": worker for number, worker in enumerate(parts.workers)},
    }
    tasks = [
        asyncio.create_task(_kept_alive(core.name, name, worker), name=f"{core.name} {name}")
        for name, worker in workers.items()
    ]
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(core.settings.shutdown_seconds):
                await core.transport.stop_consuming(core.name)
                await usage.tell()
                while await core.outbox.publish_once(core.transport):
                    pass
        except Exception as error:
            log.warning("shutdown left work for the next start", error=describe(error))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if shared.transport is None:
                await core.transport.close()


async def _kept_alive(service: str, name: str, worker: Worker) -> None:
    """Run an endless coroutine; one that fails is started again after a pause."""
    pause = _RESTART_LEAST
    while True:
        started = time.monotonic()
        try:
            await worker()
        except (Exception, asyncio.CancelledError) as error:
            if cancelled():
                raise asyncio.CancelledError from error
            log.error("worker failed", service=service, worker=name, error=describe(error))
        if time.monotonic() - started > _RESTART_MOST:
            pause = _RESTART_LEAST
        await asyncio.sleep(pause)
        pause = min(pause * 2, _RESTART_MOST)


async def _upkeep(core: Core) -> None:
    """Partitions are made before their month and dropped after their days."""
    settings = core.settings
    while True:
        await asyncio.sleep(_UPKEEP_SECONDS)
        await ensure_partitions(core.database)
        await drop_old(core.database, log_days=settings.log_days, inbox_days=settings.inbox_days)


def _dead(
    consumers: Sequence[Consumer],
) -> Callable[[Sequence[bytes]], Awaitable[None]]:
    """Dead letters go to every consumer of the service that wants their type: doing an event again
    is harmless, and which queue it died in differs between versions of the broker."""

    async def take(bodies: Sequence[bytes]) -> None:
        for body in bodies:
            try:
                routing_key = decode(body).type
            except MalformedEvent:
                await consumers[0].take([body])
                continue
            for consumer in consumers:
                if consumer.queue.wants(routing_key):
                    await consumer.take([body])

    return take


class _Usage:
    """Tells the counts of each interval once, through the outbox."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._boot = str(new_id())
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._interval = 0
        self._started = datetime.now(UTC)
        self._untold: UsageMeasured | None = None
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._core.settings.usage_seconds)
            await self.tell()

    async def tell(self) -> None:
        """Tell what was counted since the last time.

        Where that fails, the same interval with the same counts is told the next time, since it
        may have been committed all the same; what is counted meanwhile waits for the one after.
        """
        async with self._one_at_a_time:
            event = self._untold = self._untold or self._measured()
            async with self._core.outbox.transaction() as unit:
                unit.tell(event, aggregate=f"{self._core.name}:{self._boot}", agency="backbone")
            self._untold = None

    def _measured(self) -> UsageMeasured:
        """Take the counts out."""
        usage = self._core.telemetry.usage
        counts = tuple(Count(name=name, value=value) for name, value in sorted(usage.items()))
        usage.clear()
        started, self._started = self._started, datetime.now(UTC)
        self._interval += 1
        return UsageMeasured(
            service=self._core.name,
            instance=self._instance,
            boot=self._boot,
            interval=self._interval,
            started_at=started,
            ended_at=self._started,
            counts=counts,
        )
