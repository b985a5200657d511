"""Submissions: written, found again, decided. Statements take whole batches, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.auth import Principal
from gateway.domain.submissions import Earlier, State, Submission

_ROW = """id, client_id, agency, dossier_code, kind, fingerprint, state, received_at, decided_at,
          step_number, flagged, problem, procedure"""

# What a client sent is its own for as long as it has the rights that it was sent with. Of a step
# whose dossier's procedure is not known here it learns nothing but a refusal; once the step is
# applied, the procedure is known.
_RIGHTS = """
    ('*' = ANY(CAST(:agencies AS text[])) OR EXISTS (
        SELECT FROM unnest(CAST(:agencies AS text[])) AS root
        WHERE agency = root OR starts_with(agency, root || '.')))
    AND ('*' = ANY(CAST(:procedures AS text[])) OR procedure = ANY(CAST(:procedures AS text[]))
         OR procedure IS NULL AND state <> 'applied')
"""

_INSERT = text(
    """
    INSERT INTO submission (id, client_id, agency, procedure, dossier_code, kind, key, fingerprint,
                            received_at, traceparent, request_id)
    SELECT id, client_id, agency, procedure, dossier_code, kind, key, fingerprint, received_at,
           traceparent, request_id
    FROM unnest(CAST(:ids AS uuid[]), CAST(:clients AS text[]), CAST(:agencies AS text[]),
         CAST(:procedures AS text[]), CAST(:codes AS text[]), CAST(:kinds AS text[]),
         CAST(:keys AS text[]), CAST(:fingerprints AS text[]), CAST(:received AS timestamptz[]),
         CAST(:traceparents AS text[]), CAST(:requests AS text[]))
         AS given (id, client_id, agency, procedure, dossier_code, kind, key, fingerprint,
                   received_at, traceparent, request_id)
    ORDER BY dossier_code, id
    ON CONFLICT DO NOTHING RETURNING id
    """
)
# What is found by key comes before what has the same content, and that before what has the code.
_EARLIER = text(
    f"""
    SELECT given.place, earlier.*
    FROM unnest(CAST(:clients AS text[]), CAST(:codes AS text[]), CAST(:kinds AS text[]),
         CAST(:keys AS text[]), CAST(:fingerprints AS text[]))
         WITH ORDINALITY AS given (client_id, dossier_code, kind, key, fingerprint, place)
    CROSS JOIN LATERAL (
        (SELECT 1 AS rank, 'key' AS by, {_ROW} FROM submission
         WHERE client_id = given.client_id AND key = given.key)
        UNION ALL
        (SELECT 2, 'content', {_ROW} FROM submission
         WHERE kind = 'submit' AND key IS NULL AND given.kind = 'submit' AND given.key IS NULL
           AND dossier_code = given.dossier_code AND client_id = given.client_id
           AND fingerprint = given.fingerprint)
        UNION ALL
        (SELECT 3, 'code', {_ROW} FROM submission
         WHERE kind = 'submit' AND state <> 'refused' AND given.kind = 'submit'
           AND dossier_code = given.dossier_code)
    ) AS earlier
    ORDER BY given.place, earlier.rank
    """  # noqa: S608 - constants
)
_HOMES = text(
    """
    SELECT dossier_code, coalesce(moved.agency, submitted.agency) AS agency, procedure
    FROM (SELECT dossier_code, agency, procedure FROM submission
          WHERE kind = 'submit' AND state <> 'refused'
            AND dossier_code = ANY(CAST(:codes AS text[]))) AS submitted
    FULL JOIN (SELECT dossier_code, agency FROM transferred_dossier
               WHERE dossier_code = ANY(CAST(:codes AS text[]))) AS moved USING (dossier_code)
    """
)
# Outcomes come in no order, so the transfer of the highest step says where a dossier is.
_DECIDE = text(
    f"""
    WITH decided AS (
        UPDATE submission SET state = outcome.state, decided_at = outcome.decided_at,
            step_number = outcome.step_number, flagged = outcome.flagged,
            problem = outcome.problem,
            procedure = coalesce(submission.procedure, outcome.procedure)
        FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:decided AS timestamptz[]),
             CAST(:steps AS integer[]), CAST(:flags AS text[]), CAST(:problems AS jsonb[]),
             CAST(:agencies AS text[]), CAST(:procedures AS text[]))
             AS outcome (id, state, decided_at, step_number, flagged, problem, agency, procedure)
        WHERE submission.id = outcome.id AND submission.state = 'pending'
        RETURNING submission.*, outcome.agency AS now_with
    ), moved AS (
        INSERT INTO transferred_dossier AS known (dossier_code, agency, step_number)
        SELECT DISTINCT ON (dossier_code) dossier_code, now_with, step_number FROM decided
        WHERE kind = 'transfer' AND state = 'applied'
        ORDER BY dossier_code, step_number DESC
        ON CONFLICT (dossier_code) DO UPDATE
            SET agency = excluded.agency, step_number = excluded.step_number
            WHERE excluded.step_number > known.step_number
    )
    SELECT {_ROW} FROM decided
    """  # noqa: S608 - constants
)
_PLACE = text(
    """
    INSERT INTO transferred_dossier AS known (dossier_code, agency, step_number)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:agencies AS text[]),
        CAST(:steps AS integer[])) AS placed (code, agency, step) ORDER BY code
    ON CONFLICT (dossier_code) DO UPDATE
        SET agency = excluded.agency, step_number = excluded.step_number
        WHERE excluded.step_number > known.step_number
    """
)
_DECIDED = text(
    f"SELECT {_ROW} FROM submission WHERE id = ANY(CAST(:ids AS uuid[])) AND state <> 'pending'"  # noqa: S608 - constants
)
_BY_KEY = text(f"SELECT {_ROW} FROM submission WHERE client_id = :client AND key = :key")  # noqa: S608 - constants
_OWN = text(
    f"SELECT {_ROW} FROM submission WHERE id = :id AND client_id = :client AND {_RIGHTS}"  # noqa: S608 - constants
)
_PAGE = {
    (state, dossier): text(
        f"""
        SELECT {_ROW} FROM submission
        WHERE client_id = :client AND id > :after AND {_RIGHTS}
            {"AND state = :state" if state else ""}
            {"AND dossier_code = :dossier" if dossier else ""}
        ORDER BY id LIMIT :limit
        """  # noqa: S608 - constants
    )
    for state in (False, True)
    for dossier in (False, True)
}
_LIVE = text(
    f"""
    SELECT {_ROW} FROM submission
    WHERE dossier_code = :code AND kind = 'submit' AND state <> 'refused'
    """  # noqa: S608 - constants
)

_BY_KEYS = text(
    f"""
    SELECT key, {_ROW} FROM submission
    WHERE client_id = :client AND key = ANY(CAST(:keys AS text[]))
    """  # noqa: S608 - constants
)
_FORGOTTEN_BEFORE = text("SELECT before FROM forgotten_key FOR UPDATE")
# No client's key has a space. The row keeps one, since without it its content would be the key.
_FORGET_KEYS = text(
    """
    WITH old AS (
        SELECT id, key FROM submission WHERE id > :after AND id < :before ORDER BY id LIMIT :most
    ), forgotten AS (
        UPDATE submission SET key = 'forgotten ' || submission.id FROM old
        WHERE submission.id = old.id AND old.key IS NOT NULL
          AND NOT starts_with(old.key, 'forgotten ')
        RETURNING 1
    ), moved AS (
        UPDATE forgotten_key SET before = last.id
        FROM (SELECT id FROM old ORDER BY id DESC LIMIT 1) AS last
    )
    SELECT (SELECT count(*) FROM old) AS seen, (SELECT count(*) FROM forgotten) AS forgotten
    """
)


@dataclass(frozen=True, slots=True)
class NewSubmission:
    """A row that is to be written, unless an earlier one stands in its way."""

    id: UUID
    client_id: str
    agency: str
    procedure: str | None
    dossier_code: str
    kind: str
    key: str | None
    fingerprint: str
    received_at: datetime
    traceparent: str | None
    request_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a submission.

    Attributes:
        agency: whose dossier it is since then (new form), where the submission was applied.
        procedure: the dossier's, where the submission was applied.
        problem: the refusal's RFC 9457 document.
    """

    submission_id: UUID
    state: State
    decided_at: datetime
    step_number: int | None = None
    flagged: str | None = None
    problem: Mapping[str, Any] | None = None
    agency: str | None = None
    procedure: str | None = None


