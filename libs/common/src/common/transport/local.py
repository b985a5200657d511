"""The transport within one process: single node, not highly available.

A message is safe when every consumer it is meant for has finished with it; until then it stays in
the producer's outbox. So nothing is kept in memory that is not also in a database, and a process
that ends in the middle publishes again when it comes back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from common.errors import describe
from common.transport.base import Attaching, Check, Handler, Message, Queue, TransportDown

_RETRY_SECONDS = 0.2

log = structlog.get_logger()


@dataclass(eq=False)
class _Consumer:
    queue: Queue
    handler: Handler
    check: Check
    batch: int
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    stopped: bool = False

    async def take(self, messages: Sequence[Message]) -> bool:
        """Hand the messages over, a batch at a time; False when stopped before the last."""
        async with self.one_at_a_time:
            for start in range(0, len(messages), self.batch):
                batch = [message.body for message in messages[start : start + self.batch]]
                if not await self._take_batch(batch):
                    return False
        return True

    async def _take_batch(self, batch: Sequence[bytes]) -> bool:
        failed = False
        while not self.stopped:
            try:
                if failed:
                    await self.check()
                await self.handler(batch)
                return True
            except Exception as error:
                if not failed:
                    log.warning("batch not taken", queue=self.queue.name, error=describe(error))
                failed = True
                await asyncio.sleep(_RETRY_SECONDS)
        return False


class LocalTransport:
    """Shared by all services of the process.

    Args:
        opened: False where services are still to register; nothing is published until ``open``,
            so that no event passes by a consumer that is about to come.
        patience: seconds that a consumer has for what is published at once.
    """

    def __init__(self, *, opened: bool = True, patience: float = 30.0) -> None:
        self._consumers: dict[str, _Consumer] = {}
        self._closed = not opened
        self._patience = patience

    def open(self) -> None:
        """All consumers are registered: publish from now on."""
        self._closed = False

    async def start(self) -> None:
        """Nothing to connect to."""

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Hand every message to all who want it and wait until they have finished."""
        if self._closed:
            raise TransportDown("not open")
        safe = [True] * len(messages)

        async def hand_over(consumer: _Consumer) -> None:
            wanted = [
                place
                for place, message in enumerate(messages)
                if consumer.queue.wants(message.routing_key)
            ]
            if not wanted:
                return
            done = False
            try:
                async with asyncio.timeout(self._patience):
                    done = await consumer.take([messages[place] for place in wanted])
            except TimeoutError:
                log.warning("consumer too slow", queue=consumer.queue.name)
            if not done:
                for place in wanted:
                    safe[place] = False

        await asyncio.gather(*(hand_over(consumer) for consumer in self._consumers.values()))
        return safe

    def consume(
        self,
        queue: Queue,
        handler: Handler,
        *,
        check: Check,
        batch: int,
        attaching: Attaching | None = None,
    ) -> None:
        """Register a consumer; a second one of the same queue takes the place of the first.

        ``attaching`` is never entered: queues exist from before the transport is opened.
        """
        self._consumers[queue.name] = _Consumer(queue, handler, check, batch)

    async def ready(self) -> None:
        """Ready while open."""
        if self._closed:
            raise TransportDown("not open")

    async def stop_consuming(self, service: str | None = None) -> None:
        """Stop at the next batch of each consumer; what is published for it is not safe then."""
        stopped = [
            consumer
            for consumer in self._consumers.values()
            if service in (None, consumer.queue.service)
        ]
        for consumer in stopped:
            consumer.stopped = True
        for consumer in stopped:
            async with consumer.one_at_a_time:
                pass

    async def close(self) -> None:
        """Publish nothing more."""
        self._closed = True
