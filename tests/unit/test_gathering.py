"""Waiting a moment, so that more is done together."""

from collections.abc import Iterator

import pytest

from common.gathering import gathered


async def waits(
    monkeypatch: pytest.MonkeyPatch, arrivals: Iterator[int], patience: float = 0.0
) -> list[float]:
    """What it waits each time, in seconds, if with each wait so many have arrived."""
    slept: list[float] = []
    arrived = next(arrivals)

    async def sleep(seconds: float) -> None:
        nonlocal arrived
        slept.append(seconds)
        arrived = next(arrivals)

    monkeypatch.setattr("common.gathering.asyncio.sleep", sleep)
    await gathered(lambda: arrived, 200, patience)
    return slept


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([1, 1], 1),  # one alone waits a single moment
        ([1, 2], 1),
        ([1, 9, 17, 18], 3),  # as long as much keeps coming
        ([1, *range(20, 120, 10)], 10),  # but not for ever
        ([150, 190, 230], 2),  # and no longer than until it is full
        ([200], 0),
    ],
)
async def test_more_is_waited_for_while_much_keeps_arriving(
    monkeypatch: pytest.MonkeyPatch, arrivals: list[int], expected: int
) -> None:
    assert await waits(monkeypatch, iter(arrivals)) == [0.01] * expected


async def test_what_nobody_waits_for_is_gathered_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await waits(monkeypatch, iter([1] * 11), 0.5) == [0.05] * 10
    assert await waits(monkeypatch, iter([1, 100, 200]), 0.5) == [0.05] * 2
