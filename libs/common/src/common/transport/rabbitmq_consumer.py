"""One queue of RabbitMQ, consumed for as long as the process wants it."""

import asyncio
import random
from collections import deque
from collections.abc import Sized
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import DeliveredMessage

from common.cancellation import cancelled
from common.errors import describe
from common.gathering import gathered
from common.transport.base import Attaching, Check, Handler, Queue, TransportDown
from common.transport.rabbitmq_link import (
    CONNECT_SECONDS,
    DEAD,
    Link,
    bind_queue,
    broker_trouble,
    declare_dead,
    declare_events,
    declare_queue,
    quietly,
)

_BACKOFF_LEAST, _BACKOFF_MOST = 0.2, 5.0

log = structlog.get_logger()


class QueueConsumer:
    """Keeps one queue consumed, through lost connections, deleted queues and failing handlers."""

    def __init__(
        self,
        link: Link,
        queue: Queue,
        handler: Handler,
        check: Check,
        batch: int,
        attaching: Attaching | None,
    ) -> None:
        self._link = link
        self._queue = queue
        self._handler = handler
        self._check = check
        self._batch = batch
        self._attaching = attaching
        self._task: asyncio.Task[None] | None = None
        self._deleted = False
        """The queue was deleted, and may have been made again by another process."""
        self._news = asyncio.Event()
        """Something arrived, the channel closed, or it is time to stop."""
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=f"consume {self._queue.name}")

    async def stop(self) -> None:
        """Finish the running batch; what has arrived beyond it stays with the broker."""
        self._stopping.set()
        self._news.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def cancel(self) -> None:
        """End now."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff = _BACKOFF_LEAST
        while not self._stopping.is_set():
            started = asyncio.get_running_loop().time()
            try:
                # Asked first: taking messages only to give them back would use up their
                # delivery limit.
                await self._check()
                channel = await self._open()
                try:
                    await self._consume(channel)
                finally:
                    if not channel.is_closed:
                        await quietly(channel.close())
            except (Exception, asyncio.CancelledError) as error:
                if cancelled():
                    raise asyncio.CancelledError from error
                told = str(error) if isinstance(error, TransportDown) else describe(error)
                log.warning("consumer pauses", queue=self._queue.name, error=told)
            if asyncio.get_running_loop().time() - started > _BACKOFF_MOST:
                backoff = _BACKOFF_LEAST
            await self._pause(backoff * random.uniform(0.5, 1))
            backoff = min(backoff * 2, _BACKOFF_MOST)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _open(self) -> AbstractChannel:
        """A channel on which the queue is there and bound.

        Raises:
            TransportDown: the broker does not answer.
        """
        connection = await self._link.connection()
        try:
            with broker_trouble():
                async with asyncio.timeout(2 * CONNECT_SECONDS):
                    channel = await connection.channel(publisher_confirms=False)
                    await channel.set_qos(prefetch_count=2 * self._batch)
                    await declare_events(channel)
                    await declare_dead(channel, self._queue.service)
                    if self._queue.purpose != DEAD:
                        await self._attach(channel)
        except TransportDown as error:
            if isinstance(error.__cause__, TimeoutError):
                await self._link.drop(connection)
            raise
        return channel

    async def _attach(self, channel: AbstractChannel) -> None:
        """Have the queue bound.

        One that was there when it was looked for is not declared: had it been deleted meanwhile,
        it would come into being again without anybody knowing that it was missing. Binding fails
        then, and it is looked for once more.
        """
        if self._attaching is None:
            await declare_queue(channel, self._queue)
            return
        exists = not self._deleted and await self._exists()
        async with self._attaching(exists):
            await (bind_queue if exists else declare_queue)(channel, self._queue)
        self._deleted = False

    async def _consume(self, channel: AbstractChannel) -> None:
        """Consume until told to stop.

        Raises:
            Exception: the handler's, or TransportDown where the channel or the queue is lost.
        """
        lower: Any = await channel.get_underlay_channel()
        # Of this channel alone: a number of one channel must never be acknowledged on another.
        arrived: deque[DeliveredMessage] = deque()

        async def arrive(message: DeliveredMessage) -> None:
            arrived.append(message)
            self._news.set()

        lower.closing.add_done_callback(lambda _: self._news.set())
        lower.on_consumer_cancel_callbacks.add(lambda _: self._news.set())
        tag = (await lower.basic_consume(self._queue.name, arrive)).consumer_tag
        while await self._have_arrived(arrived, lower, tag):
            size = min(len(arrived), self._batch)
            batch = [arrived.popleft() for _ in range(size)]
            await self._handler([message.body for message in batch])
            await lower.basic_ack(batch[-1].delivery_tag, multiple=True, wait=False)

    async def _have_arrived(self, arrived: Sized, channel: Any, consumer_tag: str) -> bool:
        """Wait for messages; False once it is time to stop.

        Raises:
            TransportDown: the channel was closed, or the queue deleted.
        """
        while not self._stopping.is_set():
            if channel.is_closed:
                raise TransportDown("the channel was closed")
            if consumer_tag not in channel.consumers:
                self._deleted = True
                raise TransportDown("the queue was deleted")
            if arrived:
                await gathered(lambda: len(arrived), self._batch, self._queue.patience)
                return True
            self._news.clear()
            await self._news.wait()
        return False

    async def _exists(self) -> bool:
        channel = await (await self._link.connection()).channel()
        try:
            await channel.declare_queue(self._queue.name, passive=True)
        except ChannelNotFoundEntity:
            return False
        await channel.close()
        return True
