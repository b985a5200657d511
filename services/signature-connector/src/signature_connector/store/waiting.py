"""Requests that wait for a person: whose turn it is to be asked about, within a budget.

The budget is a row per name (all providers, and each): a bucket that fills by the second and that
every replica takes from, so that any number of them together ask no more often than is allowed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.requests import Request
from signature_connector.store.requests import COLUMNS, request_of

ALL = "*"
"""Name of the budget that all providers share."""
_BURST = 0.2
"""Share of a second's calls that may leave at once; the rest of it is what flows in, so that no
second ever sees more than its limit."""

_BUDGETS = text(
    """
    INSERT INTO signing_budget AS b (name, tokens, at)
    SELECT name, burst, clock_timestamp()
    FROM unnest(CAST(:names AS text[]), CAST(:bursts AS float8[])) AS g (name, burst)
    ORDER BY name
    ON CONFLICT (name) DO UPDATE SET at = excluded.at, tokens = least(excluded.tokens,
        b.tokens + greatest(0, extract(epoch FROM excluded.at - b.at)) * :flow * excluded.tokens)
    RETURNING name, tokens
    """
)
_SPEND = text(
    """
    UPDATE signing_budget b SET tokens = b.tokens - g.spent
    FROM unnest(CAST(:names AS text[]), CAST(:spent AS float8[])) AS g (name, spent)
    WHERE b.name = g.name
    """
)
_NEXT = text(
    """
    SELECT min(first) FROM unnest(CAST(:providers AS text[])) AS p (provider)
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM ask_at - now()) AS first FROM signing_request r
        WHERE r.provider = p.provider AND worker IS NULL AND ask_at IS NOT NULL
        ORDER BY ask_at LIMIT 1) AS due
    """
)
_CLAIM = text(
    f"""
    WITH allowed AS (
        SELECT * FROM unnest(CAST(:providers AS text[]), CAST(:limits AS integer[]))
            AS g (provider, most)
    ), due AS (
        SELECT taken.* FROM allowed CROSS JOIN LATERAL (
            SELECT request_id, ask_at, batch, submission FROM signing_request r
            WHERE r.provider = allowed.provider AND worker IS NULL AND ask_at <= now()
            ORDER BY ask_at LIMIT allowed.most
            FOR UPDATE SKIP LOCKED) AS taken
    ), chosen AS (SELECT request_id FROM due ORDER BY ask_at LIMIT :most)
    UPDATE signing_request SET worker = :worker, status_at = now()
    FROM chosen WHERE signing_request.request_id = chosen.request_id
    RETURNING {", ".join(f"signing_request.{name.strip()}" for name in COLUMNS.split(","))}
    """  # noqa: S608 - names from this module
)


async def next_due(connection: AsyncConnection, providers: Sequence[str]) -> float | None:
    """Seconds until the first request of these providers is due; None where none waits."""
    found = await connection.execute(_NEXT, {"providers": list(providers)})
    first = found.scalar_one()
    return float(first) if first is not None else None


async def claim(
    connection: AsyncConnection,
    worker: UUID,
    limits: Mapping[str, int],
    rates: Mapping[str, float],
) -> list[Request]:
    """Take up requests whose provider is to be asked now, the longest due first.

    Args:
        limits: how many of each provider this worker can ask at the moment.
        rates: calls a second that are allowed to all replicas together: in all (``ALL``) and to
            each provider.
    """
    names = sorted({ALL, *limits})
    bursts = [max(1.0, rates[name] * _BURST) for name in names]
    # What flows in is the rest of the second; with what may leave at once it makes the limit.
    flow = (1 - _BURST) / _BURST
    rows = await connection.execute(_BUDGETS, {"names": names, "bursts": bursts, "flow": flow})
    tokens = {row.name: int(row.tokens) for row in rows}
    able = {name: min(limit, tokens[name]) for name, limit in limits.items()}
    able = {name: many for name, many in able.items() if many > 0}
    if not able or tokens[ALL] <= 0:
        return []
    claimed = await connection.execute(
        _CLAIM,
        {
            "providers": list(able),
            "limits": list(able.values()),
            "most": tokens[ALL],
            "worker": worker,
        },
    )
    requests = [request_of(row) for row in claimed]
    spent = dict.fromkeys(names, 0)
    for request in requests:
        spent[request.provider or ""] += 1
        spent[ALL] += 1
    await connection.execute(
        _SPEND, {"names": list(spent), "spent": [float(n) for n in spent.values()]}
    )
    return requests


_MATES = text(
    f"""
    UPDATE signing_request SET worker = :worker
    WHERE order_id = ANY(CAST(:orders AS uuid[])) AND worker IS NULL
      AND state IN ('awaiting-user', 'unknown')
    RETURNING {COLUMNS}
    """  # noqa: S608 - names from this module
)
_POSTPONE = text(
    """
    UPDATE signing_request r SET worker = NULL,
        ask_at = CASE WHEN g.pause >= 0 THEN now() + make_interval(secs => g.pause) END
    FROM unnest(CAST(:ids AS uuid[]), CAST(:pauses AS float8[])) AS g (request_id, pause)
    WHERE r.request_id = g.request_id AND r.worker = :worker
    """
)
_PUT_OFF = text(
    """
    UPDATE signing_request SET worker = NULL, next_at = now() + make_interval(secs => :wait)
    WHERE request_id = ANY(CAST(:ids AS uuid[])) AND worker = :worker
    """
)


async def mates(connection: AsyncConnection, worker: UUID, orders: Sequence[UUID]) -> list[Request]:
    """Take up the others of the same orders: one answer tells of all of them."""
    found = await connection.execute(_MATES, {"worker": worker, "orders": list(orders)})
    return [request_of(row) for row in found]


async def postpone(connection: AsyncConnection, worker: UUID, pauses: Mapping[UUID, float]) -> None:
    """Let go of requests that are not decided; a negative pause: not to be asked again."""
    given = {"ids": list(pauses), "pauses": list(pauses.values()), "worker": worker}
    await connection.execute(_POSTPONE, given)


async def put_off(
    connection: AsyncConnection, worker: UUID, ids: Sequence[UUID], wait: float
) -> None:
    """Let go of requests on which nothing could be done now: no step, so no evidence."""
    await connection.execute(_PUT_OFF, {"ids": list(ids), "worker": worker, "wait": wait})


_STORE = text(
    """
    INSERT INTO signing_callback AS c (provider, digest, submission, order_id, bytes)
    VALUES (:provider, :digest, :submission, :order_id, :bytes)
    ON CONFLICT (provider, digest) DO UPDATE SET times = least(c.times + 1, 1000000)
    RETURNING times
    """
)
# A request is not asked about again within seconds, however often it is called about; one that
# ended without an answer is looked at for a day, so that a late result comes to the evidence.
_FORWARD = text(
    """
    UPDATE signing_request SET ask_at = now() - interval '1 hour'
    WHERE provider = :provider
      AND (submission = :submission OR order_id = CAST(:order_id AS uuid))
      AND (status_at IS NULL OR status_at < now() - make_interval(secs => :rest))
      AND (state IN ('awaiting-user', 'unknown') AND ask_at > now() - interval '1 hour'
        OR state IN ('expired', 'manual-review') AND ask_at IS NULL
           AND updated_at > now() - interval '1 day')
    """
)
_TRIM = text(
    """
    DELETE FROM signing_callback WHERE (provider, digest) IN (
        SELECT provider, digest FROM signing_callback
        WHERE received_at < now() - make_interval(days => :days)
           OR received_at < (SELECT received_at FROM signing_callback
                             ORDER BY received_at DESC OFFSET :most LIMIT 1)
        ORDER BY received_at LIMIT 10000)
    """
)


async def store_callback(
    connection: AsyncConnection,
    provider: str,
    digest: bytes,
    submission: str | None,
    order_id: UUID | None,
    size: int,
) -> bool:
    """Keep that a callback came; whether it is the first of its content."""
    given = {
        "provider": provider,
        "digest": digest,
        "submission": submission,
        "order_id": order_id,
        "bytes": size,
    }
    return bool((await connection.execute(_STORE, given)).scalar_one() == 1)


async def bring_forward(
    connection: AsyncConnection,
    provider: str,
    submission: str | None,
    order_id: UUID | None,
    rest: float,
) -> int:
    """Have a provider asked about an order at once; how many requests that concerns.

    Args:
        rest: seconds for which an order is left alone after it was asked about.
    """
    given: dict[str, Any] = {
        "provider": provider,
        "submission": submission,
        "order_id": order_id,
        "rest": rest,
    }
    return (await connection.execute(_FORWARD, given)).rowcount


async def trim_callbacks(connection: AsyncConnection, days: int, most: int) -> int:
    """Drop callbacks that are old, or more than are kept, the oldest first."""
    return (await connection.execute(_TRIM, {"days": days, "most": most})).rowcount


_CANCEL_AT = text(
    """
    UPDATE signing_request SET cancel_at = :at, cancel_by = :client
    WHERE request_id = :id AND cancel_at IS NULL
    """
)


async def want_cancelled(
    connection: AsyncConnection, request_id: UUID, client: str, at: datetime
) -> None:
    """Mark a request whose person may be deciding already; noted with its outcome."""
    await connection.execute(_CANCEL_AT, {"id": request_id, "client": client, "at": at})
