"""Healing: what differs at the portal is sent there again, as the snapshot it took last."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery import Item, queue
from national_portal_sync.domain.keys import DOSSIER, PARTNER
from national_portal_sync.domain.reconciliation import HEALABLE, Difference, Healing, Kind
from national_portal_sync.store import healing as store


async def healed_of(
    connection: AsyncConnection,
    run: Row[Any],
    found: Sequence[tuple[Difference, Row[Any]]],
    most: int,
) -> list[tuple[Difference, Healing]]:
    """Queue again what can be sent again; what was done about each difference.

    Args:
        found: differences, each with the row of its dossier.
        most: dossiers that the run may queue in all.
    """
    rows = {row.code: row for one, row in found if one.kind in HEALABLE}
    fit = {code: row for code, row in rows.items() if row.body and row.waiting is None}
    spent = await store.exhausted(connection, list(fit), [row.sent_version for row in fit.values()])
    left = most - (await store.healed_by(connection, run.id))
    chosen = [row for code, row in fit.items() if code not in spent][: max(0, left)]
    reasons = {one.code: f"reconciliation: {one.kind.value}" for one, _ in found}
    await queue(
        connection,
        PARTNER,
        [
            Item(
                agency=run.agency,
                subject=row.code,
                kind=DOSSIER,
                key=row.code,
                body=row.body,
                version=row.sent_version,
                lane="bulk",
                waits=False,
            )
            for row in chosen
        ],
    )
    tried = {row.code for row in chosen}
    queued = await store.queued_now(connection, sorted(tried))
    absent = [one.code for one, _ in found if one.kind is Kind.MISSING_THERE]
    await store.not_there(connection, absent)
    await store.note_healings(
        connection,
        run.id,
        [(code, rows[code].sent_version, reasons[code]) for code in sorted(queued)],
    )

    def decided(one: Difference, row: Row[Any]) -> Healing:
        if one.kind not in HEALABLE:
            return Healing.NONE
        if row.waiting is not None:
            return Healing.HELD
        if not row.body:
            return Healing.NOTHING_KEPT
        if one.code in spent:
            return Healing.GIVEN_UP
        if one.code in queued:
            return Healing.QUEUED
        return Healing.SUPERSEDED if one.code in tried else Healing.LIMIT

    return [(one, decided(one, row)) for one, row in found]
