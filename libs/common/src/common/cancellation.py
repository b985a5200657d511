"""Whether a task was asked to end, whatever exception it sees."""

import asyncio


def cancelled() -> bool:
    """Whether the running task was cancelled.

    The AMQP library ends whoever waits on a lost connection with CancelledError, and may answer a
    cancellation with the error that the connection was lost by. Believed, the first would end a
    relay in silence, and the second would keep a worker running that nobody waits for any more.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