@dataclass(frozen=True, slots=True)
class Home:
    """Where a dossier belongs: what rights to it are judged by.

    Attributes:
        agency: new form.
        procedure: None where it is not known here: then the dossier service judges.
    """

    agency: str
    procedure: str | None


async def insert(connection: AsyncConnection, rows: Sequence[NewSubmission]) -> set[UUID]:
    """Write the rows in whose way nothing stands; the ids of those written.

    In the order of their dossier codes, so that replicas which write at the same time wait for
    each other in one order.
    """
    found = await connection.execute(
        _INSERT,
        {
            "ids": [row.id for row in rows],
            "clients": [row.client_id for row in rows],
            "agencies": [row.agency for row in rows],
            "procedures": [row.procedure for row in rows],
            "codes": [row.dossier_code for row in rows],
            "kinds": [row.kind for row in rows],
            "keys": [row.key for row in rows],
            "fingerprints": [row.fingerprint for row in rows],
            "received": [row.received_at for row in rows],
            "traceparents": [row.traceparent for row in rows],
            "requests": [row.request_id for row in rows],
        },
    )
    return set(found.scalars())


async def in_the_way(
    connection: AsyncConnection, rows: Sequence[NewSubmission]
) -> dict[int, Earlier]:
    """For each row (by its place) the submission in its way that counts first, if there is one."""
    found = await connection.execute(
        _EARLIER,
        {
            "clients": [row.client_id for row in rows],
            "codes": [row.dossier_code for row in rows],
            "kinds": [row.kind for row in rows],
            "keys": [row.key for row in rows],
            "fingerprints": [row.fingerprint for row in rows],
        },
    )
    earlier: dict[int, Earlier] = {}
    for row in found:
        earlier.setdefault(row.place - 1, Earlier(row.by, _submission(row)))
    return earlier


