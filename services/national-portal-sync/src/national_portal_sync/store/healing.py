"""What reconciliation sends again: queued with the finding, never after something newer."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from national_portal_sync.domain.keys import DOSSIER, PARTNER
from national_portal_sync.domain.reconciliation import HEAL_MOST_TIMES

_KEYS = {"partner": PARTNER, "kind": DOSSIER}

_EXHAUSTED = text(
    """
    SELECT looked.code
    FROM unnest(CAST(:codes AS text[]), CAST(:versions AS bigint[])) AS looked (code, version)
    JOIN reconciliation_healing h ON h.code = looked.code AND h.version = looked.version
    GROUP BY looked.code HAVING count(*) >= :most
    """
)


async def exhausted(
    connection: AsyncConnection, codes: Sequence[str], versions: Sequence[int]
) -> set[str]:
    """Those of the dossiers whose version was sent again as often as that is done."""
    values = {"codes": list(codes), "versions": list(versions), "most": HEAL_MOST_TIMES}
    return set((await connection.execute(_EXHAUSTED, values)).scalars())


async def healed_by(connection: AsyncConnection, run: UUID) -> int:
    """How many dossiers a run has queued again."""
    found = await connection.execute(
        text("SELECT healed FROM reconciliation WHERE id = :run"), {"run": run}
    )
    return int(found.scalar_one())


# A row is this transaction's own if it began with it. One is taken back where a newer version was
# sent since the portal was asked: an old state is never sent after a newer one.
_TAKE_BACK = text(
    """
    DELETE FROM delivery d USING portal_dossier p
    WHERE d.partner = :partner AND d.kind = :kind AND d.key = ANY(CAST(:codes AS text[]))
      AND d.created_at = now() AND d.xmin = pg_current_xact_id()::xid AND p.code = d.key
      AND p.sent_version IS DISTINCT FROM d.version
    """
)
_QUEUED = text(
    """
    SELECT key FROM delivery WHERE partner = :partner AND kind = :kind
      AND key = ANY(CAST(:codes AS text[])) AND created_at = now()
      AND xmin = pg_current_xact_id()::xid
    """
)
_UNKNOWN_THERE = text(
    """
    UPDATE portal_dossier SET known = false FROM (
        SELECT code FROM portal_dossier WHERE code = ANY(CAST(:codes AS text[]))
        ORDER BY code FOR UPDATE) AS absent
    WHERE portal_dossier.code = absent.code
    """
)
_HEALINGS = text(
    """
    INSERT INTO reconciliation_healing (run, code, version, reason)
    SELECT :run, code, version, reason FROM unnest(CAST(:codes AS text[]),
        CAST(:versions AS bigint[]), CAST(:reasons AS text[])) AS h (code, version, reason)
    """
)


async def queued_now(connection: AsyncConnection, codes: Sequence[str]) -> set[str]:
    """Which of the dossiers this transaction has queued, after those that must not go are taken
    back."""
    values = {**_KEYS, "codes": list(codes)}
    await connection.execute(_TAKE_BACK, values)
    return set((await connection.execute(_QUEUED, values)).scalars())


async def not_there(connection: AsyncConnection, codes: Sequence[str]) -> None:
    """Note that the portal does not have these, so that they are created and not updated."""
    await connection.execute(_UNKNOWN_THERE, {"codes": list(codes)})


async def note_healings(
    connection: AsyncConnection, run: UUID, healings: Sequence[tuple[str, int, str]]
) -> None:
    """Write down what was queued again: dossier code, version, reason."""
    if healings:
        codes, versions, reasons = map(list, zip(*healings, strict=True))
        values = {"run": run, "codes": codes, "versions": versions, "reasons": reasons}
        await connection.execute(_HEALINGS, values)


async def healings(connection: AsyncConnection, run: UUID) -> Sequence[Row[Any]]:
    """What a run queued again, and when the portal took it."""
    found = await connection.execute(
        text(
            "SELECT id, code, version, reason, queued_at, sent_at FROM reconciliation_healing "
            "WHERE run = :run ORDER BY id"
        ),
        {"run": run},
    )
    return found.all()
