"""The broker takes the users and rights that `make up` prepares, and they suffice."""

import asyncio
import json
import secrets
from collections.abc import Iterator, Sequence
from urllib.parse import quote, urlsplit

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused, ProbableAuthenticationError
from pydantic import SecretStr

from backbone.deployment import definitions
from common.transport.base import Message, Queue
from common.transport.rabbitmq import RabbitTransport
from tests.support.rabbitmq import Broker


class Users:
    """Two services' users in a virtual host of the test's own."""

    def __init__(self, broker: Broker, vhost_url: str) -> None:
        self._host = urlsplit(vhost_url)
        # Of this test alone, as all tests share the broker.
        self.producer, self.consumer = (
            f"{name}-{secrets.token_hex(4)}" for name in ("producer", "consumer")
        )
        self._passwords = {user: secrets.token_hex(16) for user in (self.producer, self.consumer)}
        vhost = vhost_url.rpartition("/")[2]
        told = json.dumps(definitions(self._passwords)).replace('"/"', json.dumps(vhost))
        broker.request("POST", "/api/definitions", json.loads(told))

    def url(self, user: str, password: str | None = None) -> str:
        password = password or self._passwords[user]
        return f"amqp://{user}:{password}@{self._host.hostname}:{self._host.port}{self._host.path}"


@pytest.fixture
def users(broker: Broker, amqp_url: str) -> Iterator[Users]:
    made = Users(broker, amqp_url)
    yield made
    for user in (made.producer, made.consumer):
        broker.request("DELETE", f"/api/users/{quote(user)}")


async def test_a_service_makes_its_queues_and_hears_what_another_tells(users: Users) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(bodies: Sequence[bytes]) -> None:
        for body in bodies:
            heard.put_nowait(body)

    async def fine() -> None: ...

    consumer = RabbitTransport(SecretStr(users.url(users.consumer)), users.consumer)
    producer = RabbitTransport(SecretStr(users.url(users.producer)), users.producer)
    queue = Queue(users.consumer, "facts", ("dossier.#",))
    try:
        await producer.ready()
        consumer.consume(queue, take, check=fine, batch=10)
        consumer.consume_dead(take, check=fine, batch=10)
        async with asyncio.timeout(20):
            while heard.empty():  # what is told before the queue is bound reaches nobody
                assert await producer.publish([Message("dossier.received.v1", "1", b"{}")]) == [
                    True
                ]
                await asyncio.sleep(0.1)
            assert await heard.get() == b"{}"
    finally:
        for transport in (consumer, producer):
            await transport.stop_consuming()
            await transport.close()


async def test_a_service_has_no_part_in_the_queues_of_another(users: Users) -> None:
    connection = await aio_pika.connect(users.url(users.producer))
    async with connection:
        for name in (f"{users.consumer}.facts", f"{users.consumer}.dead", "anything"):
            channel = await connection.channel()
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue(name, durable=True)


async def test_a_wrong_password_does_not_get_in(users: Users) -> None:
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(users.url(users.producer, "wrong"))
