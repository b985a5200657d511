"""The transport over RabbitMQ (3.10 and later), by aio-pika.

Topology: topic exchange ``events`` with the alternate ``events.unrouted``; quorum queues
``<service>.<purpose>`` without a length limit; what the broker gives up on goes through exchange
``dead`` to ``<service>.dead`` and is taken from there like any other event.

Publishing has a connection, so that a broker that blocks publishers (memory, disk) still takes
acknowledgements, and so has each queue: a queue that is broken inside the broker ends whatever
shares its connection. All work on the channels of aiormq below aio-pika: a window is
one write to the socket, where aio-pika makes a task and a write of each message.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as LowerChannel
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from pydantic import SecretStr

from common.envelope import CONTENT_TYPE
from common.transport.base import Attaching, Check, Handler, Message, Queue, TransportDown
from common.transport.rabbitmq_consumer import QueueConsumer
from common.transport.rabbitmq_link import (
    CONNECT_SECONDS,
    DEAD,
    EVENTS,
    Link,
    broker_trouble,
    declare_events,
    quietly,
)

CONFIRM_SECONDS = 5.0

log = structlog.get_logger()


class RabbitTransport:
    """Carries events of one service process.

    Args:
        url: AMQP URL; several hosts of a cluster separated by commas.
        service: the service's name, for the connection and its dead letters.
    """

    def __init__(self, url: SecretStr, service: str) -> None:
        urls = [part.strip() for part in url.get_secret_value().split(",")]
        self._service = service
        self._urls = urls
        self._publishing = Link(urls, f"{service} publishing")
        self._consuming: list[Link] = []
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._consumers: list[QueueConsumer] = []

    async def start(self) -> None:
        """Connections are made when they are first needed."""

    async def ready(self) -> None:
        """Raise TransportDown unless the broker takes events now."""
        await self._open()

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """One window of confirms; False for what was not confirmed in time."""
        channel = await self._open()
        if not messages:
            return []
        lower: Any = await channel.get_underlay_channel()
        confirms = _send(lower, messages)
        closing = lower.closing
        closing.add_done_callback(lambda _: _end(confirms))
        try:
            await asyncio.wait(confirms, timeout=CONFIRM_SECONDS)
        finally:
            closing.cancel()
            _end(confirms)
        safe = [not confirm.cancelled() and confirm.exception() is None for confirm in confirms]
        if not all(safe):
            log.warning("publish not confirmed", messages=safe.count(False), of=len(safe))
            # An open question about one confirm is one about the channel: begin with a new one.
            await self._drop(channel)
        return safe

    async def _open(self) -> AbstractChannel:
        async with self._opening:
            if self._closed:
                raise TransportDown("closed")
            if self._channel is not None and not self._channel.is_closed:
                return self._channel
            connection = await self._publishing.connection()
            try:
                with broker_trouble():
                    async with asyncio.timeout(2 * CONNECT_SECONDS):
                        channel = await connection.channel(publisher_confirms=True)
                        await declare_events(channel)
            except TransportDown as error:
                # Perhaps the host is dead and only the connection does not know it yet.
                if isinstance(error.__cause__, TimeoutError):
                    await self._publishing.drop(connection)
                raise
            self._channel = channel
            return channel

    async def _drop(self, channel: AbstractChannel) -> None:
        if channel is self._channel:
            self._channel = None
        if not channel.is_closed:
            await quietly(channel.close())

    def consume(
        self,
        queue: Queue,
        handler: Handler,
        *,
        check: Check,
        batch: int,
        attaching: Attaching | None = None,
    ) -> None:
        """Start a consumer of this queue."""
        link = Link(self._urls, f"{self._service} consuming {queue.purpose}")
        self._consuming.append(link)
        consumer = QueueConsumer(link, queue, handler, check, batch, attaching)
        self._consumers.append(consumer)
        consumer.start()

    def consume_dead(self, handler: Handler, *, check: Check, batch: int) -> None:
        """Take what the broker gave up on."""
        self.consume(Queue(self._service, DEAD, ()), handler, check=check, batch=batch)

    async def stop_consuming(self, service: str | None = None) -> None:
        """Finish the running batches; what is buffered stays with the broker."""
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))
        await asyncio.gather(*(link.close() for link in self._consuming))

    async def close(self) -> None:
        """Close every connection; what still runs is broken off."""
        self._closed = True
        await asyncio.gather(*(consumer.cancel() for consumer in self._consumers))
        if self._channel is not None:
            await self._drop(self._channel)
        await asyncio.gather(*(link.close() for link in (self._publishing, *self._consuming)))


def _send(channel: Any, messages: Sequence[Message]) -> list[asyncio.Future[Any]]:
    """Hand a window to the connection's writer; a future for the confirm of each message.

    The numbers that the broker confirms by are given here, so nothing may come between giving a
    number and handing the message over: there is no ``await`` in here.

    Raises:
        TransportDown: the broker does not read what was written before.
    """
    if channel.write_queue.full():
        raise TransportDown("the broker does not read")
    loop = asyncio.get_running_loop()
    confirms: list[asyncio.Future[Any]] = []
    parts: list[bytes] = []
    for message in messages:
        confirm = loop.create_future()
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirm
        confirms.append(confirm)
        parts += _frames(channel, message)
    channel.write_queue.put_nowait(ChannelFrame(payload=b"".join(parts), should_close=False))
    return confirms


def _frames(channel: LowerChannel, message: Message) -> list[bytes]:
    body, most = message.body, channel.max_content_size  # type: ignore[attr-defined]
    properties = Basic.Properties(
        content_type=CONTENT_TYPE,
        delivery_mode=2,
        message_id=message.id,
        message_type=message.routing_key,
    )
    return [
        _publish_frame(channel.number, message.routing_key),
        marshal(ContentHeader(body_size=len(body), properties=properties), channel.number),
        *(
            marshal(ContentBody(body[start : start + most]), channel.number)
            for start in range(0, len(body), most)
        ),
    ]


@lru_cache(maxsize=1024)
def _publish_frame(channel: int, routing_key: str) -> bytes:
    return marshal(Basic.Publish(exchange=EVENTS, routing_key=routing_key), channel)


def _end(confirms: Sequence[asyncio.Future[Any]]) -> None:
    """Wait no longer for what is still open."""
    for confirm in confirms:
        confirm.cancel()
