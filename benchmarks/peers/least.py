"""The least that a chain to the national portal can be, behind the least intake (``floor``).

    python -m benchmarks.peers.least relay|consumer|pusher --intake DSN --store DSN --amqp URL
        --portal URL

One process for each role, with the durability of our own chain and nothing else: an outbox that is
published in windows and emptied once all is confirmed, a consumer that stores batches and then
acknowledges them, and calls of a hundred dossiers, four at a time. No order, inbox, conversion,
history, measurements or log.
"""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

import aio_pika
import asyncpg
import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport

QUEUE = "benchmark-least"
STORE = """
CREATE TABLE IF NOT EXISTS stored (
    code text PRIMARY KEY, body jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(), known_at timestamptz
);
CREATE INDEX IF NOT EXISTS stored_to_tell ON stored (stored_at) WHERE known_at IS NULL;
"""
_WINDOW, _CALL, _CALLS = 500, 100, 4
_PAUSE_SECONDS = 0.05
_TAKE = f"""
WITH taken_up AS (
    DELETE FROM to_send WHERE id IN (
        SELECT id FROM to_send ORDER BY id LIMIT {_WINDOW} FOR UPDATE SKIP LOCKED
    ) RETURNING code
)
SELECT code, body::text AS body FROM taken_up JOIN taken USING (code)
"""  # noqa: S608 - a number of our own
_KEEP = """
INSERT INTO stored (code, body) SELECT * FROM unnest($1::text[], $2::jsonb[]) ON CONFLICT DO NOTHING
"""
_TO_TELL = f"""
SELECT code, body::text AS body FROM stored WHERE known_at IS NULL
ORDER BY stored_at LIMIT {_CALL * _CALLS}
"""  # noqa: S608 - a number of our own
_TOLD = "UPDATE stored SET known_at = now() WHERE code = ANY($1::text[])"


async def make_queue(amqp: str) -> None:
    """Make the queue: two roles that do so at the same moment get in each other's way."""
    async with await aio_pika.connect(amqp) as connection:
        await _declared(await connection.channel())


async def _queue(amqp: str) -> tuple[Any, Any]:
    channel = await (await aio_pika.connect(amqp)).channel(publisher_confirms=True)
    await channel.set_qos(prefetch_count=2 * _WINDOW)
    return channel, await _declared(channel)


async def _declared(channel: Any) -> Any:
    arguments: dict[str, Any] = {"x-queue-type": "quorum"}
    return await channel.declare_queue(QUEUE, durable=True, arguments=arguments)


async def relay(options: argparse.Namespace) -> None:
    """Publish what was taken in; it leaves the outbox once all of a window is confirmed."""
    database = await asyncpg.connect(options.intake)
    channel, _ = await _queue(options.amqp)

    async def publish(row: Any) -> None:
        message = aio_pika.Message(
            row["body"].encode(),
            message_id=row["code"],
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await channel.default_exchange.publish(message, routing_key=QUEUE)

    while True:
        async with database.transaction():
            rows = await database.fetch(_TAKE)
            await asyncio.gather(*map(publish, rows))
        if len(rows) < _WINDOW:
            await asyncio.sleep(_PAUSE_SECONDS)


async def consumer(options: argparse.Namespace) -> None:
    """Store what has arrived, and acknowledge it after the commit."""
    database = await asyncpg.connect(options.store)
    _, queue = await _queue(options.amqp)
    arrived: asyncio.Queue[Any] = asyncio.Queue()
    await queue.consume(arrived.put)
    while True:
        batch = [await arrived.get()]
        await asyncio.sleep(_PAUSE_SECONDS / 2)
        while len(batch) < _WINDOW and not arrived.empty():
            batch.append(arrived.get_nowait())
        codes = [message.message_id for message in batch]
        await database.execute(_KEEP, codes, [message.body.decode() for message in batch])
        await batch[-1].ack(multiple=True)


async def pusher(options: argparse.Namespace) -> None:
    """Tell the portal of what is stored, and put down what it knows."""
    database = await asyncpg.connect(options.store)
    async with httpx.AsyncClient(transport=AiohttpTransport(), timeout=10) as http:

        async def push(rows: Sequence[Any]) -> list[str]:
            body = '{"data":[' + ",".join(row["body"] for row in rows) + "]}"
            try:
                answer = (await http.post(options.portal, content=body)).json()
            except (httpx.HTTPError, ValueError):
                return []
            return [row["code"] for row in rows] if answer["error_code"] == "0" else []

        while True:
            rows = await database.fetch(_TO_TELL)
            calls = [rows[start : start + _CALL] for start in range(0, len(rows), _CALL)]
            known = await asyncio.gather(*map(push, calls))
            if rows:
                await database.execute(_TOLD, [code for codes in known for code in codes])
            if len(rows) < _CALL * _CALLS:
                await asyncio.sleep(_PAUSE_SECONDS)


ROLES = {"relay": relay, "consumer": consumer, "pusher": pusher}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    for name in ("intake", "store", "amqp", "portal"):
        parser.add_argument(f"--{name}", required=True)
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ROLES[chosen.role](chosen))
