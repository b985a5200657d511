"""Waiting a moment for what is about to come, so that more of it is done together."""

import asyncio
from collections.abc import Callable

_STEP_SECONDS, _STEPS, _MANY = 0.01, 10, 2


async def gathered(arrived: Callable[[], int], full: int) -> None:
    """Wait a moment, and as long as much keeps arriving.

    A transaction costs nearly as much for one event as for fifty. Where little happens this adds
    ten milliseconds; from some hundreds a second on up to a hundred, where a shorter wait would
    only move the queue to a busier place.

    Args:
        arrived: how many have arrived by now.
        full: how many are done together: with these nothing is waited for.
    """
    before = arrived()
    for _ in range(_STEPS):
        if before >= full:
            return
        await asyncio.sleep(_STEP_SECONDS)
        now = arrived()
        if now - before < _MANY:
            return
        before = now
