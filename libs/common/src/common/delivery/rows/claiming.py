"""Rows become a worker's: turn by turn, each subject in its order; and go back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery.partner import Claimed

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
