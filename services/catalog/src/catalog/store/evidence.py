"""Tables of what is known of agencies: checks of their hosts, and exchanges others told of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.domain.channels import Exchanged, Finding, Found


@dataclass(frozen=True, slots=True)
class Due:
    """A channel whose host is to be checked."""

    agency: str
    id: str
    host: str


# Whoever has the turn keeps it by working; one that died loses it after a while.
_TURN = text(
    """
    INSERT INTO check_turn AS t (worker, until)
    VALUES (:worker, now() + make_interval(secs => :seconds))
    ON CONFLICT (one) DO UPDATE SET worker = excluded.worker, until = excluded.until
        WHERE t.worker = excluded.worker OR t.until < now()
    RETURNING worker
    """
)
_LEAVE = text("DELETE FROM check_turn WHERE worker = :worker")
_DUE = text(
    """
    SELECT agency, id, host FROM channel WHERE next_check_at <= now()
    ORDER BY next_check_at, agency, id LIMIT :limit
    """
)
_CHECK_NOW = text("UPDATE channel SET next_check_at = now() WHERE agency = :agency")
_NOTE = text(
    """
    INSERT INTO channel_check (agency, channel, what, target, state, reason, facts)
    SELECT :agency, :channel, what, :target, state, reason, facts
    FROM unnest(CAST(:whats AS text[]), CAST(:states AS text[]), CAST(:reasons AS text[]),
        CAST(:facts AS text[])) AS found (what, state, reason, facts)
    """
)
# Asked for again while it was being checked, it stays due.
_NEXT = text(
    """
    UPDATE channel SET next_check_at = now() + make_interval(secs => :seconds)
    WHERE agency = :agency AND id = :channel AND host = :target AND next_check_at <= :begun
    """
)
_NOW = text("SELECT now()")
_LATEST = text(
    """
    SELECT c.agency, c.id, c.host, found.* FROM channel c
    CROSS JOIN unnest(CAST(:whats AS text[])) AS wanted (what)
    CROSS JOIN LATERAL (
        SELECT k.what, k.state, k.reason, k.facts, k.checked_at FROM channel_check k
        WHERE k.agency = c.agency AND k.channel = c.id AND k.target = c.host
          AND k.what = wanted.what
        ORDER BY k.checked_at DESC LIMIT 1) AS found
    WHERE c.agency = ANY(CAST(:agencies AS text[]))
    """
)
_FORGET = (
    text("DELETE FROM channel_check WHERE checked_at < now() - make_interval(days => :days)"),
    text("DELETE FROM exchange_day WHERE day < current_date - CAST(:days AS integer)"),
)
_WHATS = ("aaaa", "ipv6-answer", "tls")


async def take_turn(connection: AsyncConnection, worker: UUID, seconds: float) -> bool:
    """Become, or stay, the one that checks; for this long after the last call."""
    taken = await connection.execute(_TURN, {"worker": worker, "seconds": seconds})
    return taken.first() is not None


async def leave_turn(connection: AsyncConnection, worker: UUID) -> None:
    """Let another one check."""
    await connection.execute(_LEAVE, {"worker": worker})


async def due(connection: AsyncConnection, limit: int) -> list[Due]:
    """The channels that are to be checked now, those that wait longest first."""
    rows = await connection.execute(_DUE, {"limit": limit})
    return [Due(row.agency, row.id, row.host) for row in rows]


async def check_now(connection: AsyncConnection, agency: str) -> int:
    """Make all of an agency's channels due; how many there are."""
    return int((await connection.execute(_CHECK_NOW, {"agency": agency})).rowcount)


async def now(connection: AsyncConnection) -> datetime:
    """The database's time, by which channels are due."""
    moment: datetime = (await connection.execute(_NOW)).scalar_one()
    return moment


async def note_findings(
    connection: AsyncConnection,
    due: Due,
    findings: Sequence[Finding],
    begun: datetime,
    seconds: float,
) -> None:
    """Keep what was found out about a channel's host, and put its next check off.

    Args:
        begun: when the check began, by the database's clock.
        seconds: until the next check.
    """
    of = {"agency": due.agency, "channel": due.id, "target": due.host}
    await connection.execute(
        _NOTE,
        {
            **of,
            "whats": [one.check for one in findings],
            "states": [one.state for one in findings],
            "reasons": [one.reason for one in findings],
            "facts": [orjson.dumps(one.facts).decode() for one in findings],
        },
    )
    await connection.execute(_NEXT, {**of, "begun": begun, "seconds": seconds})


