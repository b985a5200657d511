"""Tables of the exporter: what became of records and measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.usage import UsageMeasured
from common.database import Database
from common.delivery import Claimed, Outcome, Result

_COUNT_RECORDS = text(
    """
    INSERT INTO record_count AS c (what, records)
    VALUES ('sent', :sent), ('maybe-doubled', :doubled)
    ON CONFLICT (what) DO UPDATE SET records = c.records + excluded.records
    """
)
_NOTE_DOUBLED = text(
    """
    INSERT INTO maybe_doubled (record, reason)
    SELECT * FROM unnest(CAST(:records AS text[]), CAST(:reasons AS text[]))
    ON CONFLICT DO NOTHING
    """
)


async def note_records(
    connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
) -> None:
    """Count the records that were taken, and name those that may have been taken twice."""
    done = [item for item, outcome in outcomes if outcome.result is Result.DONE]
    if not done:
        return
    doubled = sorted(item.key for item in done if item.maybe_doubled)
    if doubled:
        reason = "an earlier call had no (understandable) answer"
        await connection.execute(
            _NOTE_DOUBLED, {"records": doubled, "reasons": [reason] * len(doubled)}
        )
    await connection.execute(_COUNT_RECORDS, {"sent": len(done), "doubled": len(doubled)})


def measurement_key(measured: UsageMeasured) -> str:
    """The key of a measurement: service, instance, boot and interval, as a JSON list."""
    of = (measured.service, measured.instance, measured.boot, measured.interval)
    return orjson.dumps(of).decode()


_ADD_MEASUREMENTS = text(
    """
    INSERT INTO measurement (service, instance, boot, number, started_at, ended_at, counts, state)
    SELECT service, instance, boot, number, started_at, ended_at, CAST(counts AS jsonb),
           CASE counts WHEN '[]' THEN 'empty' ELSE 'waiting' END
    FROM unnest(CAST(:services AS text[]), CAST(:instances AS text[]), CAST(:boots AS text[]),
        CAST(:numbers AS bigint[]), CAST(:started AS timestamptz[]),
        CAST(:ended AS timestamptz[]), CAST(:counts AS text[]))
        AS given (service, instance, boot, number, started_at, ended_at, counts)
    ON CONFLICT DO NOTHING
    RETURNING service, instance, boot, number
    """
)


async def add_measurements(
    connection: AsyncConnection, measurements: Sequence[UsageMeasured]
) -> list[UsageMeasured]:
    """Keep measurements; those that were not known before."""
    given = {(one.service, one.instance, one.boot, one.interval): one for one in measurements}
    rows = list(given.values())
    added = await connection.execute(
        _ADD_MEASUREMENTS,
        {
            "services": [one.service for one in rows],
            "instances": [one.instance for one in rows],
            "boots": [one.boot for one in rows],
            "numbers": [one.interval for one in rows],
            "started": [one.started_at for one in rows],
            "ended": [one.ended_at for one in rows],
            "counts": [_counts(one) for one in rows],
        },
    )
    return [given[tuple(row)] for row in added]


def _counts(measured: UsageMeasured) -> str:
    return orjson.dumps([[count.name, count.value] for count in measured.counts]).decode()


_SETTLE_MEASUREMENTS = text(
    """
    UPDATE measurement SET state = settled.state, cause = settled.cause, settled_at = now()
    FROM unnest(CAST(:services AS text[]), CAST(:instances AS text[]), CAST(:boots AS text[]),
        CAST(:numbers AS bigint[]), CAST(:states AS text[]), CAST(:causes AS text[]))
        AS settled (service, instance, boot, number, state, cause)
    WHERE measurement.service = settled.service AND measurement.instance = settled.instance
      AND measurement.boot = settled.boot AND measurement.number = settled.number
      AND measurement.state <> 'sent'
    """
)


async def settle_measurements(
    connection: AsyncConnection, settled: Sequence[tuple[str, str | None]]
) -> None:
    """Note of measurements (by key) that they were sent, or why they are a gap."""
    keys: list[list[Any]] = [orjson.loads(key) for key, _ in settled]
    causes = [cause for _, cause in settled]
    await connection.execute(
        _SETTLE_MEASUREMENTS,
        {
            "services": [key[0] for key in keys],
            "instances": [key[1] for key in keys],
            "boots": [key[2] for key in keys],
            "numbers": [key[3] for key in keys],
            "states": ["sent" if cause is None else "gap" for cause in causes],
            "causes": causes,
        },
    )


_DOUBLED = text(
    """
    SELECT record, settled_at FROM maybe_doubled WHERE record > :after
    ORDER BY record LIMIT :limit
    """
)


async def doubled_after(database: Database, after: str, limit: int) -> list[tuple[str, datetime]]:
    """Records that may have been taken twice, by their key, and when they were last sent."""
    async with database.reading() as connection:
        rows = await connection.execute(_DOUBLED, {"after": after, "limit": limit})
        return [(row.record, row.settled_at) for row in rows]


_FORGET = (
    text(
        "DELETE FROM measurement WHERE state <> 'waiting' "
        "AND ended_at < now() - make_interval(days => :days)"
    ),
    text("DELETE FROM maybe_doubled WHERE settled_at < now() - make_interval(days => :days)"),
)


async def forget(connection: AsyncConnection, days: int) -> None:
    """Drop what was dealt with longer ago than this many days."""
    for statement in _FORGET:
        await connection.execute(statement, {"days": days})


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of a partner's items is still here."""

    waiting: int = 0
    held: int = 0
    maybe_doubled: int = 0
    oldest: datetime | None = None


_RECORD_COUNTS = text("SELECT what, records FROM record_count")
_WAITING = text(
    """
    SELECT partner, count(*) FILTER (WHERE state <> 'held') AS waiting,
           count(*) FILTER (WHERE state = 'held') AS held,
           count(*) FILTER (WHERE maybe_doubled) AS maybe_doubled,
           min(created_at) FILTER (WHERE state <> 'held') AS oldest
    FROM delivery GROUP BY partner
    """
)
_MEASUREMENTS = text("SELECT state, count(*) AS rows FROM measurement GROUP BY state")
_MISSING = text(
    """
    SELECT coalesce(sum(missing), 0) FROM (
        SELECT max(number) - min(number) + 1 - count(*) AS missing
        FROM measurement GROUP BY service, instance, boot) AS boots
    """
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Everything that the summary tells."""

    records: dict[str, int]
    waiting: dict[str, Waiting]
    measurements: dict[str, int]
    missing_intervals: int


async def counts(database: Database) -> Counts:
    """What was sent, what waits, and what is missing."""
    async with database.reading() as connection:
        records = {row.what: row.records for row in await connection.execute(_RECORD_COUNTS)}
        waiting = {
            row.partner: Waiting(row.waiting, row.held, row.maybe_doubled, row.oldest)
            for row in await connection.execute(_WAITING)
        }
        rows = await connection.execute(_MEASUREMENTS)
        measurements = {row.state: row.rows for row in rows}
        missing = int((await connection.execute(_MISSING)).scalar_one())
    return Counts(records, waiting, measurements, missing)
