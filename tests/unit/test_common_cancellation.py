"""Who was cancelled and who only saw a library give up."""

import asyncio

import pytest

from common.cancellation import cancelled
from common.transport.base import TransportDown
from common.transport.rabbitmq_link import broker_trouble, quietly


@pytest.mark.parametrize("error", [asyncio.CancelledError, ConnectionError, TransportDown("x")])
async def test_what_a_library_raises_by_itself_is_trouble_with_the_broker(
    error: BaseException | type[BaseException],
) -> None:
    """The AMQP library says CancelledError when a connection misses its heartbeats."""
    with pytest.raises(TransportDown), broker_trouble():
        raise error
    assert not cancelled()


@pytest.mark.parametrize("answer", [asyncio.CancelledError, ConnectionError, TransportDown("x")])
async def test_a_task_that_was_cancelled_ends_whatever_the_library_makes_of_it(
    answer: BaseException | type[BaseException],
) -> None:
    async def work() -> None:
        with broker_trouble():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise answer from None

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_time_limit_is_trouble_and_no_cancellation() -> None:
    async def hang() -> None:
        with broker_trouble():
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)

    with pytest.raises(TransportDown, match="TimeoutError"):
        await hang()
    assert not cancelled()


async def test_closing_quietly_ends_in_time_and_without_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.transport.rabbitmq_link._CLOSE_SECONDS", 0.01)

    async def fail() -> None:
        raise ConnectionError

    await asyncio.wait_for(quietly(asyncio.sleep(60)), 5)
    await quietly(fail())
