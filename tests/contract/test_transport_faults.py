"""What the RabbitMQ transport does when the broker misbehaves, dies, or is tampered with."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import pytest
from pydantic import SecretStr

from common.transport import rabbitmq, rabbitmq_link
from common.transport.base import Message, Queue, Transport, TransportDown
from common.transport.rabbitmq import RabbitTransport
from common.transport.rabbitmq_consumer import QueueConsumer
from tests.contract.test_transport import (
    AGENCIES,
    KEY,
    Reader,
    Wire,
    fine,
    messages,
    numbered,
)
from tests.support.messaging import until
from tests.support.rabbitmq import Broker, RabbitNode

DELETED = Queue("reader", "deleted", ("#",))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time limits of a second, so that a test of a silent broker takes no longer."""
    monkeypatch.setattr(rabbitmq, "CONFIRM_SECONDS", 1.0)
    monkeypatch.setattr(rabbitmq, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(rabbitmq_link, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(rabbitmq_link, "_CLOSE_SECONDS", 0.5)


@pytest.fixture
async def wire(amqp_url: str) -> AsyncIterator[Wire]:
    made = Wire(amqp_url)
    yield made
    for transport in made.transports:
        await transport.close()


@asynccontextmanager
async def on(node: RabbitNode, vhost: str) -> AsyncIterator[Wire]:
    """The adapter on a node that can be killed."""
    made = Wire(node.broker.create_vhost(vhost))
    try:
        yield made
    finally:
        for transport in made.transports:
            await transport.close()


async def publish_all(transport: Transport, window: Sequence[Message]) -> int:
    """Publish as a relay does, until all is safe; how often it took more than one try."""
    again = 0
    while True:
        try:
            if all(await transport.publish(window)):
                return again
        except TransportDown:
            pass
        again += 1
        await asyncio.sleep(0.05)


def first_times(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))


async def test_a_full_queue_makes_unsafe_what_it_refuses_and_nothing_else(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        sender = RabbitTransport(SecretStr(amqp_url), "sender")
        await sender.ready()
        channel = await connection.channel()
        full = await channel.declare_queue(
            "full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await full.bind("events", "full.#")
        window = [*messages("0", key="full.v1"), *messages("1", key="free.v1")] * 5
        safe = await sender.publish(window)
        assert safe[1::2] == [True] * 5
        assert safe[0] is True
        assert False in safe[0::2]
        assert await sender.publish(messages("2", key="free.v1")) == [True]  # it goes on
        await sender.close()


async def test_a_deleted_queue_is_made_again_and_said_to_have_been_missing(
    wire: Wire, amqp_url: str, broker: Broker
) -> None:
    reader, missing = Reader(), []

    @asynccontextmanager
    async def note(exists: bool) -> AsyncIterator[None]:
        missing.append("there" if exists else "begun")
        yield
        missing.append("bound")

    transport = wire.process("reader")
    transport.consume(DELETED, reader, check=fine, batch=10, attaching=note)
    await until(lambda: missing == ["begun", "bound"])
    sender = wire.process("sender")
    assert all(await sender.publish(messages("before")))
    await until(lambda: reader.done == ["before"])
    vhost = quote(urlsplit(amqp_url).path[1:], safe="")
    broker.request("DELETE", f"/api/queues/{vhost}/{DELETED.name}")
    await until(lambda: missing == ["begun", "bound"] * 2)
    assert all(await sender.publish(messages("after")))
    await until(lambda: reader.done == ["before", "after"])


async def test_a_queue_deleted_right_after_it_was_looked_for_is_not_made_silently(
    wire: Wire, amqp_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes share it: one comes back from a lost connection as it is deleted, and must
    not hide from the other, whose consumer was cancelled, that it was missing."""
    vhost = quote(urlsplit(amqp_url).path[1:], safe="")
    await wire.consume(DELETED, Reader())
    look = QueueConsumer._exists
    attached: list[bool] = []

    async def deleted_after_the_look(consumer: QueueConsumer) -> bool:
        exists = await look(consumer)
        if not attached:
            path = f"/api/queues/{vhost}/{DELETED.name}"
            await asyncio.to_thread(broker.request, "DELETE", path)
        return exists

    @asynccontextmanager
    async def note(exists: bool) -> AsyncIterator[None]:
        attached.append(exists)
        yield

    monkeypatch.setattr(QueueConsumer, "_exists", deleted_after_the_look)
    for transport in wire.transports:
        await transport.close()
    wire.process("reader").consume(DELETED, Reader(), check=fine, batch=10, attaching=note)
    await until(lambda: False in attached)
    assert attached == [True, False]


async def test_a_deleted_exchange_is_made_again(wire: Wire, amqp_url: str, broker: Broker) -> None:
    sender = wire.process("sender")
    assert await sender.publish(messages("x")) == [True]
    vhost = quote(urlsplit(amqp_url).path[1:], safe="")
    broker.request("DELETE", f"/api/exchanges/{vhost}/events")
    assert await sender.publish(messages("x")) == [False]
    assert await sender.publish(messages("x")) == [True]


async def test_what_the_broker_gives_up_on_is_taken_from_the_dead_letters(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_link, "DELIVERY_LIMIT", 2)
    monkeypatch.setattr("common.transport.rabbitmq_consumer._BACKOFF_MOST", 0.2)
    poisoned, dead = Reader(failures=10_000), Reader()
    transport = await wire.consume(AGENCIES, poisoned)
    assert isinstance(transport, RabbitTransport)
    transport.consume_dead(dead, check=fine, batch=10)
    assert all(await wire.process("sender").publish(numbered(3)))
    await until(lambda: sorted(dead.done) == ["0", "1", "2"])


async def test_a_reader_that_never_answers_does_not_get_more_than_it_can_take(
    wire: Wire,
) -> None:
    stuck, other = Reader(), Reader()
    stuck.may_end.clear()
    await wire.consume(AGENCIES, stuck, batch=5)
    assert all(await wire.process("sender").publish(numbered(100)))
    await until(lambda: stuck.given)
    await wire.consume(AGENCIES, other, batch=5)
    await until(lambda: len(other.done) == 90)  # twice its batch is what the first one holds
    stuck.may_end.set()
    await until(lambda: len(stuck.done) == 10)


async def test_both_sides_go_on_after_their_connections_were_closed(
    rabbit_node: RabbitNode,
) -> None:
    async with on(rabbit_node, "closed") as wire:
        reader = Reader()
        await wire.consume(AGENCIES, reader, batch=20)
        sender = wire.process("sender")
        closing = asyncio.create_task(asyncio.to_thread(rabbit_node.close_connections))
        assert await sender.publish(messages("first")) == [True]
        before, texts = sender._channel, ["first"]  # type: ignore[union-attr]
        while not closing.done() or len(texts) < 2000:
            window = messages(*(str(len(texts) + place) for place in range(50)))
            texts += [message.body.decode() for message in window]
            await publish_all(sender, window)
            await asyncio.sleep(0.01)
        await until(lambda: len(set(reader.done)) == len(texts))
        assert first_times(reader.done) == texts
        assert sender._channel is not before  # type: ignore[union-attr]
        await closing


async def test_a_queue_whose_connection_breaks_takes_no_other_queue_with_it(
    wire: Wire, broker: Broker, amqp_url: str
) -> None:
    """A queue that is broken inside the broker ends the connection of whoever consumes it."""
    broken, whole = Reader(), Reader()
    both = await wire.consume(AGENCIES, broken)
    await wire.consume(DELETED, whole, transport=both)
    sender = wire.process("sender")
    whole.may_end.clear()
    await publish_all(sender, messages("first"))
    await whole.began.wait()
    names: list[str] = []

    async def listed() -> bool:
        found = await asyncio.to_thread(broker.request, "GET", "/api/connections")
        names.extend(
            one["name"]
            for one in found
            if one["vhost"] == unquote(urlsplit(amqp_url).path[1:])
            and one.get("client_properties", {}).get("connection_name")
            == "reader consuming agencies"
        )
        return bool(names)

    async with asyncio.timeout(20):  # the statistics come some seconds late
        while not await listed():
            await asyncio.sleep(0.2)
    await asyncio.to_thread(broker.request, "DELETE", f"/api/connections/{quote(names[0])}")
    await publish_all(sender, messages("second"))
    await until(lambda: "second" in broken.done)
    whole.may_end.set()
    await until(lambda: whole.done == ["first", "second"])
    assert whole.given == [["first"], ["second"]]


async def test_a_killed_broker_loses_nothing_it_confirmed(
    rabbit_node: RabbitNode, hasty: None
) -> None:
    async with on(rabbit_node, "killed") as wire:
        reader = Reader()
        await wire.consume(AGENCIES, reader, batch=20)
        await asyncio.sleep(1.5)  # until the node has written the queue's name down
        reader.may_end.clear()
        sender = wire.process("sender")
        assert all(await sender.publish(numbered(100)))
        await until(lambda: reader.given)
        await asyncio.to_thread(rabbit_node.kill)
        began = time.monotonic()
        try:
            assert not any(await sender.publish(messages("while it is dead")))
        except TransportDown:
            pass
        assert time.monotonic() - began < 5
        with pytest.raises(TransportDown):
            await sender.ready()
        reader.may_end.set()
        starting = asyncio.create_task(asyncio.to_thread(rabbit_node.start))
        await publish_all(sender, messages("after"))
        await starting
        await until(lambda: len(set(reader.done)) == 101, seconds=20)
        # In which order it hands out again what was not acknowledged is not in our hand.
        assert set(reader.done) == {*map(str, range(100)), "after"}


async def test_a_frozen_broker_is_not_waited_for_and_a_relay_survives_it(
    rabbit_node: RabbitNode, hasty: None
) -> None:
    async with on(rabbit_node, "frozen") as wire:
        reader = Reader()
        await wire.consume(AGENCIES, reader, batch=20)
        sender = wire.process("sender")
        assert all(await sender.publish(messages("before")))
        await asyncio.to_thread(rabbit_node.freeze)
        try:
            began = time.monotonic()
            assert await sender.publish(numbered(10)) == [False] * 10
            assert time.monotonic() - began < 1.0 + 0.5 + 1.0
            relay = asyncio.create_task(publish_all(sender, messages("by the relay")))
            for _ in range(2):
                with pytest.raises(TransportDown):
                    await sender.ready()
            assert not relay.done()
        finally:
            await asyncio.to_thread(rabbit_node.thaw)
        await asyncio.wait_for(relay, 10)
        await until(lambda: "by the relay" in reader.done)


async def test_a_publisher_that_is_really_cancelled_ends(
    rabbit_node: RabbitNode, hasty: None
) -> None:
    async with on(rabbit_node, "cancelled") as wire:
        sender = wire.process("sender")
        assert all(await sender.publish(messages("before")))
        await asyncio.to_thread(rabbit_node.freeze)
        try:
            publishing = asyncio.create_task(sender.publish(messages("x")))
            await asyncio.sleep(0.1)
            publishing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await publishing
        finally:
            await asyncio.to_thread(rabbit_node.thaw)
        assert await publish_all(sender, messages("after")) <= 2


async def test_confirms_that_a_lost_connection_leaves_open_are_not_a_cancellation(
    rabbit_node: RabbitNode,
) -> None:
    """aiormq ends what waits on a lost connection with CancelledError: a relay would just stop."""
    async with on(rabbit_node, "lost") as wire:
        sender = wire.process("sender")
        assert all(await sender.publish(messages("before")))
        await asyncio.to_thread(rabbit_node.freeze)
        publishing = asyncio.create_task(sender.publish([Message(KEY, "1", b"x")]))
        opening = asyncio.create_task(wire.process("other").ready())
        await asyncio.sleep(0.3)
        await asyncio.to_thread(rabbit_node.kill)
        assert await asyncio.wait_for(publishing, 3) == [False]
        with pytest.raises(TransportDown):
            await asyncio.wait_for(opening, 10)
