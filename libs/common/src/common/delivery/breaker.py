"""When a partner is left alone."""

import random
import time
from dataclasses import dataclass, field

LONGEST_PAUSE_SECONDS = 3600.0


@dataclass
class Breaker:
    """Opens after failures in a row, lets a single call through after a pause, then closes."""

    failures_to_open: int = 5
    pause_seconds: float = 5.0
    longest_seconds: float = 60.0
    _failures: int = field(default=0, init=False)
    _closed_until: float = field(default=0.0, init=False)

    def wait(self) -> float:
        """Seconds until a call may be tried."""
        return max(0.0, self._closed_until - time.monotonic())

    @property
    def open(self) -> bool:
        """Whether the last calls failed so often that only one at a time is tried."""
        return self._failures >= self.failures_to_open

    def record(self, *, failed: bool) -> None:
        """Count a call."""
        if not failed:
            self._failures = 0
            return
        self._failures += 1
        if self.open:
            times = self._failures - self.failures_to_open
            pause = min(self.pause_seconds * 2 ** min(times, 8), self.longest_seconds)
            self.hold(pause * random.uniform(0.5, 1))

    def reset(self) -> None:
        """Somebody knows that it works again: begin anew."""
        self._failures, self._closed_until = 0, 0.0

    def hold(self, seconds: float) -> None:
        """Do as the partner asks: no calls for a while."""
        until = time.monotonic() + min(seconds, LONGEST_PAUSE_SECONDS)
        self._closed_until = max(self._closed_until, until)
