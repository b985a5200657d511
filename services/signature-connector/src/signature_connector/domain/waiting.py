"""How long a person is waited for, and how often a provider is asked how it went."""

from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_SECONDS = 3.0
_SHARE_OF_AGE = 0.25
"""Asked again after a quarter of what was waited already: 3 s at first, 10 s after 40 s."""
_LONGEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited.

    Attributes:
        person: for the person to confirm; a provider that says when it stops asking is not waited
            for longer than that.
        news: of an order whose fate is unknown, before an operator is called.
    """

    person: timedelta = timedelta(seconds=300)
    news: timedelta = timedelta(minutes=15)

    def until(self, asked_at: datetime, expires_at: datetime | None) -> datetime:
        """When waiting for the person ends."""
        own = asked_at + self.person
        return min(own, expires_at) if expires_at is not None else own


def pause(asked_at: datetime, deadline: datetime, now: datetime) -> float:
    """Seconds until the provider is asked again: rarer with age, and once more at the deadline."""
    age = (now - asked_at).total_seconds()
    wanted = min(max(FIRST_SECONDS, age * _SHARE_OF_AGE), _LONGEST_SECONDS)
    left = (deadline - now).total_seconds()
    return min(wanted, left) if left > 0 else wanted
