"""Reconciliation runs, what they found, and what was sent again because of it."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.identifiers import new_id
from national_portal_sync.domain.keys import DOSSIER, PARTNER
from national_portal_sync.domain.reconciliation import Difference, Healing

_KEYS = {"partner": PARTNER, "kind": DOSSIER}

_NOTE_DAYS = text(
    """
    INSERT INTO portal_dossier AS p (code, agency, day)
    SELECT code, agency, day FROM unnest(CAST(:codes AS text[]), CAST(:agencies AS text[]),
        CAST(:days AS date[])) AS told (code, agency, day)
    ORDER BY code
    ON CONFLICT (code) DO UPDATE SET agency = excluded.agency, day = excluded.day
        WHERE (p.agency, p.day) IS DISTINCT FROM (excluded.agency, excluded.day)
    """
)


async def note_days(connection: AsyncConnection, dossiers: Mapping[str, tuple[str, date]]) -> None:
    """Note under which agency and day dossiers are reconciled, by their codes."""
    if not dossiers:
        return
    await connection.execute(
        _NOTE_DAYS,
        {
            "codes": list(dossiers),
            "agencies": [agency for agency, _ in dossiers.values()],
            "days": [day for _, day in dossiers.values()],
        },
    )


_KEEP = text(
    """
    WITH taken AS (
        SELECT code, version, body FROM unnest(CAST(:codes AS text[]), CAST(:versions AS bigint[]),
            CAST(:bodies AS bytea[])) AS taken (code, version, body)
    ), healed AS (
        UPDATE reconciliation_healing AS h SET sent_at = now() FROM taken
        WHERE h.code = taken.code AND h.version = taken.version AND h.sent_at IS NULL
    )
    INSERT INTO sent_snapshot AS s (code, version, body)
    SELECT code, version, body FROM taken ORDER BY code
    ON CONFLICT (code) DO UPDATE SET version = excluded.version, body = excluded.body
        WHERE s.version <= excluded.version
    """
)


async def keep_snapshots(
    connection: AsyncConnection, taken: Sequence[tuple[str, int, bytes]]
) -> None:
    """Keep what the portal took (dossier code, version, body with its personal fields sealed)."""
    rows = {code: (version, body) for code, version, body in taken}
    if not rows:
        return
    await connection.execute(
        _KEEP,
        {
            "codes": list(rows),
            "versions": [version for version, _ in rows.values()],
            "bodies": [body for _, body in rows.values()],
        },
    )


async def forget(connection: AsyncConnection, codes: Sequence[str]) -> None:
    """Drop the snapshots of dossiers whose personal data is to be erased."""
    await connection.execute(
        text("DELETE FROM sent_snapshot WHERE code = ANY(CAST(:codes AS text[]))"),
        {"codes": list(codes)},
    )


_ASK = text(
    """
    INSERT INTO reconciliation (id, agency, day, asked_by) VALUES (:id, :agency, :day, :by)
    ON CONFLICT (agency, day) WHERE state <> 'done' DO UPDATE SET agency = excluded.agency
    RETURNING *
    """
)


async def ask(connection: AsyncConnection, agency: str, day: date, by: str) -> Row[Any]:
    """A new run, or the one for this agency and day that is not done yet."""
    values = {"id": new_id(), "agency": agency, "day": day, "by": by}
    return (await connection.execute(_ASK, values)).one()


_DUE = text(
    """
    SELECT DISTINCT agency, day FROM portal_dossier p WHERE day = ANY(CAST(:days AS date[]))
      AND NOT EXISTS (SELECT FROM reconciliation r WHERE r.agency = p.agency
        AND r.day = p.day AND (r.scheduled_on = :today OR r.state <> 'done'))
    ORDER BY agency, day
    """
)
_SCHEDULE = text(
    """
    INSERT INTO reconciliation (id, agency, day, asked_by, scheduled_on)
    SELECT id, agency, day, 'schedule', :today FROM unnest(CAST(:ids AS uuid[]),
        CAST(:agencies AS text[]), CAST(:days AS date[])) AS due (id, agency, day)
    ON CONFLICT DO NOTHING
    """
)


async def schedule(connection: AsyncConnection, today: date, days: Sequence[date]) -> int:
    """Ask for the runs of a night, once however often this is called; how many are new."""
    due = (await connection.execute(_DUE, {"today": today, "days": list(days)})).all()
    if not due:
        return 0
    values = {
        "today": today,
        "ids": [new_id() for _ in due],
        "agencies": [row.agency for row in due],
        "days": [row.day for row in due],
    }
    return (await connection.execute(_SCHEDULE, values)).rowcount


_CLAIM = text(
    """
    UPDATE reconciliation SET state = 'running', started_at = coalesce(started_at, now()),
        worker = :worker, leased_until = now() + make_interval(secs => :lease)
    WHERE id = (SELECT id FROM reconciliation
                WHERE state <> 'done' AND next_at <= now()
                  AND (worker IS NULL OR leased_until < now())
                ORDER BY asked_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *
    """
)
_RENEW = text(
    """
    UPDATE reconciliation SET leased_until = now() + make_interval(secs => :lease)
    WHERE id = :run AND worker = :worker AND state = 'running'
    """
)
_PUT_OFF = text(
    """
    UPDATE reconciliation SET worker = NULL, failures = failures + :failed, error = :error,
        next_at = now() + make_interval(secs => :wait)
    WHERE id = :run AND worker = :worker
    """
)


async def claim(connection: AsyncConnection, worker: UUID, lease: float) -> Row[Any] | None:
    """The next run that is due and that no other replica works on."""
    found = await connection.execute(_CLAIM, {"worker": worker, "lease": lease})
    return found.one_or_none()


async def renew(connection: AsyncConnection, run: UUID, worker: UUID, lease: float) -> bool:
    """Go on holding a run; False where it is another's by now."""
    found = await connection.execute(_RENEW, {"run": run, "worker": worker, "lease": lease})
    return found.rowcount == 1


async def put_off(
    connection: AsyncConnection, run: UUID, worker: UUID, wait: float, error: str, *, failed: bool
) -> None:
    """Let a run go for some seconds."""
    values = {"run": run, "worker": worker, "wait": wait, "error": error, "failed": int(failed)}
    await connection.execute(_PUT_OFF, values)


# A snapshot of another version than the one sent last is not what the portal has.
_PAGE = text(
    """
    SELECT p.code, p.sent_version, p.sent_status, p.steps, p.maybe_doubled, s.body,
        d.state AS waiting, d.version AS waiting_version
    FROM portal_dossier p
    LEFT JOIN sent_snapshot s ON s.code = p.code AND s.version = p.sent_version
    LEFT JOIN delivery d ON d.partner = :partner AND d.kind = :kind AND d.key = p.code
    WHERE p.agency = :agency AND p.day = :day AND p.code > :place ORDER BY p.code LIMIT :most
    """
)
_MOVED = text(
    """
    SELECT looked.code
    FROM unnest(CAST(:codes AS text[]), CAST(:versions AS bigint[]), CAST(:waiting AS bigint[]))
        AS looked (code, version, waiting)
    JOIN portal_dossier p ON p.code = looked.code
    LEFT JOIN delivery d ON d.partner = :partner AND d.kind = :kind AND d.key = looked.code
    WHERE p.sent_version IS DISTINCT FROM looked.version
       OR d.version IS DISTINCT FROM looked.waiting OR d.state <> 'held'
    """
)
_LIVE_WAITS = text(
    """
    SELECT EXISTS (SELECT FROM delivery WHERE (partner = :partner) IS TRUE AND lane = 'live'
        AND state IN ('due', 'unknown') AND next_at <= now())
    """
)


async def page(
    connection: AsyncConnection, agency: str, day: date, place: str, most: int
) -> Sequence[Row[Any]]:
    """The next dossiers of an agency and day, by code."""
    values = {**_KEYS, "agency": agency, "day": day, "place": place, "most": most}
    return (await connection.execute(_PAGE, values)).all()


async def moved(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> set[str]:
    """Codes of those rows for which something was sent, or is to be sent, since they were read."""
    found = await connection.execute(
        _MOVED,
        {
            **_KEYS,
            "codes": [row.code for row in rows],
            "versions": [row.sent_version for row in rows],
            "waiting": [row.waiting_version for row in rows],
        },
    )
    return set(found.scalars())


async def live_waits(connection: AsyncConnection) -> bool:
    """Whether live items could go to the portal now."""
    return bool((await connection.execute(_LIVE_WAITS, _KEYS)).scalar_one())


_DIFFERENCES = text(
    """
    INSERT INTO reconciliation_difference (run, code, kind, fields, expected_status, found_status,
        expected_sha256, found_sha256, healing, reason)
    SELECT :run, code, kind, string_to_array(fields, ','), expected_status, found_status, expected,
        found, healing, reason
    FROM unnest(CAST(:codes AS text[]), CAST(:kinds AS text[]), CAST(:fields AS text[]),
        CAST(:expected_statuses AS text[]), CAST(:found_statuses AS text[]),
        CAST(:expected AS text[]), CAST(:found AS text[]), CAST(:healings AS text[]),
        CAST(:reasons AS text[]))
        AS d (code, kind, fields, expected_status, found_status, expected, found, healing, reason)
    ON CONFLICT DO NOTHING
    """
)
_ADVANCE = text(
    """
    UPDATE reconciliation SET place = :place, failures = 0, error = NULL,
        leased_until = now() + make_interval(secs => :lease),
        checked = checked + :checked, agreed = agreed + :agreed,
        on_the_way = on_the_way + :on_the_way, with_steps = with_steps + :with_steps,
        healed = healed + :healed,
        compared = ARRAY(SELECT unnest(compared || CAST(:compared AS text[]))
                         EXCEPT SELECT NULL ORDER BY 1),
        not_shown = ARRAY(SELECT unnest(not_shown || CAST(:not_shown AS text[]))
                          EXCEPT SELECT NULL ORDER BY 1)
    WHERE id = :run AND worker = :worker AND state = 'running'
    """
)


async def note_differences(
    connection: AsyncConnection, run: UUID, found: Sequence[tuple[Difference, Healing]]
) -> None:
    """Write findings down; one that is there already stays as it is."""
    if not found:
        return
    await connection.execute(
        _DIFFERENCES,
        {
            "run": run,
            "codes": [one.code for one, _ in found],
            "kinds": [one.kind.value for one, _ in found],
            "fields": [",".join(one.fields) for one, _ in found],
            "expected_statuses": [one.expected_status for one, _ in found],
            "found_statuses": [one.found_status for one, _ in found],
            "expected": [one.expected_sha256 for one, _ in found],
            "found": [one.found_sha256 for one, _ in found],
            "healings": [healing.value for _, healing in found],
            "reasons": [one.reason for one, _ in found],
        },
    )


async def advance(
    connection: AsyncConnection, run: UUID, worker: UUID, lease: float, **values: Any
) -> bool:
    """Move a run on behind a page; False where it is another replica's by now."""
    keys = {"run": run, "worker": worker, "lease": lease, **values}
    return (await connection.execute(_ADVANCE, keys)).rowcount == 1


_STRANGERS = text(
    """
    SELECT listed.code FROM unnest(CAST(:codes AS text[])) AS listed (code)
    WHERE NOT EXISTS (SELECT FROM portal_dossier p WHERE p.code = listed.code)
      AND NOT EXISTS (SELECT FROM delivery d WHERE d.partner = :partner AND d.kind = :kind
                      AND d.key = listed.code)
    """
)


async def strangers(connection: AsyncConnection, codes: Sequence[str]) -> list[str]:
    """Those of the codes that nobody here has ever heard of."""
    found = await connection.execute(_STRANGERS, {**_KEYS, "codes": list(codes)})
    return sorted(found.scalars())


_FINISH = text(
    """
    UPDATE reconciliation SET state = 'done', finished_at = coalesce(finished_at, now()),
        worker = NULL, leased_until = NULL, listed = :listed, sha256 = :sha256
    WHERE id = :run AND worker = :worker AND state = 'running'
    RETURNING *
    """
)


async def finish(
    connection: AsyncConnection, run: UUID, worker: UUID, listed: int | None
) -> Row[Any] | None:
    """End a run; its row, or None where it is another replica's by now."""
    values = {"run": run, "worker": worker, "listed": listed, "sha256": None}
    return (await connection.execute(_FINISH, values)).one_or_none()


async def seal(connection: AsyncConnection, run: UUID, sha256: str) -> None:
    """Fix the hash of a run's report."""
    await connection.execute(
        text("UPDATE reconciliation SET sha256 = :sha256 WHERE id = :run"),
        {"run": run, "sha256": sha256},
    )


_RUNS = text(
    """
    SELECT * FROM reconciliation WHERE id < :before
      AND (CAST(:agency AS text) IS NULL OR agency = :agency)
      AND (:all OR agency = ANY(CAST(:roots AS text[]))
           OR EXISTS (SELECT FROM unnest(CAST(:roots AS text[])) AS r (root)
                      WHERE starts_with(agency, r.root || '.')))
    ORDER BY id DESC LIMIT :most
    """
)
_LAST = UUID(int=2**128 - 1)


async def runs(
    connection: AsyncConnection,
    roots: Sequence[str],
    agency: str | None,
    before: UUID | None,
    most: int,
) -> Sequence[Row[Any]]:
    """Runs of these agencies' subtrees, the newest first."""
    values = {
        "roots": list(roots),
        "all": "*" in roots,
        "agency": agency,
        "before": before or _LAST,
        "most": most,
    }
    return (await connection.execute(_RUNS, values)).all()


async def run_of(connection: AsyncConnection, run: UUID) -> Row[Any] | None:
    """One run."""
    found = await connection.execute(
        text("SELECT * FROM reconciliation WHERE id = :run"), {"run": run}
    )
    return found.one_or_none()


async def differences(connection: AsyncConnection, run: UUID) -> Sequence[Row[Any]]:
    """What a run found, by code and kind."""
    found = await connection.execute(
        text(
            "SELECT code, kind, fields, expected_status, found_status, expected_sha256, "
            "found_sha256, healing, reason FROM reconciliation_difference WHERE run = :run "
            'ORDER BY code COLLATE "C", kind'
        ),
        {"run": run},
    )
    return found.all()
