"""How many calls a second somebody may make."""

import asyncio
import time


class Pace:
    """A token bucket.

    Args:
        calls_per_second: how fast it fills; less than one is fine.
        burst: calls that may go at once after a rest.
    """

    def __init__(self, calls_per_second: float, burst: int = 1) -> None:
        self._rate = calls_per_second
        self._burst = float(max(burst, 1))
        self._tokens = self._burst
        self._at = time.monotonic()

    def wait(self) -> float:
        """Seconds until a call may go."""
        self._fill()
        return max(0.0, (1 - self._tokens) / self._rate)

    async def take(self) -> None:
        """Wait for a token and take it; who came first goes first."""
        wait = self.wait()
        self._tokens -= 1  # taken in advance, so that those who come later wait longer
        if wait > 0:
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self._tokens += 1
                raise

    def _fill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
