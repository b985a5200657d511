"""What every transport promises (``common.transport.base.Transport``), on each adapter."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from common.identifiers import new_id
from common.transport.base import Handler, Message, Queue, TransportDown
from common.transport.local import LocalTransport
from common.transport.rabbitmq import RabbitTransport
from tests.support.messaging import until

AGENCIES = Queue("reader", "agencies", ("catalog.agency.#",))
EVERYTHING = Queue("other", "everything", ("#",))
KEY = "catalog.agency.published.v1"


def messages(*texts: str, key: str = KEY) -> list[Message]:
    return [Message(key, str(new_id()), text.encode()) for text in texts]


def numbered(count: int, key: str = KEY) -> list[Message]:
    return messages(*(str(number) for number in range(count)), key=key)


async def fine() -> None:
    """A check that finds nothing wrong."""


class Reader:
    """A handler that notes what it is given, and can be told to wait or to fail."""

    def __init__(self, failures: int = 0) -> None:
        self.given: list[list[str]] = []
        self.done: list[str] = []
        self.failures = failures
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.began = asyncio.Event()

    async def __call__(self, bodies: Sequence[bytes]) -> None:
        texts = [bytes(body).decode() for body in bodies]
        self.given.append(texts)
        self.began.set()
        await self.may_end.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("told to fail")
        self.done += texts


class Wire:
    """One adapter: makes the transports of several processes that share a broker."""

    def __init__(self, amqp_url: str | None) -> None:
        self._amqp_url = amqp_url
        self._local = LocalTransport(patience=1.0)
        self.transports: list[LocalTransport | RabbitTransport] = []
        self.bound: dict[str, asyncio.Event] = {}

    @property
    def remote(self) -> bool:
        return self._amqp_url is not None

    def process(self, service: str = "reader") -> LocalTransport | RabbitTransport:
        """The transport of a process. In the local case there is only one process."""
        if self._amqp_url is None:
            return self._local
        transport = RabbitTransport(SecretStr(self._amqp_url), service)
        self.transports.append(transport)
        return transport

    async def consume(
        self,
        queue: Queue,
        handler: Handler,
        *,
        batch: int = 100,
        check: Callable[[], Awaitable[None]] = fine,
        transport: LocalTransport | RabbitTransport | None = None,
    ) -> LocalTransport | RabbitTransport:
        """Consume, and wait until the queue is bound where it was not there before."""
        new = queue.name not in self.bound
        bound = self.bound.setdefault(queue.name, asyncio.Event())

        @asynccontextmanager
        async def attaching(exists: bool) -> AsyncIterator[None]:
            yield
            bound.set()

        transport = transport or self.process(queue.service)
        transport.consume(queue, handler, check=check, batch=batch, attaching=attaching)
        if self.remote and new:
            await asyncio.wait_for(bound.wait(), 10)
        return transport


@pytest.fixture(params=["local", "rabbitmq"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    url = request.getfixturevalue("amqp_url") if request.param == "rabbitmq" else None
    made = Wire(url)
    yield made
    for transport in made.transports:
        await transport.close()


async def test_messages_come_in_the_order_they_were_published(wire: Wire) -> None:
    reader = Reader()
    await wire.consume(AGENCIES, reader)
    sender = wire.process("sender")
    for start in range(0, 1500, 500):
        window = messages(*(str(number) for number in range(start, start + 500)))
        assert await sender.publish(window) == [True] * 500
    await until(lambda: len(reader.done) == 1500)
    assert reader.done == [str(number) for number in range(1500)]


async def test_a_batch_holds_no_more_than_it_may(wire: Wire) -> None:
    reader = Reader()
    await wire.consume(AGENCIES, reader, batch=7)
    assert all(await wire.process("sender").publish(numbered(40)))
    await until(lambda: len(reader.done) == 40)
    assert max(map(len, reader.given)) == 7
    assert reader.done == [str(number) for number in range(40)]


async def test_what_was_published_comes_out_unchanged(wire: Wire) -> None:
    taken: list[bytes] = []

    async def take(bodies: Sequence[bytes]) -> None:
        taken.extend(bodies)

    bodies = [b"", b"\x00\xff", "Hồ sơ".encode(), b"x" * 131_064, b"y" * 131_065, b"z" * 700_000]
    await wire.consume(AGENCIES, take)
    window = [Message(KEY, str(new_id()), body) for body in bodies]
    assert await wire.process("sender").publish(window) == [True] * len(bodies)
    await until(lambda: len(taken) == len(bodies))
    assert taken == bodies


async def test_a_batch_whose_handler_raised_comes_again_before_anything_behind_it(
    wire: Wire,
) -> None:
    reader = Reader(failures=3)
    await wire.consume(AGENCIES, reader, batch=5)
    sender = wire.process("sender")
    publishing = asyncio.create_task(sender.publish(numbered(12)))
    await until(lambda: len(reader.done) == 12)
    await publishing
    assert reader.done == [str(number) for number in range(12)]
    assert len(reader.given) >= 3 + 3
    assert all(batch[0] == "0" for batch in reader.given[:4])


async def test_a_queue_in_trouble_is_checked_before_it_is_taken_up_again(wire: Wire) -> None:
    reader, asked, well = Reader(failures=1), 0, False

    async def check() -> None:
        nonlocal asked
        asked += 1
        if reader.given and not well:
            raise RuntimeError("still away")

    await wire.consume(AGENCIES, reader, check=check)
    publishing = asyncio.create_task(wire.process("sender").publish(numbered(3)))
    await until(lambda: reader.given and asked >= 2)
    await asyncio.sleep(0.3)
    assert len(reader.given) == 1  # not handed over while the check fails
    well = True
    await until(lambda: reader.done == ["0", "1", "2"])
    await publishing


async def test_trouble_in_one_queue_does_not_hold_up_another(wire: Wire) -> None:
    poisoned, healthy = Reader(failures=10_000), Reader()
    await wire.consume(AGENCIES, poisoned)
    await wire.consume(EVERYTHING, healthy)
    sender = wire.process("sender")
    publishing = asyncio.create_task(sender.publish(numbered(5)))
    await until(lambda: healthy.done == ["0", "1", "2", "3", "4"])
    await until(lambda: len(poisoned.given) >= 2)
    safe = await publishing
    assert not poisoned.done
    # A broker has them safe; within one process nobody has, and the outbox keeps them.
    assert safe == [wire.remote] * 5


async def test_a_message_reaches_every_queue_that_wants_it_and_no_other(wire: Wire) -> None:
    agencies, everything, strangers = Reader(), Reader(), Reader()
    await wire.consume(AGENCIES, agencies)
    await wire.consume(EVERYTHING, everything)
    await wire.consume(Queue("third", "strangers", ("*.published.v1", "dossier.#")), strangers)
    window = [
        *messages("a"),
        *messages("b", key="catalog.agency"),
        *messages("c", key="catalog.procedure.published.v1"),
        *messages("d", key="catalog.published.v1"),
        *messages("e", key="dossier"),
    ]
    assert await wire.process("sender").publish(window) == [True] * 5
    await until(lambda: len(everything.done) == 5)
    await until(lambda: len(agencies.done) == 2 and len(strangers.done) == 2)
    assert everything.done == ["a", "b", "c", "d", "e"]
    assert agencies.done == ["a", "b"]
    assert strangers.done == ["d", "e"]


async def test_no_subscriber_is_no_failure(wire: Wire) -> None:
    assert await wire.process("sender").publish(messages("x", key="nobody.listens.v1")) == [True]
    assert await wire.process("sender").publish([]) == []


async def test_a_message_is_given_again_unless_its_handler_had_returned(wire: Wire) -> None:
    """The process ends after the effect and before the acknowledgement."""
    first, second = Reader(), Reader()
    first.may_end.clear()
    transport = await wire.consume(AGENCIES, first)
    sender = wire.process("sender")
    publishing = asyncio.create_task(sender.publish(numbered(3)))
    await asyncio.wait_for(first.began.wait(), 10)
    publishing.cancel()
    if wire.remote:
        await transport.close()
    await asyncio.gather(publishing, return_exceptions=True)
    assert not first.done
    await wire.consume(AGENCIES, second)
    if not wire.remote:  # it is still in the producer's outbox
        assert all(await sender.publish(numbered(3)))
    await until(lambda: second.done == ["0", "1", "2"])


async def test_stopping_finishes_the_batch_that_runs_and_leaves_the_rest(wire: Wire) -> None:
    first, second = Reader(), Reader()
    first.may_end.clear()
    transport = await wire.consume(AGENCIES, first, batch=2)
    sender = wire.process("sender")
    publishing = asyncio.create_task(sender.publish(numbered(6)))
    await asyncio.wait_for(first.began.wait(), 10)
    if wire.remote:
        assert all(await publishing)  # all six lie with the broker now
    stopping = asyncio.create_task(transport.stop_consuming("reader"))
    await asyncio.sleep(0.2)
    assert not stopping.done()
    first.may_end.set()
    await asyncio.wait_for(stopping, 5)
    began = len(first.given[0])
    assert first.done == ["0", "1"][:began]
    await publishing
    await asyncio.sleep(0.2)
    assert len(first.given) == 1
    await wire.consume(AGENCIES, second)
    if not wire.remote:
        assert await publishing == [False] * 6
        assert all(await sender.publish(numbered(6)))
        assert second.done == ["0", "1", "2", "3", "4", "5"]
    else:
        await until(lambda: first.done + second.done == ["0", "1", "2", "3", "4", "5"])


async def test_after_closing_nothing_is_published_as_safe(wire: Wire) -> None:
    sender = wire.process("sender")
    await sender.ready()
    await sender.close()
    with pytest.raises(TransportDown):
        await sender.publish(messages("x"))
    with pytest.raises(TransportDown):
        await sender.ready()


async def test_two_processes_that_read_one_queue_share_its_messages(amqp_url: str) -> None:
    wire, readers = Wire(amqp_url), (Reader(), Reader())
    for reader in readers:
        await wire.consume(AGENCIES, reader, batch=10)
    await asyncio.sleep(0.5)
    assert all(await wire.process("sender").publish(numbered(100)))
    await until(lambda: len(readers[0].done) + len(readers[1].done) == 100)
    for transport in wire.transports:
        await transport.close()
    assert sorted(map(int, readers[0].done + readers[1].done)) == list(range(100))
    assert readers[0].done
    assert readers[1].done


async def test_a_slow_consumer_of_the_process_is_not_waited_for_without_end() -> None:
    slow = Reader()
    slow.may_end.clear()
    transport = LocalTransport(patience=0.2)
    transport.consume(AGENCIES, slow, check=fine, batch=10)
    assert await asyncio.wait_for(transport.publish(numbered(2)), 5) == [False, False]
    slow.may_end.set()
    assert await transport.publish(numbered(2)) == [True, True]


async def test_nothing_is_published_before_all_consumers_of_the_process_are_there() -> None:
    transport, reader = LocalTransport(opened=False), Reader()
    with pytest.raises(TransportDown):
        await transport.publish(messages("x"))
    transport.consume(AGENCIES, reader, check=fine, batch=10)
    transport.open()
    assert await transport.publish(messages("x")) == [True]
    assert reader.done == ["x"]
