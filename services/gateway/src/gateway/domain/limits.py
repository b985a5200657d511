"""What a client may ask for, and how a refusal says when to come again."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from math import ceil

VIETNAM = timezone(timedelta(hours=7))

SLICE_SECONDS = 0.25
"""A replica takes at once what a client may ask for in this time."""
_SLICES_OF_BURST = 8
_SLICES_OF_DAY = 200
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Lease:
    """What the database gave, and what it has left.

    Attributes:
        granted: tokens that belong to the replica now.
        left: tokens that others can still have at this moment.
        most: tokens that there can be: the burst, or the day's quota.
        per_second: how fast they come back; 0 where only the next day brings new ones.
    """

    granted: int
    left: float
    most: int
    per_second: float

    @property
    def slice(self) -> int:
        """How many tokens a replica takes at once, and so can hold without need."""
        if self.per_second:
            return max(1, int(min(self.most / _SLICES_OF_BURST, self.per_second * SLICE_SECONDS)))
        return max(1, self.most // _SLICES_OF_DAY)


def rate_fields(lease: Lease, left: float) -> tuple[str, str]:
    """Items of ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10).

    Args:
        lease: what is known of the client's bucket.
        left: tokens that it can have now, as far as this replica knows.
    """
    window = max(1, ceil(lease.most / lease.per_second))
    full = max(1, ceil((lease.most - left) / lease.per_second))
    return f'"rate";q={lease.most};w={window}', f'"rate";r={max(0, int(left))};t={full}'


def day_fields(lease: Lease, left: float, now: datetime) -> tuple[str, str]:
    """The same for submissions of a day."""
    return (
        f'"day";q={lease.most};w={_DAY_SECONDS}',
        f'"day";r={max(0, int(left))};t={seconds_of_day_left(now)}',
    )


def seconds_of_day_left(now: datetime) -> int:
    """Seconds until the next day begins in Vietnam, at least one."""
    here = now.astimezone(VIETNAM)
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), VIETNAM)
    return max(1, ceil((midnight.astimezone(UTC) - now).total_seconds()))
