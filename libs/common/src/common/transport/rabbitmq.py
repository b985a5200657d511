"""The transport over RabbitMQ (3.10 and later), by aio-pika.

Topology: topic exchange ``events`` with the alternate ``events.unrouted``; quorum queues
``<service>.<purpose>`` without a length limit; what the broker gives up on goes through exchange
``dead`` to ``<service>.dead`` and is taken from there like any other event.

Publishing and consuming have a connection each, so that a broker that blocks publishers (memory,
disk) still takes acknowledgements.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.abc import AbstractIncomingMessage as Incoming
from aio_pika.exceptions import ChannelNotFoundEntity
from pydantic import SecretStr

from common.envelope import CONTENT_TYPE
from common.transport.base import Check, Handler, Message, Missing, Queue, TransportDown

CONFIRM_SECONDS = 5.0
DELIVERY_LIMIT = 50
_CONNECT_SECONDS = 5.0
_BACKOFF_LEAST, _BACKOFF_MOST = 0.2, 5.0
_WATCH_SECONDS = 1.0
_HEARTBEAT_SECONDS = 10

log = structlog.get_logger()


class _Link:
    """One connection that is made anew whenever it is lost."""

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
            if self._connection is not None and not self._connection.is_closed:
                return self._connection
            failure = ""
            for url in random.sample(self._urls, len(self._urls)):
                try:
                    async with asyncio.timeout(_CONNECT_SECONDS):
                        self._connection = await aio_pika.connect(
                            url,
                            heartbeat=_HEARTBEAT_SECONDS,
                            client_properties={"connection_name": self._name},
                        )
                    return self._connection
                except Exception as error:
                    failure = type(error).__name__
            raise TransportDown(f"no broker takes a connection: {failure}")

    async def close(self) -> None:
        """Close it, without waiting long for a broker that does not answer."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed:
            await _quietly(connection.close())


