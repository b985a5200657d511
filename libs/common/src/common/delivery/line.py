"""Ways to a partner, and in which order calls take them."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from common.delivery.breaker import Breaker
from common.delivery.pace import Pace

Lines = Callable[[str], "Line"]
"""Over which line an agency's items go."""


@dataclass(eq=False)
class Line:
    """A way to a partner with a breaker and limits of its own, such as an account there.

    What stops one line costs the others nothing.

    Attributes:
        most: calls at the same time.
        pace: calls a second; those who call take its tokens.
        closed: why nothing goes over it until somebody does something about it.
    """

    name: str
    most: int
    breaker: Breaker = field(default_factory=Breaker)
    pace: Pace | None = None
    closed: str | None = None
    running: int = field(default=0, init=False)

    @property
    def shut(self) -> bool:
        """Whether what is to go over it is better given back."""
        return self.closed is not None or self.breaker.wait() > 0

    def wait(self) -> float:
        """Seconds until a call may be tried."""
        if self.closed is not None:
            return math.inf
        return max(self.breaker.wait(), self.pace.wait() if self.pace else 0.0)

    @property
    def free(self) -> int:
        """How many calls may start now; after failures one at a time is tried."""
        if self.wait() > 0:
            return 0
        return max((1 if self.breaker.open else self.most) - self.running, 0)


class Rounds:
    """Whose call is next, where more are in hand than may run: start-time fair queueing.

    Each call is one round further than the last one of whose it is, and none is behind the round
    that calls are in now: with a hundred calls of one agency in hand, the first one of another
    goes next.
    """

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[str, int] = {}

    def enter(self, whose: Iterable[str], cost: int = 1) -> int:
        """The round of a call that is shared by some; those with a higher cost come less often."""
        names = set(whose)
        entered = min(max(self._now, self._last.get(name, 0)) for name in names) + cost
        for name in names:
            self._last[name] = max(self._last.get(name, 0), entered)
        return entered

    def started(self, entered: int) -> None:
        """A call of this round was started."""
        self._now = max(self._now, entered)
        if len(self._last) > 1000:
            self._last = {name: at for name, at in self._last.items() if at > self._now}
