"""Connections to RabbitMQ, what is declared there, and how its troubles are told."""

import asyncio
import random
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from common.cancellation import cancelled
from common.transport.base import Queue, TransportDown

EVENTS = "events"
DEAD = "dead"
"""The exchange of dead letters, and what the queues behind it are for."""
CONNECT_SECONDS = 5.0
DELIVERY_LIMIT = 50
_NO_LIMIT = 1_000_000  # RabbitMQ 4 would set 20 by itself, and then drop a dead letter
_CLOSE_SECONDS = 2.0
_HEARTBEAT_SECONDS = 10

log = structlog.get_logger()


@contextmanager
def broker_trouble() -> Iterator[None]:
    """Make TransportDown of whatever goes wrong with the broker, and only of that."""
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        if cancelled():
            raise asyncio.CancelledError from error
        if isinstance(error, TransportDown):
            raise
        raise TransportDown(type(error).__name__) from error


async def quietly(closing: Awaitable[Any]) -> None:
    """Close something, without waiting long for a broker that does not answer."""
    try:
        with broker_trouble():
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closing
    except TransportDown as error:
        log.debug("closing failed", error=str(error))


class Link:
    """One connection that is made anew whenever it is lost.

    Args:
        urls: the hosts of a cluster; any of them will do.
        name: what the broker's operators see.
    """

    def __init__(self, urls: Sequence[str], name: str) -> None:
        self._urls = list(urls)
        self._name = name
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()

    async def connection(self) -> AbstractConnection:
        """The open connection, or a new one to any of the hosts.

        Raises:
            TransportDown: no host takes it.
        """
        async with self._lock:
            # `is_closed` tells only of a connection that this side has closed.
            if self._connection is not None and self._connection.connected.is_set():
                return self._connection
            await self.close()
            failure = ""
            for url in random.sample(self._urls, len(self._urls)):
                try:
                    with broker_trouble():
                        async with asyncio.timeout(CONNECT_SECONDS):
                            self._connection = await aio_pika.connect(
                                url,
                                heartbeat=_HEARTBEAT_SECONDS,
                                client_properties={"connection_name": self._name},
                            )
                    return self._connection
                except TransportDown as error:
                    failure = str(error)
            raise TransportDown(f"no broker takes a connection: {failure}")

    async def drop(self, connection: AbstractConnection) -> None:
        """Take a connection for dead, unless it was replaced already."""
        if connection is self._connection:
            await self.close()

    async def close(self) -> None:
        """Close it; the next one who asks gets a new one."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed:
            await quietly(connection.close())


async def declare_events(channel: AbstractChannel) -> AbstractExchange:
    """The exchange of all events."""
    unrouted = await channel.declare_exchange(
        "events.unrouted", aio_pika.ExchangeType.FANOUT, durable=True
    )
    return await channel.declare_exchange(
        EVENTS,
        aio_pika.ExchangeType.TOPIC,
        durable=True,
        arguments={"alternate-exchange": unrouted.name},
    )


async def declare_dead(channel: AbstractChannel, service: str) -> None:
    """Where the dead letters of a service's queues go."""
    exchange = await channel.declare_exchange(DEAD, aio_pika.ExchangeType.DIRECT, durable=True)
    queue = await channel.declare_queue(
        _dead_queue(service),
        durable=True,
        arguments={"x-queue-type": "quorum", "x-delivery-limit": _NO_LIMIT},
    )
    await queue.bind(exchange, queue.name)


async def declare_queue(channel: AbstractChannel, queue: Queue) -> None:
    """A consumer's queue with its bindings."""
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD,
        "x-dead-letter-routing-key": _dead_queue(queue.service),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    await channel.declare_queue(queue.name, durable=True, arguments=arguments)
    await bind_queue(channel, queue)


async def bind_queue(channel: AbstractChannel, queue: Queue) -> None:
    """The bindings of a queue that is there.

    Raises:
        ChannelNotFoundEntity: it is not.
    """
    there = await channel.get_queue(queue.name)
    for pattern in queue.patterns:
        await there.bind(EVENTS, pattern)


def _dead_queue(service: str) -> str:
    return f"{service}.{DEAD}"
