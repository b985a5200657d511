"""The tests' own servers: what every other integration test stands on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import asyncpg

from tests.support.databases import Databases
from tests.support.rabbitmq import RabbitNode

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}


async def open_database(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url.replace("+asyncpg", ""))


async def test_each_database_is_fresh(database_url: Callable[[str], Awaitable[str]]) -> None:
    first, second = await asyncio.gather(database_url("one"), database_url("two"))
    connection = await open_database(first)
    await connection.execute("CREATE TABLE t (n int)")
    await connection.close()
    connection = await open_database(second)
    assert await connection.fetchval("SELECT to_regclass('t')") is None
    await connection.close()


async def test_a_template_is_prepared_once(databases: Databases) -> None:
    prepared = []

    async def prepare(url: str) -> None:
        prepared.append(url)
        connection = await open_database(url)
        await connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        await connection.close()

    names = [await databases.template("servers-test", prepare) for _ in range(2)]
    copy = await open_database(await databases.create(template=names[0]))
    assert await copy.fetchval("SELECT n FROM t") == 7
    assert await copy.fetchval("SHOW synchronous_commit") == "on"
    await copy.close()
    assert names[0] == names[1]
    assert len(prepared) == 1


async def test_a_virtual_host_takes_quorum_queues(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("q", durable=True, arguments=QUORUM)
        await channel.default_exchange.publish(aio_pika.Message(b"one"), "q")
        message = await queue.get(timeout=5)
        assert message is not None
        assert message.body == b"one"
        await message.ack()


async def test_a_killed_node_keeps_what_it_confirmed(rabbit_node: RabbitNode) -> None:
    url = rabbit_node.broker.create_vhost("kill")
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("q", durable=True, arguments=QUORUM)
        # RabbitMQ 3.10 writes the name of a new quorum queue down 0.5 s late, and a node killed
        # before that comes back with an empty queue that never finds a leader.
        await asyncio.sleep(1.5)
        for number in range(5):
            message = aio_pika.Message(b"%d" % number, delivery_mode=2)
            await channel.default_exchange.publish(message, "q")
        await asyncio.to_thread(rabbit_node.kill)
    assert not rabbit_node.running
    await asyncio.to_thread(rabbit_node.start)
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("q", passive=True)
        async with queue.iterator(timeout=10) as messages:
            kept = [await anext(messages) for _ in range(5)]
    assert [message.body for message in kept] == [b"0", b"1", b"2", b"3", b"4"]
