"""FastAPI, SQLAlchemy's asynchronous ORM and FastStream: a commit, a message and a call to the
portal for each dossier.

Intake is ``uvicorn benchmarks.peers.faststream_pipeline:api``, the worker ``python -m
benchmarks.peers.faststream_pipeline``. A dossier that was answered with 202 is committed and its
message confirmed by a quorum queue; a message is acknowledged after its last commit.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import httpx
import uvloop
from fastapi import Depends, FastAPI
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from benchmarks.peers.model import (
    AMQP,
    INTAKE,
    PORTAL,
    QUEUE,
    STORE,
    Dossier,
    Stored,
    Taken,
    driver,
)

_AT_ONCE = 32
_broker = RabbitBroker(AMQP, default_channel=Channel(prefetch_count=_AT_ONCE), logger=None)
_queue = RabbitQueue(QUEUE, queue_type=QueueType.QUORUM, durable=True)
_intake = create_async_engine(driver(INTAKE, "asyncpg"), pool_size=_AT_ONCE)
_store = create_async_engine(driver(STORE, "asyncpg"), pool_size=_AT_ONCE)
_http = httpx.AsyncClient(timeout=10)


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    await _broker.connect()
    await _broker.declare_queue(_queue)
    yield
    await _broker.stop()


async def _opened() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(_intake) as session:
        yield session


api = FastAPI(lifespan=_lifespan)


@api.post("/dossiers", status_code=202)
async def take_in(
    dossier: Dossier, session: Annotated[AsyncSession, Depends(_opened)]
) -> dict[str, str]:
    """Store a dossier and ask for its delivery."""
    session.add(Taken(code=dossier.code, body=dossier.model_dump(mode="json")))
    try:
        await session.commit()
    except IntegrityError:  # handed in again: the worker drops what it has
        await session.rollback()
    await _broker.publish(dossier, queue=_queue, persist=True)
    return {"code": dossier.code}


@_broker.subscriber(_queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def deliver(dossier: Dossier) -> None:
    """Store a dossier, tell the portal, and put down that it knows."""
    body = dossier.model_dump(mode="json")
    async with AsyncSession(_store, expire_on_commit=False) as session:
        found = await session.get(Stored, dossier.code)
        if found is None:
            found = Stored(code=dossier.code, body=body)
            session.add(found)
            await session.commit()
        if found.known_at is not None:
            return
        told = (await _http.post(PORTAL, json={"data": [body]})).json()
        if told["error_code"] != "0":
            raise ValueError(told)
        found.known_at = datetime.now(UTC)
        await session.commit()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(FastStream(_broker).run())