async def homes_of(connection: AsyncConnection, codes: Sequence[str]) -> dict[str, Home]:
    """Where dossiers belong now, by dossier code, as far as it is known here.

    The agency is the one which submitted it, until the transfer to another one has been heard of.
    """
    found = await connection.execute(_HOMES, {"codes": sorted(set(codes))})
    return {row.dossier_code: Home(row.agency, row.procedure) for row in found}


async def place(connection: AsyncConnection, elsewhere: Mapping[str, tuple[str, int]]) -> None:
    """Note dossiers that are with another agency than the one that their code names.

    Args:
        elsewhere: agency (new form) and number of the step that says so, by dossier code.
    """
    await connection.execute(
        _PLACE,
        {
            "codes": list(elsewhere),
            "agencies": [agency for agency, _ in elsewhere.values()],
            "steps": [step for _, step in elsewhere.values()],
        },
    )


async def decide(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> list[Submission]:
    """Set the outcome of submissions that have none yet; those that had none, as they are now."""
    changed = await connection.execute(
        _DECIDE,
        {
            "ids": [outcome.submission_id for outcome in outcomes],
            "states": [outcome.state for outcome in outcomes],
            "decided": [outcome.decided_at for outcome in outcomes],
            "steps": [outcome.step_number for outcome in outcomes],
            "flags": [outcome.flagged for outcome in outcomes],
            "problems": [
                orjson.dumps(outcome.problem).decode() if outcome.problem is not None else None
                for outcome in outcomes
            ],
            "agencies": [outcome.agency for outcome in outcomes],
            "procedures": [outcome.procedure for outcome in outcomes],
        },
    )
    return [_submission(row) for row in changed]


async def decided(connection: AsyncConnection, ids: Sequence[UUID]) -> list[Submission]:
    """Of these submissions those that have an outcome."""
    return [_submission(row) for row in await connection.execute(_DECIDED, {"ids": list(ids)})]


async def by_key(connection: AsyncConnection, client_id: str, key: str) -> Submission | None:
    """What a client sent with an ``Idempotency-Key``."""
    row = (await connection.execute(_BY_KEY, {"client": client_id, "key": key})).first()
    return _submission(row) if row else None


async def by_keys(
    connection: AsyncConnection, client_id: str, keys: Sequence[str]
) -> dict[str, Submission]:
    """What a client sent with these keys."""
    found = await connection.execute(_BY_KEYS, {"client": client_id, "keys": list(keys)})
    return {row.key: _submission(row) for row in found}


async def forget_keys(connection: AsyncConnection, before: UUID, most: int) -> tuple[int, int]:
    """Forget keys of submissions older than (the lowest id of) a moment, going on where the last
    call ended; how many submissions were looked at, and how many keys forgotten."""
    after = (await connection.execute(_FORGOTTEN_BEFORE)).scalar_one()
    given = {"after": after, "before": before, "most": most}
    row = (await connection.execute(_FORGET_KEYS, given)).one()
    return int(row.seen), int(row.forgotten)


async def own(
    connection: AsyncConnection, identifier: UUID, principal: Principal
) -> Submission | None:
    """A client's submission, as far as its rights go now."""
    row = (await connection.execute(_OWN, {"id": identifier, **_rights(principal)})).first()
    return _submission(row) if row else None


def _rights(principal: Principal) -> dict[str, Any]:
    return {
        "client": principal.client_id,
        "agencies": list(principal.agencies),
        "procedures": sorted(principal.procedures),
    }


async def page(
    connection: AsyncConnection,
    principal: Principal,
    state: State | None,
    after: UUID,
    limit: int,
    dossier: str | None = None,
) -> list[Submission]:
    """A page of a client's submissions, as far as its rights go now, in the order they were taken
    in."""
    values: dict[str, Any] = {**_rights(principal), "after": after, "limit": limit}
    if state is not None:
        values["state"] = state
    if dossier is not None:
        values["dossier"] = dossier
    statement = _PAGE[state is not None, dossier is not None]
    return [_submission(row) for row in await connection.execute(statement, values)]


async def live_submit(connection: AsyncConnection, dossier_code: str) -> Submission | None:
    """The submission that created, or may still create, a dossier."""
    row = (await connection.execute(_LIVE, {"code": dossier_code})).first()
    return _submission(row) if row else None


def _submission(row: Row[Any]) -> Submission:
    problem = row.problem
    return Submission(
        row.id,
        row.client_id,
        row.agency,
        row.dossier_code,
        row.kind,
        row.fingerprint,
        row.state,
        row.received_at,
        row.decided_at,
        row.step_number,
        row.flagged,
        orjson.loads(problem) if isinstance(problem, str) else problem,
        row.procedure,
    )
