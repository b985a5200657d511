"""What the kit does to requests, as networks and busy servers would; each kind a few times."""

from collections import Counter
from dataclasses import dataclass, field

from backbone.conformance.exchanges import Exchange

LOST_ANSWER, LOST_REQUEST = "lost-answer", "lost-request"
BUSY, TOO_MANY = "busy", "too-many-requests"
OLD_TOKEN, NEW_MEMBER = "old-token", "new-member"

RETRY_AFTER_SECONDS = 3
EVERY_KIND = (LOST_ANSWER, BUSY, NEW_MEMBER, TOO_MANY, LOST_REQUEST, OLD_TOKEN)
_EVERY = 3
"""One request in so many is disturbed, so that work goes on in between."""


@dataclass
class Disturbances:
    """Decides which request is disturbed and how.

    Args:
        times: how often each kind strikes.
    """

    times: int = 2
    _struck: Counter[str] = field(default_factory=Counter)
    _writes: int = 0

    def choose(self, exchange: Exchange, repeated: bool) -> str | None:
        """What to do to a request; a repetition is left in peace, so that work can end."""
        if not exchange.writes or repeated:
            return None
        self._writes += 1
        if self._writes % _EVERY:
            return None
        kind = min(EVERY_KIND, key=lambda one: self._struck[one])
        if self._struck[kind] >= self.times:
            return None
        self._struck[kind] += 1
        return kind
