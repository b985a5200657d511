"""Waiting a moment for what is about to come, so that more of it is done together."""

import asyncio
from collections.abc import Callable

_STEP_SECONDS, _STEPS, _MANY = 0.01, 10, 2


async def gathered(arrived: Callable[[], int], full: int, patience: float = 0.0) -> None:
    """Wait a moment, and as long as much keeps arriving.

    A transaction costs nearly as much for one event as for fifty. Where little happens this adds
    ten milliseconds; from some hundreds a second on up to a hundred, where a shorter wait would
    only move the queue to a busier place.

    Args:
        arrived: how many have arrived by now.
        full: how many are done together: with these nothing is waited for.
        patience: seconds that are waited in any case, where nobody is waiting for the outcome.
    """
    step = max(_STEP_SECONDS, patience / _STEPS)
    before = arrived()
    for _ in range(_STEPS):
        if before >= full:
            return
        await asyncio.sleep(step)
        now = arrived()
        if not patience and now - before < _MANY:
            return
        before = now
