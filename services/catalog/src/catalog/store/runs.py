"""The log of imports: what came in, from where, how far it got, and what could not be read.

A run of the portal's sync is held by one replica at a time. The holder writes each step on in the
same transaction as the entries, under the condition that it still is the holder: one that was
taken for dead writes nothing any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.identifiers import new_id

RunKind = Literal["portal", "file", "rest"]
State = Literal["running", "waiting", "interrupted", "ended", "failed"]
LEASE_SECONDS = 30.0
MOST_FAULTS = 1000
"""Faults of one run that are put down; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Run:
    """One import.

    Attributes:
        stage: what is being read now.
        cursor: how far it got: the last code, or line.
        asked_by: the client that asked for it; None for a scheduled one.
    """

    id: UUID
    kind: RunKind
    state: State
    stage: str
    cursor: str
    read: int
    changed: int
    unchanged: int
    faults: int
    asked_by: str | None
    started_at: datetime
    ended_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that was left out: where it stood, its code if it has one, and why."""

    place: str
    code: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step of a run has done."""

    read: int = 0
    changed: int = 0
    unchanged: int = 0
    faults: Sequence[Fault] = ()


_COLUMNS = """
    id, kind, stage, cursor, read, changed, unchanged, faults, asked_by, started_at, ended_at,
    error,
    CASE WHEN ended_at IS NOT NULL THEN CASE WHEN error IS NULL THEN 'ended' ELSE 'failed' END
         WHEN held_until > now() THEN 'running'
         WHEN kind = 'portal' THEN 'waiting' ELSE 'interrupted' END AS state
"""
_BEGIN = text(
    f"""
    INSERT INTO import_run (id, kind, stage, asked_by, holder, held_until)
    VALUES (:id, :kind, 'records', :asked_by, :holder, now() + make_interval(secs => :lease))
    RETURNING {_COLUMNS}
    """  # noqa: S608 - columns of our own
)
_ASK = text(
    """
    INSERT INTO import_run (id, kind, stage, asked_by)
    VALUES (:id, 'portal', 'lists', :asked_by)
    ON CONFLICT (kind) WHERE kind = 'portal' AND ended_at IS NULL DO UPDATE SET next_at = now()
    RETURNING id
    """
)
_TAKE_OVER = text(
    f"""
    UPDATE import_run SET holder = :holder, held_until = now() + make_interval(secs => :lease)
    WHERE kind = 'portal' AND ended_at IS NULL AND next_at <= now()
      AND (held_until IS NULL OR held_until < now())
    RETURNING {_COLUMNS}
    """  # noqa: S608 - columns of our own
)
_BEGIN_DUE = text(
    f"""
    INSERT INTO import_run (id, kind, stage, holder, held_until)
    SELECT :id, 'portal', 'lists', :holder, now() + make_interval(secs => :lease)
    WHERE NOT EXISTS (SELECT 1 FROM import_run WHERE kind = 'portal'
        AND (ended_at IS NULL OR started_at > now() - make_interval(secs => :every)))
    ON CONFLICT (kind) WHERE kind = 'portal' AND ended_at IS NULL DO NOTHING
    RETURNING {_COLUMNS}
    """  # noqa: S608 - columns of our own
)
_HOLD = text(
    """
    UPDATE import_run SET held_until = now() + make_interval(secs => :lease)
    WHERE id = :id AND holder = :holder AND ended_at IS NULL
    """
)
_ADVANCE = text(
    """
    UPDATE import_run SET stage = :stage, cursor = :cursor, read = read + :read,
        changed = changed + :changed, unchanged = unchanged + :unchanged,
        faults = faults + :faults, error = NULL,
        held_until = now() + make_interval(secs => :lease)
    WHERE id = :id AND holder = :holder AND ended_at IS NULL
    RETURNING faults
    """
)
_ADD_FAULTS = text(
    """
    INSERT INTO import_fault (run, place, code, reason)
    SELECT :run, * FROM unnest(CAST(:places AS text[]), CAST(:codes AS text[]),
                               CAST(:reasons AS text[]))
    ON CONFLICT (run, place) DO UPDATE SET code = excluded.code, reason = excluded.reason
    """
)
_PAUSE = text(
    """
    UPDATE import_run SET holder = NULL, held_until = NULL, error = :error,
        next_at = now() + make_interval(secs => :seconds)
    WHERE id = :id AND holder = :holder
    """
)
_END = text(
    """
    UPDATE import_run SET ended_at = now(), held_until = NULL, error = :error
    WHERE id = :id AND holder = :holder AND ended_at IS NULL
    """
)
_RUNS = text(
    f"""
    SELECT {_COLUMNS} FROM import_run
    WHERE CAST(:before AS uuid) IS NULL
       OR (started_at, id) < (SELECT started_at, id FROM import_run WHERE id = :before)
    ORDER BY started_at DESC, id DESC LIMIT :limit
    """  # noqa: S608 - columns of our own
)
_RUN = text(f"SELECT {_COLUMNS} FROM import_run WHERE id = :id")  # noqa: S608 - the same
_FAULTS = text(
    """
    SELECT place, code, reason FROM import_fault WHERE run = :run ORDER BY place LIMIT :limit
    """
)


