"""Three brokers of one cluster; the one that leads a queue is killed in the middle."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from common.transport.base import Transport, TransportDown
from tests.chaos.proxy import Proxies, proxies
from tests.contract.test_transport import AGENCIES, Reader, Wire, messages
from tests.support.messaging import until
from tests.support.rabbitmq import RabbitNode

MESSAGES, WINDOW = 4000, 100


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RabbitNode]]:
    """Three nodes of one cluster."""
    first = RabbitNode(tmp_path / "1")
    made = [first, RabbitNode(tmp_path / "2", first), RabbitNode(tmp_path / "3", first)]
    try:
        first.start()  # alone: the others use its port mapper
        with ThreadPoolExecutor() as pool:
            list(pool.map(RabbitNode.start, made[1:]))
        for node in made[1:]:
            node.join(first)
        yield made
    finally:
        for node in reversed(made):
            node.kill()


async def leader(nodes: list[RabbitNode]) -> RabbitNode:
    """The node that leads the queue."""
    place = f"/api/queues/%2F/{quote(AGENCIES.name, safe='')}"
    queue: dict[str, Any] = await asyncio.to_thread(nodes[0].broker.request, "GET", place)
    assert sorted(queue["members"]) == sorted(node.name for node in nodes)
    return next(node for node in nodes if node.name == queue["leader"])


async def publish(transport: Transport, window: list[Any]) -> None:
    """Until all of it is confirmed, as a relay does."""
    while True:
        try:
            if all(await transport.publish(window)):
                return
        except TransportDown:
            pass
        await asyncio.sleep(0.1)


async def test_a_killed_leader_of_a_queue_loses_nothing_that_was_confirmed(
    nodes: list[RabbitNode],
) -> None:
    async with proxies() as wires:
        url = await wires.through("broker", nodes[0].url)
        wire, reader = Wire(url), Reader()
        try:
            await wire.consume(AGENCIES, reader)
            await asyncio.sleep(1.5)  # until the nodes have written the queue's name down
            led_by = await leader(nodes)
            sender = wire.process("sender")
            killing: list[asyncio.Task[None]] = []
            for start in range(0, MESSAGES, WINDOW):
                window = messages(*map(str, range(start, start + WINDOW)))
                if start == MESSAGES // 2:
                    killing.append(asyncio.create_task(_kill(led_by, nodes, wires)))
                await publish(sender, window)
            await asyncio.gather(*killing)
            await until(lambda: len(set(reader.done)) == MESSAGES, seconds=60)
        finally:
            for transport in wire.transports:
                await transport.close()
    assert set(reader.done) == {str(number) for number in range(MESSAGES)}
    # In which order the new leader hands out what was not acknowledged is not in our hand: order is
    # kept in the database.


async def _kill(node: RabbitNode, nodes: list[RabbitNode], wires: Proxies) -> None:
    """Kill it in the middle of a window; clients are led to a node that lives, as a load balancer
    would."""
    await asyncio.sleep(0.02)
    await asyncio.to_thread(node.kill_broker)
    alive = next(other for other in nodes if other is not node)
    wires.by_name["broker"].target = alive.port
    wires.by_name["broker"].cut()
