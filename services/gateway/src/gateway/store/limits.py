"""Token buckets and day counters that all replicas share: one row for each client."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.limits import Lease


@dataclass(frozen=True, slots=True)
class RateWish:
    """Tokens of a bucket that a replica would like, or gives back (below zero).

    Attributes:
        client_id: whose own limits count; None where only ``per_second`` and ``burst`` do.
    """

    key: str
    tokens: int
    client_id: str | None
    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class DayWish:
    """Submissions of a day (in Vietnam), likewise."""

    client_id: str
    day: date
    tokens: int
    per_day: int


# Replicas' clocks do not count: the database's does. Rows are locked in one order.
_FILLED = """
    least(excluded.burst, bucket.tokens + excluded.per_second
          * greatest(0, extract(epoch FROM excluded.at - bucket.at)))
"""
_GRANTED = f"""
    CASE WHEN excluded.granted < 0 THEN excluded.granted
         ELSE greatest(0, least(excluded.granted, floor({_FILLED}))) END
"""
_LEASE_RATES = text(
    f"""
    WITH wanted AS (
        SELECT w.key, w.tokens, coalesce(c.per_second, w.per_second) AS per_second,
            coalesce(c.burst, CASE WHEN c.per_second IS NULL THEN w.burst
                                   ELSE greatest(1, ceil(2 * c.per_second)) END) AS burst
        FROM unnest(CAST(:keys AS text[]), CAST(:tokens AS integer[]), CAST(:clients AS text[]),
                    CAST(:rates AS double precision[]), CAST(:bursts AS integer[]))
            AS w (key, tokens, client_id, per_second, burst)
        LEFT JOIN client c USING (client_id) ORDER BY w.key
    )
    INSERT INTO rate_bucket AS bucket (key, per_second, burst, tokens, granted, at)
    SELECT key, per_second, burst, burst - greatest(0, least(tokens, burst)), least(tokens, burst),
        clock_timestamp()
    FROM wanted
    ON CONFLICT (key) DO UPDATE SET per_second = excluded.per_second, burst = excluded.burst,
        tokens = least(excluded.burst, {_FILLED} - {_GRANTED}), granted = {_GRANTED},
        at = greatest(bucket.at, excluded.at)
    RETURNING key, granted, tokens, burst, per_second
    """  # noqa: S608 - constants
)
_GRANTED_TODAY = """
    CASE WHEN excluded.granted < 0 THEN greatest(excluded.granted, -quota.taken)
         ELSE greatest(0, least(excluded.granted, excluded.per_day - quota.taken)) END
"""
_LEASE_DAYS = text(
    f"""
    WITH wanted AS (
        SELECT w.client_id, w.day, w.tokens, coalesce(c.per_day, w.per_day) AS per_day
        FROM unnest(CAST(:clients AS text[]), CAST(:days AS date[]), CAST(:tokens AS integer[]),
                    CAST(:most AS integer[])) AS w (client_id, day, tokens, per_day)
        LEFT JOIN client c USING (client_id) ORDER BY w.client_id, w.day
    )
    INSERT INTO day_quota AS quota (client_id, day, per_day, taken, granted)
    SELECT client_id, day, per_day, greatest(0, least(tokens, per_day)), least(tokens, per_day)
    FROM wanted
    ON CONFLICT (client_id, day) DO UPDATE SET per_day = excluded.per_day,
        taken = quota.taken + {_GRANTED_TODAY}, granted = {_GRANTED_TODAY}
    RETURNING client_id, day, granted, taken, per_day
    """  # noqa: S608 - constants
)
# A bucket that nobody has asked for an hour is full, which a missing one is as well.
_FORGET = (
    text("DELETE FROM rate_bucket WHERE at < now() - interval '1 hour'"),
    text("DELETE FROM day_quota WHERE day < now() - interval '40 days'"),
)


async def lease_rates(connection: AsyncConnection, wishes: Sequence[RateWish]) -> list[Lease]:
    """As many tokens as there are, for each wish; one wish for each bucket at the most."""
    rows = await connection.execute(
        _LEASE_RATES,
        {
            "keys": [wish.key for wish in wishes],
            "tokens": [wish.tokens for wish in wishes],
            "clients": [wish.client_id for wish in wishes],
            "rates": [wish.per_second for wish in wishes],
            "bursts": [wish.burst for wish in wishes],
        },
    )
    found = {
        row.key: Lease(int(row.granted), row.tokens, int(row.burst), row.per_second) for row in rows
    }
    return [found[wish.key] for wish in wishes]


async def lease_days(connection: AsyncConnection, wishes: Sequence[DayWish]) -> list[Lease]:
    """As many submissions as are left of the day, for each wish."""
    rows = await connection.execute(
        _LEASE_DAYS,
        {
            "clients": [wish.client_id for wish in wishes],
            "days": [wish.day for wish in wishes],
            "tokens": [wish.tokens for wish in wishes],
            "most": [wish.per_day for wish in wishes],
        },
    )
    found = {
        (row.client_id, row.day): Lease(
            row.granted, max(0, row.per_day - row.taken), row.per_day, 0.0
        )
        for row in rows
    }
    return [found[wish.client_id, wish.day] for wish in wishes]


async def forget(connection: AsyncConnection) -> None:
    """Delete buckets that are full and counters of days long past."""
    for statement in _FORGET:
        await connection.execute(statement)