class Lost(Exception):
    """Another replica holds the run now."""


async def begin(
    connection: AsyncConnection, kind: RunKind, holder: UUID, asked_by: str | None
) -> Run:
    """Begin the run of a file or a REST call."""
    values = {"id": new_id(), "kind": kind, "holder": holder, "asked_by": asked_by}
    return _run((await connection.execute(_BEGIN, values | _LEASE)).one())


async def ask_for_portal(connection: AsyncConnection, asked_by: str) -> Run:
    """Begin a sync, or have the one that is unfinished go on at once."""
    values = {"id": new_id(), "asked_by": asked_by}
    found = await run(connection, (await connection.execute(_ASK, values)).scalar_one())
    if found is None:
        raise LookupError("a run that was just written")
    return found


async def take_portal(connection: AsyncConnection, holder: UUID, every: float) -> Run | None:
    """Take the unfinished sync, if nobody holds it, or begin one that is due; None otherwise.

    Args:
        every: seconds between the beginnings of scheduled runs.
    """
    values = {"holder": holder} | _LEASE
    row = (await connection.execute(_TAKE_OVER, values)).first()
    if row is None:
        due = values | {"id": new_id(), "every": every}
        row = (await connection.execute(_BEGIN_DUE, due)).first()
    return _run(row) if row else None


async def hold(connection: AsyncConnection, id_: UUID, holder: UUID) -> None:
    """Stay the holder of a run.

    Raises:
        Lost: another one holds it.
    """
    values = {"id": id_, "holder": holder} | _LEASE
    if not (await connection.execute(_HOLD, values)).rowcount:
        raise Lost


async def advance(
    connection: AsyncConnection, id_: UUID, holder: UUID, stage: str, cursor: str, done: Progress
) -> None:
    """Write a step of a run down.

    Raises:
        Lost: another one holds the run.
    """
    values = {
        "id": id_,
        "holder": holder,
        "stage": stage,
        "cursor": cursor,
        "read": done.read,
        "changed": done.changed,
        "unchanged": done.unchanged,
        "faults": len(done.faults),
    }
    faults = (await connection.execute(_ADVANCE, values | _LEASE)).scalar_one_or_none()
    if faults is None:
        raise Lost
    room = max(0, MOST_FAULTS - (faults - len(done.faults)))
    if kept := done.faults[:room]:
        await connection.execute(
            _ADD_FAULTS,
            {
                "run": id_,
                "places": [fault.place for fault in kept],
                "codes": [fault.code for fault in kept],
                "reasons": [fault.reason for fault in kept],
            },
        )


async def pause(
    connection: AsyncConnection, id_: UUID, holder: UUID, error: str, seconds: float
) -> None:
    """Leave a run unfinished, to be taken up later."""
    values = {"id": id_, "holder": holder, "error": error, "seconds": seconds}
    await connection.execute(_PAUSE, values)


async def end(
    connection: AsyncConnection, id_: UUID, holder: UUID, error: str | None = None
) -> None:
    """End a run."""
    await connection.execute(_END, {"id": id_, "holder": holder, "error": error})


async def runs(connection: AsyncConnection, before: UUID | None, limit: int) -> list[Run]:
    """Runs, the newest first, going on behind one."""
    return [
        _run(row) for row in await connection.execute(_RUNS, {"before": before, "limit": limit})
    ]


async def run(connection: AsyncConnection, id_: UUID) -> Run | None:
    """A run."""
    row = (await connection.execute(_RUN, {"id": id_})).first()
    return _run(row) if row else None


async def faults(connection: AsyncConnection, id_: UUID, limit: int = MOST_FAULTS) -> list[Fault]:
    """The faults of a run that were put down."""
    rows = await connection.execute(_FAULTS, {"run": id_, "limit": limit})
    return [Fault(row.place, row.code, row.reason) for row in rows]


_LEASE = {"lease": LEASE_SECONDS}


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        kind=cast("RunKind", row.kind),
        state=cast("State", row.state),
        stage=row.stage,
        cursor=row.cursor,
        read=row.read,
        changed=row.changed,
        unchanged=row.unchanged,
        faults=row.faults,
        asked_by=row.asked_by,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=row.error,
    )
