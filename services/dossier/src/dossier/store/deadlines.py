"""The schedule of due dates: one row for each dossier that has one and has not ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import Status
from dossier.domain.deadlines import Entry

APPROACHING, OVERDUE = 1, 2
"""What has been told."""

# Most steps change nothing here, and then nothing is written or locked. Another due date begins
# anew, told or not; the same one goes on from what has been told.
_KEEP = text(
    """
    WITH given AS (
        SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:dues AS timestamptz[]),
            CAST(:warns AS timestamptz[]), CAST(:running AS boolean[]), CAST(:ended AS boolean[]))
            AS given (code, due_at, warn_at, running, ended)
    ), gone AS (
        DELETE FROM deadline USING given WHERE deadline.code = given.code AND given.ended
    )
    INSERT INTO deadline AS kept (code, due_at, warn_at, running, next_at)
    SELECT code, given.due_at, given.warn_at, given.running,
        CASE WHEN given.running THEN given.warn_at END
    FROM given LEFT JOIN deadline AS old USING (code)
    WHERE NOT given.ended
        AND (old.code IS NULL OR old.due_at <> given.due_at OR old.running <> given.running)
    ORDER BY code
    ON CONFLICT (code) DO UPDATE SET
        due_at = excluded.due_at,
        warn_at = excluded.warn_at,
        running = excluded.running,
        told = CASE WHEN kept.due_at = excluded.due_at THEN kept.told ELSE 0 END,
        next_at = CASE
            WHEN NOT excluded.running THEN NULL
            WHEN kept.due_at <> excluded.due_at OR kept.told = 0 THEN excluded.warn_at
            WHEN kept.told = 1 THEN excluded.due_at
        END
    """
)


async def keep(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Put down the due dates of dossiers as a batch left them, each dossier at most once."""
    if not entries:
        return
    await connection.execute(
        _KEEP,
        {
            "codes": [one.code for one in entries],
            "dues": [one.due_at for one in entries],
            "warns": [one.warn_at for one in entries],
            "running": [one.running for one in entries],
            "ended": [one.ended for one in entries],
        },
    )


@dataclass(frozen=True, slots=True)
class Due:
    """A due date of which something is to be told, with its dossier as it stands."""

    code: str
    due_at: datetime
    warn_at: datetime
    told: int
    agency: str
    procedure: str
    status: Status


# Rows that another worker has in hand are passed over, so nobody waits and nothing is told twice:
# one that was marked, or got another date, since this statement began no longer fits.
_TAKE = text(
    """
    SELECT deadline.code, deadline.due_at, deadline.warn_at, deadline.told,
        dossier.agency, dossier.procedure, CAST(dossier.status AS text) AS status
    FROM deadline JOIN dossier ON dossier.code = deadline.code
    WHERE deadline.next_at <= :now
    ORDER BY deadline.next_at LIMIT :most
    FOR UPDATE OF deadline SKIP LOCKED
    """
)
_MARK = text(
    """
    UPDATE deadline SET told = marked.told,
        next_at = CASE WHEN marked.told = 1 THEN deadline.due_at END
    FROM unnest(CAST(:codes AS text[]), CAST(:told AS smallint[])) AS marked (code, told)
    WHERE deadline.code = marked.code
    """
)
_NEXT = text("SELECT min(next_at) FROM deadline WHERE next_at IS NOT NULL")
_AT_RISK = text(
    """
    SELECT count(*) FILTER (WHERE due_at <= :now), count(*) FILTER (WHERE due_at > :now)
    FROM deadline WHERE running AND due_at <= :soon
    """
)


async def take(connection: AsyncConnection, now: datetime, most: int) -> list[Due]:
    """Due dates of which something is to be told by now, locked until the transaction ends."""
    rows = await connection.execute(_TAKE, {"now": now, "most": most})
    return [Due(*row) for row in rows]


async def mark(connection: AsyncConnection, told: Sequence[tuple[str, int]]) -> None:
    """Put down what has been told of dossiers."""
    await connection.execute(
        _MARK, {"codes": [code for code, _ in told], "told": [what for _, what in told]}
    )


async def next_moment(connection: AsyncConnection) -> datetime | None:
    """When something is to be told next, which may be past."""
    found: datetime | None = (await connection.execute(_NEXT)).scalar_one()
    return found


async def at_risk(connection: AsyncConnection, now: datetime, soon: timedelta) -> tuple[int, int]:
    """How many open dossiers are overdue, and how many will be before long."""
    row = (await connection.execute(_AT_RISK, {"now": now, "soon": now + soon})).one()
    return int(row[0]), int(row[1])
