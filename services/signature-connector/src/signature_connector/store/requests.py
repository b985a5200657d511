"""The rows of requests, workers and evidence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.evidence import Record
from signature_connector.domain.requests import Request, State

_FIELDS = tuple(field.name for field in fields(Request))
_COLUMNS = ", ".join(_FIELDS)
# Spelled out for the partial index; equal to domain.CONTINUED, as a test asserts.
DUE = "worker IS NULL AND state IN ('received', 'prepared', 'signed-raw', 'validated')"


@dataclass(frozen=True, slots=True)
class Change:
    """A step as it is written.

    Attributes:
        worker: who has the request in hand; a change by anybody else is not written.
        was: the state it is in.
        request: as it shall be.
        record: the evidence of the step.
        keeps: the worker goes on with it at once.
        wait: seconds until it may be taken up again.
    """

    worker: UUID
    was: State
    request: Request
    record: Record
    keeps: bool
    wait: float


_INSERT = text(
    """
    WITH given AS (
        SELECT * FROM unnest(CAST(:request_ids AS uuid[]), CAST(:clients AS text[]),
            CAST(:dossier_codes AS text[]), CAST(:agencies AS text[]),
            CAST(:procedures AS text[]), CAST(:document_ids AS text[]),
            CAST(:document_names AS text[]), CAST(:files AS text[]), CAST(:ca_names AS text[]),
            CAST(:sealed_users AS text[]), CAST(:profiles AS text[]),
            CAST(:created_ats AS timestamptz[]), CAST(:states AS text[]),
            CAST(:traceparents AS text[]),
            CAST(:correlations AS text[]), CAST(:causations AS uuid[]),
            CAST(:bodies AS bytea[]), CAST(:digests AS bytea[]))
            AS g (request_id, client, dossier_code, agency, procedure, document_id,
                  document_name, file, ca_name, sealed_user, profile, created_at, state,
                  traceparent, correlation, causation, body, digest)
    ), agencies AS (
        INSERT INTO signing_agency (agency) SELECT DISTINCT agency FROM given ORDER BY 1
        ON CONFLICT DO NOTHING
    ), added AS (
        INSERT INTO signing_request (request_id, client, dossier_code, agency, procedure,
            document_id, document_name, file, ca_name, sealed_user, profile, created_at, state,
            traceparent, correlation, causation, evidence_count, evidence_head)
        SELECT request_id, client, dossier_code, agency, procedure, document_id, document_name,
            file, ca_name, sealed_user, profile, created_at, state, traceparent, correlation,
            causation, 1, digest
        FROM given ORDER BY request_id
        ON CONFLICT DO NOTHING RETURNING request_id
    )
    INSERT INTO signing_evidence (request_id, number, body, digest)
    SELECT request_id, 1, body, digest FROM given JOIN added USING (request_id)
    RETURNING request_id
    """
)


async def insert(
    connection: AsyncConnection, arrivals: Sequence[tuple[Request, Record]]
) -> set[UUID]:
    """Add requests with their first record; the ids of those that were not known before."""
    requests = [request for request, _ in arrivals]
    added = await connection.execute(
        _INSERT,
        {
            "request_ids": [r.request_id for r in requests],
            "clients": [r.client for r in requests],
            "dossier_codes": [r.dossier_code for r in requests],
            "agencies": [r.agency for r in requests],
            "procedures": [r.procedure for r in requests],
            "document_ids": [r.document_id for r in requests],
            "document_names": [r.document_name for r in requests],
            "files": [r.file for r in requests],
            "ca_names": [r.ca_name for r in requests],
            "sealed_users": [r.sealed_user for r in requests],
            "profiles": [r.profile for r in requests],
            "created_ats": [r.created_at for r in requests],
            "states": [r.state.value for r in requests],
            "traceparents": [r.traceparent for r in requests],
            "correlations": [r.correlation for r in requests],
            "causations": [r.causation for r in requests],
            "bodies": [record.body for _, record in arrivals],
            "digests": [record.digest for _, record in arrivals],
        },
    )
    return set(added.scalars())


_CLAIM = text(
    f"""
    WITH turns AS (
        SELECT agency FROM signing_agency WHERE EXISTS (
            SELECT FROM signing_request r
            WHERE r.agency = signing_agency.agency AND {DUE} AND next_at <= now())
        ORDER BY served_at LIMIT :most FOR UPDATE SKIP LOCKED
    ), served AS (
        UPDATE signing_agency SET served_at = clock_timestamp() FROM turns
        WHERE signing_agency.agency = turns.agency
    ), chosen AS (
        SELECT taken.request_id FROM turns CROSS JOIN LATERAL (
            SELECT request_id FROM signing_request r
            WHERE r.agency = turns.agency AND {DUE} AND next_at <= now()
            ORDER BY next_at
            LIMIT (SELECT greatest(1, :most / greatest(1, count(*))) FROM turns)
            FOR UPDATE SKIP LOCKED) AS taken
        LIMIT :most
    )
    UPDATE signing_request SET worker = :worker, updated_at = now()
    FROM chosen WHERE signing_request.request_id = chosen.request_id
    RETURNING {", ".join(f"signing_request.{name}" for name in _FIELDS)}
    """  # noqa: S608 - names from this module
)


async def claim(connection: AsyncConnection, worker: UUID, most: int) -> list[Request]:
    """Take up requests that are due, agencies in turn; no two workers get the same."""
    rows = await connection.execute(_CLAIM, {"worker": worker, "most": most})
    return [_request(row) for row in rows]


_LET_GO = text(
    """
    UPDATE signing_request SET worker = NULL
    WHERE worker = :worker AND state <> 'submitting'
      AND request_id <> ALL(CAST(:in_hand AS uuid[]))
    """
)


async def let_go(connection: AsyncConnection, worker: UUID, in_hand: Iterable[UUID]) -> None:
    """Free requests of a worker that it does not know to have."""
    await connection.execute(_LET_GO, {"worker": worker, "in_hand": list(in_hand)})


_CHANGE = text(
    """
    WITH given AS (
        SELECT * FROM unnest(CAST(:request_ids AS uuid[]), CAST(:workers AS uuid[]),
            CAST(:was AS text[]), CAST(:states AS text[]), CAST(:keeps AS boolean[]),
            CAST(:waits AS float8[]), CAST(:attempts AS integer[]),
            CAST(:submissions AS integer[]), CAST(:prepared_ats AS timestamptz[]),
            CAST(:transaction_ids AS text[]), CAST(:serial_numbers AS text[]),
            CAST(:sealed_certificates AS text[]), CAST(:returned_files AS text[]),
            CAST(:returned_ats AS timestamptz[]), CAST(:signed_ats AS timestamptz[]),
            CAST(:outcomes AS text[]), CAST(:numbers AS integer[]), CAST(:bodies AS bytea[]),
            CAST(:digests AS bytea[]))
            AS g (request_id, worker, was, state, keeps, wait, attempts, submissions, prepared_at,
                  transaction_id, serial_number, sealed_certificate, returned_file, returned_at,
                  signed_at, outcome, number, body, digest)
    ), changed AS (
        UPDATE signing_request r SET
            state = g.state, attempts = g.attempts, submissions = g.submissions,
            prepared_at = g.prepared_at, transaction_id = g.transaction_id,
            serial_number = g.serial_number, sealed_certificate = g.sealed_certificate,
            returned_file = g.returned_file, returned_at = g.returned_at,
            signed_at = g.signed_at, outcome = g.outcome,
            evidence_count = g.number, evidence_head = g.digest,
            worker = CASE WHEN g.keeps THEN r.worker END,
            next_at = now() + make_interval(secs => g.wait), updated_at = now()
        FROM given g
        WHERE r.request_id = g.request_id AND r.worker = g.worker AND r.state = g.was
          AND r.evidence_count = g.number - 1
        RETURNING r.request_id
    )
    INSERT INTO signing_evidence (request_id, number, body, digest)
    SELECT request_id, number, body, digest FROM given JOIN changed USING (request_id)
    RETURNING request_id
    """
)
_LANDED = text(
    """
    SELECT request_id FROM signing_request
    JOIN unnest(CAST(:request_ids AS uuid[]), CAST(:digests AS bytea[])) AS g (request_id, digest)
    USING (request_id) WHERE evidence_head = g.digest
    """
)


async def change(connection: AsyncConnection, changes: Sequence[Change]) -> set[UUID]:
    """Write steps; the ids of those requests that were still in the writer's hands."""
    ordered = sorted(changes, key=lambda change: change.request.request_id)
    requests = [change.request for change in ordered]
    changed = await connection.execute(
        _CHANGE,
        {
            "request_ids": [r.request_id for r in requests],
            "workers": [change.worker for change in ordered],
            "was": [change.was.value for change in ordered],
            "states": [r.state.value for r in requests],
            "keeps": [change.keeps for change in ordered],
            "waits": [change.wait for change in ordered],
            "attempts": [r.attempts for r in requests],
            "submissions": [r.submissions for r in requests],
            "prepared_ats": [r.prepared_at for r in requests],
            "transaction_ids": [r.transaction_id for r in requests],
            "serial_numbers": [r.serial_number for r in requests],
            "sealed_certificates": [r.sealed_certificate for r in requests],
            "returned_files": [r.returned_file for r in requests],
            "returned_ats": [r.returned_at for r in requests],
            "signed_ats": [r.signed_at for r in requests],
            "outcomes": [r.outcome for r in requests],
            "numbers": [change.record.number for change in ordered],
            "bodies": [change.record.body for change in ordered],
            "digests": [change.record.digest for change in ordered],
        },
    )
    return set(changed.scalars())


