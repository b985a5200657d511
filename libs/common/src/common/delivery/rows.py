"""The rows of ``delivery``: how they are queued, claimed, settled and taken over.

A row is ``due`` (to be sent), ``sending`` (a worker has it), ``unknown`` (to be asked about, or
sent again) or ``held`` (for an operator); it is deleted when the partner has the item. Only ``due``
and ``unknown`` rows whose ``next_at`` has come are ever looked at, and of each agency only a few of
the first, so that claiming costs the same whatever waits.

A queue that was empty when PostgreSQL counted it passes for empty until it is counted again, and in
an empty table every way is as short as any: an index by partner, read from end to end for each item
that is looked up, seems as good as that of its subject. So each lookup leaves the planner a single
index, whatever it believes: what ``(…) IS TRUE`` is checked, not looked up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery.partner import LANES, Claimed, Item

_QUEUE = text(
    """
    INSERT INTO delivery AS d
        (partner, lane, agency, subject, kind, key, version, body, waits, traceparent)
    SELECT :partner, lane, agency, subject, kind, key, version, body, waits, traceparent
    FROM unnest(CAST(:lanes AS text[]), CAST(:agencies AS text[]), CAST(:subjects AS text[]),
            CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:versions AS bigint[]),
            CAST(:bodies AS bytea[]), CAST(:waits AS boolean[]), CAST(:traces AS text[]))
        WITH ORDINALITY AS given
        (lane, agency, subject, kind, key, version, body, waits, traceparent, place)
    ORDER BY place
    ON CONFLICT (partner, kind, key) DO UPDATE
        SET version = excluded.version, body = excluded.body, traceparent = excluded.traceparent,
            agency = excluded.agency, lane = greatest(d.lane, excluded.lane),
            state = CASE d.state WHEN 'held' THEN 'due' ELSE d.state END,
            attempts = CASE d.state WHEN 'held' THEN 0 ELSE d.attempts END,
            next_at = CASE d.state WHEN 'held' THEN now() ELSE d.next_at END
        WHERE d.version < excluded.version
    """
)


# In conditions of a single scan: a join with what passes for empty may read it once for each row.
_OF_SUBJECTS = text(
    """
    SELECT id, subject, agency, lane FROM delivery
    WHERE (partner = :partner) IS TRUE AND subject = ANY (CAST(:subjects AS text[]))
    """
)
_MOVE = text(
    """
    UPDATE delivery SET agency = moved.agency, lane = moved.lane
    FROM (
        SELECT d.id, given.agency, greatest(d.lane, given.lane) AS lane
        FROM unnest(CAST(:ids AS bigint[]), CAST(:agencies AS text[]), CAST(:lanes AS text[]))
            AS given (id, agency, lane)
        JOIN delivery d ON d.id = given.id
        ORDER BY d.subject, d.id FOR UPDATE OF d
    ) AS moved
    WHERE delivery.id = moved.id
    """
)


async def _move(
    connection: AsyncConnection, partner: str, agencies: dict[str, str], lanes: dict[str, str]
) -> None:
    """Let what waits of subjects go with these agencies, and on these lanes where they are live.

    A subject's items share an agency and a lane: those of two turns could not keep their order.
    """
    found = await connection.execute(_OF_SUBJECTS, {"partner": partner, "subjects": list(agencies)})
    astray = [
        (waiting.id, agencies[waiting.subject], lanes[waiting.subject])
        for waiting in found
        if waiting.agency != agencies[waiting.subject] or waiting.lane < lanes[waiting.subject]
    ]
    if astray:  # "live" is the greater of the two lanes, under the lock as well
        ids, whose, which = (list(column) for column in zip(*astray, strict=True))
        await connection.execute(_MOVE, {"ids": ids, "agencies": whose, "lanes": which})


async def queue(connection: AsyncConnection, partner: str, items: Sequence[Item]) -> None:
    """Queue items in the caller's transaction.

    An older version that still waits is replaced in its place. Of several items with one kind and
    key only the last is taken, in the place of the first. What waits of a subject goes with the
    agency that it has now, and on the live lane as soon as something of it does.
    """
    latest: dict[tuple[str, str], Item] = {}
    for item in items:
        latest[item.kind, item.key] = item
    if not latest:
        return
    # Every transaction locks rows by subject: two that meet cannot block each other.
    rows = sorted(latest.values(), key=lambda item: item.subject)
    agencies = {item.subject: item.agency for item in rows}
    lanes = {item.subject: LANES[1] for item in rows}
    lanes |= {item.subject: item.lane for item in rows if item.lane != LANES[1]}
    await _move(connection, partner, agencies, lanes)
    await connection.execute(
        _QUEUE,
        {
            "partner": partner,
            "lanes": [lanes[item.subject] for item in rows],
            "agencies": [agencies[item.subject] for item in rows],
            "subjects": [item.subject for item in rows],
            "kinds": [item.kind for item in rows],
            "keys": [item.key for item in rows],
            "versions": [item.version for item in rows],
            "bodies": [item.body for item in rows],
            "waits": [item.waits for item in rows],
            "traces": [item.traceparent for item in rows],
        },
    )


_WAITS = text(
    """
    SELECT EXISTS (
        SELECT FROM delivery WHERE (partner = :partner) IS TRUE AND state IN ('due', 'unknown'))
    """
)


async def waits(connection: AsyncConnection, partner: str) -> bool:
    """Whether there is anything to deliver, now or later."""
    return bool((await connection.execute(_WAITS, {"partner": partner})).scalar_one())


Turn = tuple[str, str]
"""A lane and an agency."""

# Walks from agency to agency in the index, one probe each, never over their rows. The lock makes
# claiming an agency's items one worker's business at a time; it ends with the transaction.
_TURNS = text(
    """
    WITH RECURSIVE walk (agency, start) AS (
        SELECT CAST(:agency AS text) COLLATE "C", true
        UNION ALL
        SELECT next.agency, false FROM walk CROSS JOIN LATERAL (
            SELECT d.agency FROM delivery d
            WHERE (d.partner = :partner) IS TRUE AND d.lane = :lane AND d.agency > walk.agency
              AND d.state IN ('due', 'unknown')
            ORDER BY d.agency LIMIT 1) AS next
        WHERE CAST(:last AS text) IS NULL OR next.agency <= CAST(:last AS text)
    ), ready AS (
        SELECT agency FROM walk
        WHERE NOT start AND agency <> ALL (CAST(:shut AS text[])) AND EXISTS (
            SELECT FROM delivery d
            WHERE (d.partner = :partner) IS TRUE AND d.lane = :lane AND d.agency = walk.agency
              AND d.state IN ('due', 'unknown') AND d.next_at <= now())
        LIMIT :agencies
    )
    SELECT agency FROM ready
    WHERE pg_try_advisory_xact_lock(hashtextextended(:partner || :lane || ' ' || agency, 0))
    """
)


async def turns(
    connection: AsyncConnection,
    partner: str,
    after: Turn,
    agencies: int,
    shut: Sequence[str] = (),
) -> list[Turn]:
    """The next agencies of a lane with something to do, in a ring that goes on behind ``after``.

    They are this transaction's alone until it ends; one that another worker has is left out.

    Args:
        agencies: how many at the most.
        shut: agencies to pass over.
    """
    lane, start = after
    keys = {"partner": partner, "lane": lane, "shut": list(shut)}
    found = await connection.execute(
        _TURNS, {**keys, "agency": start, "last": None, "agencies": agencies}
    )
    ring = [(lane, agency) for agency in found.scalars()]
    if len(ring) < agencies and start:
        found = await connection.execute(
            _TURNS, {**keys, "agency": "", "last": start, "agencies": agencies - len(ring)}
        )
        ring += [(lane, agency) for agency in found.scalars()]
    return ring


# An item is ready when all before it of the same subject are ready too and of its kind: they share
# the call. Were one of those left out because somebody has its row, `forerunner` tells.
_CLAIM = text(
    """
    WITH ready AS (
        SELECT chosen.*
        FROM unnest(CAST(:lanes AS text[]), CAST(:agencies AS text[]), CAST(:shares AS integer[]))
            AS turn (lane, agency, share)
        CROSS JOIN LATERAL (
            SELECT mine.id, mine.state, mine.sent_version, ahead.last AS forerunner
            FROM (SELECT id, next_at, subject, kind, state, waits FROM delivery
                  WHERE (partner = :partner) IS TRUE AND lane = turn.lane AND agency = turn.agency
                    AND state IN ('due', 'unknown') AND next_at <= now()
                  ORDER BY next_at, id LIMIT 4 * turn.share + 100) AS near
            CROSS JOIN LATERAL (
                SELECT max(before.id) AS last, bool_or(before.kind <> near.kind
                    OR before.state <> near.state OR before.next_at > near.next_at) AS bars
                FROM delivery before
                WHERE near.waits AND before.subject = near.subject
                  AND (before.partner = :partner) IS TRUE AND (before.id < near.id) IS TRUE
                ) AS ahead
            CROSS JOIN LATERAL (
                SELECT id, state, sent_version FROM delivery
                WHERE id = near.id AND state NOT IN ('sending', 'held') AND ahead.bars IS NOT TRUE
                FOR UPDATE SKIP LOCKED) AS mine
            ORDER BY near.next_at, near.id LIMIT turn.share) AS chosen
    )
    UPDATE delivery SET state = 'sending', worker = :worker, attempts = attempts + 1,
        sent_version = CASE ready.state WHEN 'unknown'
            THEN coalesce(delivery.sent_version, version) ELSE version END
    FROM ready
    WHERE delivery.id = ready.id AND delivery.id = ANY (ARRAY(SELECT id FROM ready))
    RETURNING delivery.id, agency, subject, kind, key, version, body, traceparent, attempts,
        ready.state = 'unknown' AS asking, ready.sent_version AS asked_version, maybe_doubled,
        lane, ready.forerunner
    """
)


@dataclass(frozen=True, slots=True)
class Found:
    """A claimed item, whose turn it was, and the id of the item that goes right before it."""

    item: Claimed
    turn: Turn
    forerunner: int | None


async def claim(
    connection: AsyncConnection,
    partner: str,
    worker: UUID,
    of: Sequence[Turn],
    shares: Sequence[int],
) -> list[Found]:
    """Claim items of each agency whose turn it is, each no more than its share."""
    found = await connection.execute(
        _CLAIM,
        {
            "partner": partner,
            "lanes": [lane for lane, _ in of],
            "agencies": [agency for _, agency in of],
            "shares": list(shares),
            "worker": worker,
        },
    )
    return [
        Found(Claimed(*columns), (columns[-1], columns[1]), forerunner)
        for *columns, forerunner in found
    ]


_RELEASE = text(
    """
    UPDATE delivery SET state = CASE WHEN given.asking THEN 'unknown' ELSE 'due' END,
        worker = NULL, attempts = delivery.attempts - 1, sent_version = given.sent_version
    FROM unnest(CAST(:ids AS bigint[]), CAST(:askings AS boolean[]), CAST(:sent AS bigint[]))
        AS given (id, asking, sent_version)
    WHERE delivery.id = given.id
    """
)


async def release(connection: AsyncConnection, items: Sequence[Claimed]) -> None:
    """Give items back as they were, in the transaction that claimed them."""
    await connection.execute(
        _RELEASE,
        {
            "ids": [item.id for item in items],
            "askings": [item.asking for item in items],
            "sent": [item.asked_version for item in items],
        },
    )


# Nothing that was never tried has an error; an unknown row always has one.
_LET_GO = text(
    """
    UPDATE delivery SET state = CASE WHEN error IS NULL THEN 'due' ELSE 'unknown' END,
        worker = NULL, attempts = attempts - 1
    WHERE state = 'sending' AND worker = :worker AND id <> ALL(CAST(:in_hand AS bigint[]))
    """
)


async def let_go(connection: AsyncConnection, worker: UUID, in_hand: Iterable[int]) -> int:
    """Free what the worker claimed without hearing that it was committed; how many items.

    Nothing of it was sent. What had been tried before may have been unknown and is so again.
    """
    values = {"worker": worker, "in_hand": list(in_hand)}
    return (await connection.execute(_LET_GO, values)).rowcount


# Behind an item that is held or has to wait there is nothing to find for a while.
_BEHIND = text(
    """
    SELECT near.id, blocker.until
    FROM unnest(CAST(:lanes AS text[]), CAST(:agencies AS text[])) AS turn (lane, agency)
    CROSS JOIN LATERAL (
        SELECT id, subject FROM delivery
        WHERE (partner = :partner) IS TRUE AND lane = turn.lane AND agency = turn.agency
          AND state IN ('due', 'unknown') AND next_at <= now() AND waits
        ORDER BY next_at, id LIMIT :look) AS near
    CROSS JOIN LATERAL (
        SELECT max(CASE before.state
            WHEN 'held' THEN now() + make_interval(secs => :patience * (0.5 + random()))
            ELSE before.next_at END) AS until
        FROM delivery before
        WHERE (before.partner = :partner) IS TRUE AND before.subject = near.subject
          AND (before.id < near.id) IS TRUE AND before.state <> 'sending') AS blocker
    WHERE blocker.until > now()
    """
)
_PUT_OFF = text(
    """
    UPDATE delivery SET next_at = behind.until
    FROM unnest(CAST(:ids AS bigint[]), CAST(:untils AS timestamptz[])) AS behind (id, until)
    WHERE delivery.id = behind.id AND delivery.state IN ('due', 'unknown')
    """
)
_LOOK, _PATIENCE_SECONDS = 100, 600.0


async def defer(connection: AsyncConnection, partner: str, of: Sequence[Turn]) -> int:
    """Put off what stands behind items that cannot go, among the first of each agency; how much."""
    found = await connection.execute(
        _BEHIND,
        {
            "partner": partner,
            "lanes": [lane for lane, _ in of],
            "agencies": [agency for _, agency in of],
            "look": _LOOK,
            "patience": _PATIENCE_SECONDS,
        },
    )
    behind = found.all()
    if behind:
        ids, untils = zip(*behind, strict=True)
        await connection.execute(_PUT_OFF, {"ids": list(ids), "untils": list(untils)})
    return len(behind)


# `worker` is set while a row is sending and at no other time. (Naming the state too would let the
# planner take the index of a worker's rows and compare each of them with each settled one.) What
# to do with a row is decided by its version under the lock: by the snapshot's, a row that is being
# replaced meanwhile would be neither deleted nor sent again. What was put off behind an item that
# had trouble is let go when that item is done.
_SETTLE = text(
    """
    WITH settled AS (
        SELECT given.*, given.state = 'done' AND d.version = given.version AS over
        FROM unnest(CAST(:ids AS bigint[]), CAST(:versions AS bigint[]), CAST(:states AS text[]),
                CAST(:waits AS float8[]), CAST(:attempts AS integer[]), CAST(:doubled AS boolean[]),
                CAST(:errors AS text[]))
            AS given (id, version, state, wait, attempts, doubled, error)
        CROSS JOIN LATERAL (
            SELECT version FROM delivery
            WHERE delivery.id = given.id AND worker = :worker FOR UPDATE) AS d
    ), gone AS (
        DELETE FROM delivery WHERE id = ANY (ARRAY(SELECT id FROM settled WHERE over))
        RETURNING subject, error
    ), freed AS (
        UPDATE delivery SET next_at = now()
        WHERE subject = ANY (ARRAY(SELECT subject FROM gone WHERE error IS NOT NULL))
          AND (partner = :partner) IS TRUE AND state NOT IN ('sending', 'unknown', 'held')
          AND next_at > now() AND error IS NULL
    )
    UPDATE delivery SET
        state = CASE settled.state WHEN 'done' THEN 'due' ELSE settled.state END,
        next_at = now() + make_interval(secs => settled.wait),
        attempts = settled.attempts, error = settled.error, worker = NULL,
        maybe_doubled = settled.doubled
    FROM settled WHERE delivery.id = settled.id AND NOT over
        AND delivery.id = ANY (ARRAY(SELECT id FROM settled WHERE NOT over))
    """
)


async def settle(
    connection: AsyncConnection,
    partner: str,
    worker: UUID,
    rows: Sequence[tuple[int, int, str, float, int, bool, str | None]],
) -> None:
    """Write what became of claimed items.

    Args:
        rows: for each its id, the version that was claimed, the next state (``done`` deletes it,
            unless a newer version came meanwhile), seconds to wait, attempts so far, whether it
            may be doubled, and the error.
    """
    names = ("ids", "versions", "states", "waits", "attempts", "doubled", "errors")
    columns = zip(*rows, strict=True)
    values = {name: list(column) for name, column in zip(names, columns, strict=True)}
    await connection.execute(_SETTLE, {**values, "partner": partner, "worker": worker})


# One statement, since every worker says it all the time. A statement does not see what it writes
# itself, so the worker's own rows are left out: it may have been frozen for longer than a lease. It
# walks from worker to worker in the index and never over its own entries, of which there are
# thousands that wait for a vacuum.
_ALIVE = text(
    """
    WITH RECURSIVE seen AS (
        INSERT INTO delivery_worker (worker) VALUES (:worker)
        ON CONFLICT (worker) DO UPDATE SET seen_at = now()
    ), lost AS (
        DELETE FROM delivery_worker
        WHERE seen_at < now() - make_interval(secs => :lease) AND worker <> :worker
    ), walk (worker) AS (
        SELECT CAST('00000000-0000-0000-0000-000000000000' AS uuid)
        UNION ALL
        SELECT coalesce(
            (SELECT d.worker FROM delivery d
             WHERE d.state = 'sending' AND d.worker > walk.worker AND d.worker < :worker
             ORDER BY d.worker LIMIT 1),
            (SELECT d.worker FROM delivery d
             WHERE d.state = 'sending' AND d.worker > greatest(walk.worker, :worker)
             ORDER BY d.worker LIMIT 1))
        FROM walk WHERE walk.worker IS NOT NULL
    )
    UPDATE delivery SET state = 'unknown', worker = NULL, next_at = now(),
        error = 'the worker ended in the middle of the call'
    WHERE state = 'sending' AND worker = ANY (ARRAY(
        SELECT worker FROM walk WHERE NOT EXISTS (
            SELECT FROM delivery_worker
            WHERE delivery_worker.worker = walk.worker
              AND seen_at >= now() - make_interval(secs => :lease))))
    """
)
_LEAVE = text("DELETE FROM delivery_worker WHERE worker = :worker")


async def alive(connection: AsyncConnection, worker: UUID, lease: float) -> int:
    """Give a sign of life, and make unknown what workers were sending that gave none for ``lease``
    seconds; how many items. A worker's first sign comes before its first claim."""
    return (await connection.execute(_ALIVE, {"worker": worker, "lease": lease})).rowcount


async def leave(connection: AsyncConnection, worker: UUID) -> None:
    """Take leave: what the worker was still sending is unknown to the next one at once."""
    await connection.execute(_LEAVE, {"worker": worker})
