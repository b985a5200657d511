"""When a service behind is left alone for a while."""

import random
import time
from collections.abc import Callable

FAILURES_TO_OPEN = 5
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds; each probe that fails doubles the pause."""


class Open(Exception):
    """No call may be made now.

    Attributes:
        seconds: until one may be tried.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"open for {seconds:.1f} s")
        self.seconds = seconds


class Circuit:
    """Opens after failures in a row; after a pause a single call goes through and decides.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause = 0.0
        self._open_until: float | None = None
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether calls are refused, but for one that probes."""
        return self._open_until is not None

    def enter(self) -> bool:
        """Begin a call; whether it is the probe. ``leave`` has to follow.

        Raises:
            Open: none may be made.
        """
        if self._open_until is None:
            return False
        left = self._open_until - self._clock()
        if left > 0 or self._probing:
            raise Open(max(left, SHORTEST_PAUSE if self._probing else 0.0))
        self._probing = True
        return True

    def leave(self, *, probe: bool, failed: bool | None) -> None:
        """End a call.

        Args:
            probe: what ``enter`` said.
            failed: None where the call says nothing about the service, as when its caller gave up.
        """
        if probe:
            self._probing = False
        if failed is None:
            return
        if not failed:
            # A late success of a call from before the failures does not close it.
            if probe or self._open_until is None:
                self._failures, self._pause, self._open_until = 0, 0.0, None
        elif probe or self._open_until is None:
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._pause = min(max(self._pause * 2, SHORTEST_PAUSE), LONGEST_PAUSE)
                # Replicas that saw the same failure do not all come back at the same moment.
                self._open_until = self._clock() + self._pause * random.uniform(0.75, 1)