async def landed(connection: AsyncConnection, changes: Sequence[Change]) -> set[UUID]:
    """Of these changes those that are the last of their request already.

    A commit whose answer was lost is tried again, and is then not to be taken for a refusal.
    """
    found = await connection.execute(
        _LANDED,
        {
            "request_ids": [change.request.request_id for change in changes],
            "digests": [change.record.digest for change in changes],
        },
    )
    return set(found.scalars())


_SEEN = text(
    """
    INSERT INTO signing_worker (worker) VALUES (:worker)
    ON CONFLICT (worker) DO UPDATE SET seen_at = now()
    """
)
_FORGET = text("DELETE FROM signing_worker WHERE seen_at < now() - make_interval(secs => :lease)")
_LEAVE = text("DELETE FROM signing_worker WHERE worker = :worker")
_ABANDONED = text(
    f"""
    SELECT {_COLUMNS}, worker FROM signing_request r
    WHERE worker IS NOT NULL
      AND NOT EXISTS (SELECT FROM signing_worker w WHERE w.worker = r.worker)
      AND (CAST(:worker AS uuid) IS NULL OR worker = :worker)
    ORDER BY request_id LIMIT 1000 FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - names from this module
)
_RELEASE = text(
    """
    UPDATE signing_request SET worker = NULL, next_at = now(), updated_at = now()
    WHERE request_id = ANY(CAST(:ids AS uuid[]))
    """
)


async def seen(connection: AsyncConnection, worker: UUID) -> None:
    """A worker's sign of life."""
    await connection.execute(_SEEN, {"worker": worker})


async def forget_dead(connection: AsyncConnection, lease: float) -> None:
    """Strike out workers without a sign of life for ``lease`` seconds."""
    await connection.execute(_FORGET, {"lease": lease})


async def leave(connection: AsyncConnection, worker: UUID) -> None:
    """Strike out a worker that ends."""
    await connection.execute(_LEAVE, {"worker": worker})


async def abandoned(
    connection: AsyncConnection, worker: UUID | None = None
) -> list[tuple[Request, UUID]]:
    """Requests in the hands of workers that are no more, or of this one; locked, each with it."""
    rows = await connection.execute(_ABANDONED, {"worker": worker})
    return [(_request(row), row.worker) for row in rows]


async def release(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Let any worker take up requests again, as they stand."""
    if ids:
        await connection.execute(_RELEASE, {"ids": list(ids)})


async def disown(connection: AsyncConnection, worker: UUID, request_id: UUID, nobody: UUID) -> None:
    """Hand a request to a worker that does not exist, so that it counts as abandoned."""
    await connection.execute(
        text(
            "UPDATE signing_request SET worker = :nobody "
            "WHERE request_id = :id AND worker = :worker"
        ),
        {"nobody": nobody, "id": request_id, "worker": worker},
    )


async def find(
    connection: AsyncConnection, ids: Sequence[UUID], *, lock: bool = False
) -> dict[UUID, Request]:
    """Requests by id."""
    locking = "FOR UPDATE" if lock else ""
    rows = await connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM signing_request "  # noqa: S608 - names from this module
            f"WHERE request_id = ANY(CAST(:ids AS uuid[])) ORDER BY request_id {locking}"
        ),
        {"ids": list(ids)},
    )
    return {row.request_id: _request(row) for row in rows}


_HELD = text(
    f"""
    SELECT {_COLUMNS} FROM signing_request
    WHERE state = 'manual-review'
      AND (CAST(:after AS uuid) IS NULL OR (created_at, request_id) >
           (SELECT created_at, request_id FROM signing_request WHERE request_id = :after))
      AND ('*' = ANY(CAST(:agencies AS text[])) OR EXISTS (
           SELECT FROM unnest(CAST(:agencies AS text[])) AS root
           WHERE agency = root OR starts_with(agency, root || '.')))
      AND ('*' = ANY(CAST(:procedures AS text[])) OR procedure = ANY(CAST(:procedures AS text[])))
    ORDER BY created_at, request_id LIMIT :limit
    """  # noqa: S608 - names from this module
)


async def held(
    connection: AsyncConnection,
    agencies: Sequence[str],
    procedures: Iterable[str],
    after: UUID | None,
    limit: int,
) -> list[Request]:
    """Requests in manual review within subtrees of agencies, of procedures, oldest first."""
    given = {"agencies": list(agencies), "procedures": list(procedures)}
    rows = await connection.execute(_HELD, {**given, "after": after, "limit": limit})
    return [_request(row) for row in rows]


async def add_late(connection: AsyncConnection, request: Request, record: Record) -> None:
    """Add a record to a request that is at rest and locked."""
    await connection.execute(
        text(
            "INSERT INTO signing_evidence (request_id, number, body, digest) "
            "VALUES (:id, :number, :body, :digest)"
        ),
        {
            "id": request.request_id,
            "number": record.number,
            "body": record.body,
            "digest": record.digest,
        },
    )
    await connection.execute(
        text(
            "UPDATE signing_request SET evidence_count = :number, evidence_head = :digest "
            "WHERE request_id = :id"
        ),
        {
            "id": request.request_id,
            "number": record.number,
            "digest": record.digest,
        },
    )


async def evidence_of(connection: AsyncConnection, request_id: UUID) -> list[Record]:
    """The records of a request, in order."""
    rows = await connection.execute(
        text(
            "SELECT request_id, number, body, digest FROM signing_evidence "
            "WHERE request_id = :id ORDER BY number"
        ),
        {"id": request_id},
    )
    return [Record(**row._mapping) for row in rows]


def _request(row: Row[Any]) -> Request:
    values = {name: getattr(row, name) for name in _FIELDS}
    return Request(**{**values, "state": State(row.state)})