async def latest(connection: AsyncConnection, agencies: Sequence[str]) -> dict[str, list[Found]]:
    """The newest finding of each check of the agencies' channels as they are registered now."""
    found: dict[str, list[Found]] = {}
    rows = await connection.execute(_LATEST, {"agencies": list(agencies), "whats": list(_WHATS)})
    for row in rows:
        found.setdefault(row.agency, []).append(
            Found(
                agency=row.agency,
                channel=row.id,
                target=row.host,
                check=row.what,
                state=row.state,
                reason=row.reason,
                facts=orjson.loads(row.facts),
                checked_at=row.checked_at,
            )
        )
    return found


async def forget(connection: AsyncConnection, days: int) -> None:
    """Drop findings and counts that are older than this many days."""
    for statement in _FORGET:
        await connection.execute(statement, {"days": days})


@dataclass(frozen=True, slots=True)
class Tally:
    """Exchanges of an agency with a system on a day, put together from several events."""

    agency: str
    system: str
    day: date
    succeeded: int
    failed: int
    last_success_at: datetime | None
    last_failure_at: datetime | None


_SEE = text(
    """
    INSERT INTO exchange_seen AS s (agency, system, last_success_at, last_failure_at)
    SELECT agency, system,
           max(least(success, now())) FILTER (WHERE success IS NOT NULL),
           max(least(failure, now())) FILTER (WHERE failure IS NOT NULL)
    FROM unnest(CAST(:agencies AS text[]), CAST(:systems AS text[]),
        CAST(:successes AS timestamptz[]), CAST(:failures AS timestamptz[]))
        AS told (agency, system, success, failure)
    GROUP BY agency, system ORDER BY agency, system
    ON CONFLICT (agency, system) DO UPDATE SET
        last_success_at = greatest(s.last_success_at, excluded.last_success_at),
        last_failure_at = greatest(s.last_failure_at, excluded.last_failure_at)
    """
)
_COUNT = text(
    """
    INSERT INTO exchange_day AS d (agency, system, day, succeeded, failed)
    SELECT agency, system, day, sum(succeeded), sum(failed)
    FROM unnest(CAST(:agencies AS text[]), CAST(:systems AS text[]), CAST(:days AS date[]),
        CAST(:succeeded AS bigint[]), CAST(:failed AS bigint[]))
        AS told (agency, system, day, succeeded, failed)
    GROUP BY agency, system, day ORDER BY agency, system, day
    ON CONFLICT (agency, system, day) DO UPDATE SET
        succeeded = d.succeeded + excluded.succeeded, failed = d.failed + excluded.failed
    """
)
# Of an agency and of all below it: "/" is the sign after ".".
_EXCHANGES = text(
    """
    SELECT root.code AS root, s.agency, s.system, s.last_success_at, s.last_failure_at,
           coalesce(counted.succeeded, 0) AS succeeded, coalesce(counted.failed, 0) AS failed
    FROM unnest(CAST(:agencies AS text[])) AS root (code)
    JOIN exchange_seen s ON s.agency = root.code
        OR (s.agency > root.code || '.' AND s.agency < root.code || '/')
    LEFT JOIN LATERAL (
        SELECT sum(d.succeeded) AS succeeded, sum(d.failed) AS failed FROM exchange_day d
        WHERE d.agency = s.agency AND d.system = s.system
          AND d.day > current_date - CAST(:days AS integer)) AS counted ON true
    """
)


async def note_exchanges(connection: AsyncConnection, tallies: Sequence[Tally]) -> None:
    """Add to what is known of exchanges. A time in the future is taken for now."""
    common = {
        "agencies": [one.agency for one in tallies],
        "systems": [one.system for one in tallies],
    }
    await connection.execute(
        _SEE,
        {
            **common,
            "successes": [one.last_success_at for one in tallies],
            "failures": [one.last_failure_at for one in tallies],
        },
    )
    await connection.execute(
        _COUNT,
        {
            **common,
            "days": [one.day for one in tallies],
            "succeeded": [one.succeeded for one in tallies],
            "failed": [one.failed for one in tallies],
        },
    )


async def exchanges(
    connection: AsyncConnection, agencies: Sequence[str], days: int
) -> dict[str, list[Exchanged]]:
    """What is known of the exchanges of each agency and of those below it.

    Args:
        days: how many days the counts are of.
    """
    rows = await connection.execute(_EXCHANGES, {"agencies": list(agencies), "days": days})
    found: dict[str, list[Exchanged]] = {}
    for row in rows:
        found.setdefault(row.root, []).append(
            Exchanged(
                agency=row.agency,
                system=row.system,
                last_success_at=row.last_success_at,
                last_failure_at=row.last_failure_at,
                succeeded=row.succeeded,
                failed=row.failed,
            )
        )
    return found