class RabbitTransport:
    """Carries events of one service process.

    Args:
        url: AMQP URL; several hosts of a cluster separated by commas.
        service: the service's name, for the connection and its dead letters.
    """

    def __init__(self, url: SecretStr, service: str) -> None:
        urls = [part.strip() for part in url.get_secret_value().split(",")]
        self._service = service
        self._publishing = _Link(urls, f"{service} publishing")
        self._consuming = _Link(urls, f"{service} consuming")
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()
        self._consumers: list[_QueueConsumer] = []

    async def start(self) -> None:
        """Connections are made when they are first needed."""

    async def ready(self) -> None:
        """Raise TransportDown unless the broker takes events now."""
        await self._open()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """One window of confirms; False for what was not confirmed in time."""
        exchange = await self._open()
        results = await asyncio.gather(
            *(self._publish_one(exchange, message) for message in messages)
        )
        if not all(results):
            # An open question about one confirm is one about the channel: begin with a new one.
            await self._drop_channel()
        return results

    async def _publish_one(self, exchange: AbstractExchange, message: Message) -> bool:
        try:
            await exchange.publish(
                aio_pika.Message(
                    message.body,
                    message_id=message.id,
                    type=message.routing_key,
                    content_type=CONTENT_TYPE,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                message.routing_key,
                mandatory=False,
                timeout=CONFIRM_SECONDS,
            )
        except asyncio.CancelledError:
            # aiormq also cancels a publish whose connection dies: that is no wish of ours to end.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        except Exception as error:
            log.warning("publish not confirmed", error=type(error).__name__)
            return False
        return True

    async def _open(self) -> AbstractExchange:
        async with self._opening:
            if self._exchange is not None and self._channel and not self._channel.is_closed:
                return self._exchange
            try:
                async with asyncio.timeout(_CONNECT_SECONDS * 2):
                    connection = await self._publishing.connection()
                    self._channel = await connection.channel(publisher_confirms=True)
                    self._exchange = await _declare_events(self._channel)
            except TransportDown:
                raise
            except Exception as error:
                raise TransportDown(type(error).__name__) from error
            return self._exchange

    async def _drop_channel(self) -> None:
        channel, self._channel, self._exchange = self._channel, None, None
        if channel is not None and not channel.is_closed:
            await _quietly(channel.close())

    def consume(
        self,
        queue: Queue,
        handler: Handler,
        *,
        check: Check,
        batch: int,
        missing: Missing | None = None,
    ) -> None:
        """Start a consumer of this queue; the first one also takes the service's dead letters."""
        consumer = _QueueConsumer(self._consuming, queue, handler, check, batch, missing)
        self._consumers.append(consumer)
        consumer.task = asyncio.create_task(consumer.run(), name=f"consume {queue.name}")

    def consume_dead(self, handler: Handler, *, check: Check, batch: int) -> None:
        """Take what the broker gave up on."""
        self.consume(Queue(self._service, "dead", ()), handler, check=check, batch=batch)

    async def stop_consuming(self, service: str | None = None) -> None:
        """Finish the running batches; what is buffered stays with the broker."""
        for consumer in self._consumers:
            consumer.stopping.set()
        tasks = [consumer.task for consumer in self._consumers if consumer.task]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._consuming.close()

    async def close(self) -> None:
        """Close both connections."""
        for consumer in self._consumers:
            if consumer.task:
                consumer.task.cancel()
        await self._drop_channel()
        await self._publishing.close()
        await self._consuming.close()


class _QueueConsumer:
    """Keeps one queue consumed, through lost connections, deleted queues and failing handlers."""

    def __init__(
        self,
        link: _Link,
        queue: Queue,
        handler: Handler,
        check: Check,
        batch: int,
        missing: Missing | None,
    ) -> None:
        self._link = link
        self._missing = missing
        self._queue = queue
        self._handler = handler
        self._check = check
        self._batch = batch
        self.stopping = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        backoff = _BACKOFF_LEAST
        while not self.stopping.is_set():
            try:
                # Asked first: taking messages only to give them back would use up their
                # delivery limit.
                await self._check()
                connection = await self._link.connection()
                channel = await connection.channel()
                try:
                    backoff = await self._consume(channel, backoff)
                finally:
                    if not channel.is_closed:
                        await _quietly(channel.close())
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            except Exception as error:
                log.warning("consumer pauses", queue=self._queue.name, error=repr(error))
            if not self.stopping.is_set():
                await asyncio.sleep(backoff * random.uniform(0.5, 1))
                backoff = min(backoff * 2, _BACKOFF_MOST)

    async def _consume(self, channel: AbstractChannel, backoff: float) -> float:
        """Consume until something breaks; the backoff to use after that."""
        await channel.set_qos(prefetch_count=2 * self._batch)
        await _declare_events(channel)
        if self._missing and not await self._exists():
            async with self._missing():
                queue = await _declare_queue(channel, self._queue)
        else:
            queue = await _declare_queue(channel, self._queue)
        arrived: asyncio.Queue[Incoming] = asyncio.Queue()
        tag = await queue.consume(arrived.put)
        underlay: Any = await channel.get_underlay_channel()
        while not self.stopping.is_set():
            batch = await self._next_batch(arrived)
            if batch:
                await self._handler([message.body for message in batch])
                await batch[-1].ack(multiple=True)
                backoff = _BACKOFF_LEAST
            if channel.is_closed or tag not in underlay.consumers:
                raise TransportDown("the channel was closed or the queue deleted")
        return backoff

    async def _exists(self) -> bool:
        channel = await (await self._link.connection()).channel()
        try:
            await channel.declare_queue(self._queue.name, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
        return True

    async def _next_batch(self, arrived: asyncio.Queue[Incoming]) -> list[Incoming]:
        """What has arrived, up to a batch; empty after a while without anything."""
        getting = asyncio.ensure_future(arrived.get())
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait(
                (getting, stopping),
                timeout=_WATCH_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self.stopping.is_set() or not getting.done():
                return []
            batch = [getting.result()]
        finally:
            getting.cancel()
            stopping.cancel()
        while len(batch) < self._batch and not arrived.empty():
            batch.append(arrived.get_nowait())
        return batch


async def _declare_events(channel: AbstractChannel) -> AbstractExchange:
    unrouted = await channel.declare_exchange(
        "events.unrouted", aio_pika.ExchangeType.FANOUT, durable=True
    )
    return await channel.declare_exchange(
        "events",
        aio_pika.ExchangeType.TOPIC,
        durable=True,
        arguments={"alternate-exchange": unrouted.name},
    )


async def _declare_queue(channel: AbstractChannel, queue: Queue) -> aio_pika.abc.AbstractQueue:
    dead = await channel.declare_exchange("dead", aio_pika.ExchangeType.DIRECT, durable=True)
    dead_name = f"{queue.service}.dead"
    dead_queue = await channel.declare_queue(
        dead_name, durable=True, arguments={"x-queue-type": "quorum"}
    )
    await dead_queue.bind(dead, dead_name)
    if queue.name == dead_name:
        return dead_queue
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead.name,
        "x-dead-letter-routing-key": dead_name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    declared = await channel.declare_queue(queue.name, durable=True, arguments=arguments)
    for pattern in queue.patterns:
        await declared.bind("events", pattern)
    return declared


async def _quietly(closing: Awaitable[Any]) -> None:
    try:
        async with asyncio.timeout(2):
            await closing
    except Exception as error:
        log.debug("closing failed", error=type(error).__name__)
