"""The rows of requests and their evidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.evidence import Record
from signature_connector.domain.requests import CHANGEABLE, WAITING, Request, State

_FIELDS = tuple(field.name for field in fields(Request))
COLUMNS = ", ".join(_FIELDS)
# Spelled out for the partial index; equal to domain.CONTINUED, as a test asserts.
DUE = (
    "worker IS NULL AND ready AND state IN ('received', 'prepared', 'signed-raw', "
    "'assembled', 'augmented', 'validated')"
)
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(_FIELDS, "text"),
        **dict.fromkeys(("place", "attempts", "submissions", "evidence_count"), "integer"),
        **dict.fromkeys(
            (
                "created_at",
                "prepared_at",
                "asked_at",
                "deadline",
                "returned_at",
                "augment_at",
                "signed_at",
            ),
            "timestamptz",
        ),
        **dict.fromkeys(
            ("request_id", "workflow", "after", "batch", "order_id", "causation"), "uuid"
        ),
        "waits": "boolean",
        "evidence_head": "bytea",
    }
)
_ASKED = (
    "request_id", "client", "dossier_code", "agency", "procedure", "document_id",
    "document_name", "file", "ca_name", "sealed_user", "profile", "options", "workflow", "place",
    "after", "batch", "waits", "created_at", "state", "traceparent", "correlation", "causation",
    "evidence_count", "evidence_head",
)  # fmt: skip
_CHANGED = ("state", *sorted(CHANGEABLE), "evidence_count", "evidence_head")


def _arrays(names: Iterable[str]) -> str:
    return ", ".join(f"CAST(:{name} AS {_TYPES[name]}[])" for name in names)


def _columns_of(requests: Sequence[Request], names: Iterable[str]) -> dict[str, list[Any]]:
    return {name: [_plain(getattr(request, name)) for request in requests] for name in names}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, State) else value


@dataclass(frozen=True, slots=True)
class Change:
    """A step as it is written.

    Attributes:
        worker: who has the request in hand; a change by anybody else is not written.
        was: the state it is in.
        request: as it shall be.
        record: the evidence of the step.
        keeps: the worker goes on with it at once.
        wait: seconds until it may be taken up again, or until its provider is asked.
    """

    worker: UUID
    was: State
    request: Request
    record: Record
    keeps: bool
    wait: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """That somebody wanted a request cancelled when it was too late to."""

    at: datetime
    client: str


_INSERT = text(
    f"""
    WITH given AS (
        SELECT * FROM unnest({_arrays(_ASKED)}, CAST(:bodies AS bytea[]))
            AS g ({", ".join(_ASKED)}, body)
    ), agencies AS (
        INSERT INTO signing_agency (agency) SELECT DISTINCT agency FROM given ORDER BY 1
        ON CONFLICT DO NOTHING
    ), batches AS (
        INSERT INTO signing_batch (batch)
        SELECT DISTINCT batch FROM given WHERE batch IS NOT NULL ORDER BY 1
        ON CONFLICT DO NOTHING
    ), added AS (
        INSERT INTO signing_request ({", ".join(_ASKED)}, ready)
        SELECT {", ".join(_ASKED)}, after IS NULL FROM given ORDER BY request_id
        ON CONFLICT DO NOTHING RETURNING request_id
    )
    INSERT INTO signing_evidence (request_id, number, body, digest)
    SELECT request_id, 1, body, evidence_head FROM given JOIN added USING (request_id)
    RETURNING request_id
    """  # noqa: S608 - names from this module
)


async def insert(
    connection: AsyncConnection, arrivals: Sequence[tuple[Request, Record]]
) -> set[UUID]:
    """Add requests with their first record; the ids of those that were not known before.

    Args:
        arrivals: the requests with count and head of their evidence as the record makes them.
    """
    given = _columns_of([request for request, _ in arrivals], _ASKED)
    given["bodies"] = [record.body for _, record in arrivals]
    given["evidence_count"] = [record.number for _, record in arrivals]
    given["evidence_head"] = [record.digest for _, record in arrivals]
    added = await connection.execute(_INSERT, given)
    return set(added.scalars())


_OTHERS = text(
    """
    SELECT EXISTS (
        SELECT FROM signing_request
        WHERE after = ANY(CAST(:ids AS uuid[])) AND request_id <> ALL(CAST(:ids AS uuid[]))
    ) OR EXISTS (
        SELECT FROM signing_request
        WHERE batch = ANY(CAST(:batches AS uuid[])) AND request_id <> ALL(CAST(:ids AS uuid[])))
    """
)


async def others_of(connection: AsyncConnection, requests: Iterable[Request]) -> bool:
    """Whether there are further requests that follow these, or are of the same batches."""
    ids = [request.request_id for request in requests]
    batches = {request.batch for request in requests if request.batch is not None}
    found = await connection.execute(_OTHERS, {"ids": ids, "batches": list(batches)})
    return bool(found.scalar_one())


_CLAIM = text(
    f"""
    WITH turns AS (
        SELECT agency FROM signing_agency WHERE EXISTS (
            SELECT FROM signing_request r
            WHERE r.waits = :waits AND r.agency = signing_agency.agency AND {DUE}
              AND next_at <= now())
        ORDER BY served_at LIMIT :most FOR UPDATE SKIP LOCKED
    ), served AS (
        UPDATE signing_agency SET served_at = clock_timestamp() FROM turns
        WHERE signing_agency.agency = turns.agency
    ), chosen AS (
        SELECT taken.request_id, taken.batch FROM turns CROSS JOIN LATERAL (
            SELECT request_id, batch FROM signing_request r
            WHERE r.waits = :waits AND r.agency = turns.agency AND {DUE} AND next_at <= now()
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


async def claim(
    connection: AsyncConnection, worker: UUID, most: int, *, waits: bool = True
) -> list[Request]:
    """Take up requests that are due, agencies in turn; no two workers get the same.

    Args:
        waits: of providers that hold the call until the person decided, or of the others.
    """
    given = {"worker": worker, "most": most, "waits": waits}
    return [request_of(row) for row in await connection.execute(_CLAIM, given)]


_LOCK_BATCH = text("SELECT FROM signing_batch WHERE batch = :batch FOR UPDATE")
_BATCH = text(
    f"""
    UPDATE signing_request SET worker = :worker
    WHERE batch = :batch AND state IN ('received', 'prepared')
      AND NOT EXISTS (SELECT FROM signing_request o WHERE o.batch = :batch
          AND o.state IN ('received', 'prepared', 'submitting')
          AND o.worker IS NOT NULL AND o.worker <> :worker)
    RETURNING {COLUMNS}
    """  # noqa: S608 - names from this module
)


async def claim_batch(
    connection: AsyncConnection, worker: UUID, batch: UUID
) -> list[Request] | None:
    """Take up all of a batch that nobody was asked for yet; None where another has some."""
    await connection.execute(_LOCK_BATCH, {"batch": batch})
    rows = await connection.execute(_BATCH, {"worker": worker, "batch": batch})
    return [request_of(row) for row in rows] or None


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
    f"""
    WITH given AS (
        SELECT * FROM unnest(CAST(:request_ids AS uuid[]), CAST(:workers AS uuid[]),
            CAST(:was AS text[]), CAST(:keeps AS boolean[]), CAST(:waits_for AS float8[]),
            CAST(:asks AS boolean[]), CAST(:bodies AS bytea[]), {_arrays(_CHANGED)})
            AS g (request_id, worker, was, keeps, wait, asks, body, {", ".join(_CHANGED)})
    ), changed AS (
        UPDATE signing_request r SET
            {", ".join(f"{name} = g.{name}" for name in _CHANGED)},
            worker = CASE WHEN g.keeps THEN r.worker END,
            next_at = now() + make_interval(secs => g.wait),
            ask_at = CASE WHEN g.asks THEN now() + make_interval(secs => g.wait) END,
            updated_at = now()
        FROM given g
        WHERE r.request_id = g.request_id AND r.worker = g.worker AND r.state = g.was
          AND r.evidence_count = g.evidence_count - 1
        RETURNING r.request_id, r.cancel_at, r.cancel_by
    ), noted AS (
        INSERT INTO signing_evidence (request_id, number, body, digest)
        SELECT request_id, evidence_count, body, evidence_head
        FROM given JOIN changed USING (request_id)
    )
    SELECT request_id, cancel_at, cancel_by FROM changed
    """  # noqa: S608 - names from this module
)
_PUT = text(
    f"""
    WITH changed AS (
        UPDATE signing_request SET {", ".join(f"{name} = :{name}" for name in _CHANGED)},
            worker = NULL, next_at = now(), ask_at = NULL, updated_at = now()
        WHERE request_id = :request_id AND evidence_count = :evidence_count - 1
        RETURNING request_id
    )
    INSERT INTO signing_evidence (request_id, number, body, digest)
    SELECT request_id, :evidence_count, :body, :evidence_head FROM changed
    RETURNING request_id
    """  # noqa: S608 - names from this module
)
_SUCCEED = text(
    """
    UPDATE signing_request SET source_file = :file, ready = true, next_at = now()
    WHERE after = :id AND state = 'received' AND NOT ready
    """
)
_SUCCESSORS = text(
    f"""
    SELECT {COLUMNS} FROM signing_request
    WHERE after = :id AND state = 'received' AND NOT ready
    ORDER BY place FOR UPDATE
    """  # noqa: S608 - names from this module
)


async def put(connection: AsyncConnection, request: Request, record: Record) -> None:
    """Write a step of a locked request, whoever has it in hand: he loses it.

    Raises:
        LookupError: it was not locked, and is another by now.
    """
    given = {name: _plain(getattr(request, name)) for name in _CHANGED}
    written = await connection.execute(
        _PUT, {**given, "request_id": request.request_id, "body": record.body}
    )
    if written.one_or_none() is None:
        raise LookupError(f"request {request.request_id} was changed by another")


async def succeed(connection: AsyncConnection, request_id: UUID, file: str) -> None:
    """Let the next signer sign this result."""
    await connection.execute(_SUCCEED, {"id": request_id, "file": file})


async def successors(connection: AsyncConnection, request_id: UUID) -> list[Request]:
    """Who waits for this result, locked."""
    found = await connection.execute(_SUCCESSORS, {"id": request_id})
    return [request_of(row) for row in found]


_LANDED = text(
    """
    SELECT request_id FROM signing_request
    JOIN unnest(CAST(:request_ids AS uuid[]), CAST(:digests AS bytea[])) AS g (request_id, digest)
    USING (request_id) WHERE evidence_head = g.digest
    """
)


async def change(
    connection: AsyncConnection, changes: Sequence[Change]
) -> dict[UUID, Wanted | None]:
    """Write steps; those requests that were still in the writer's hands, and which of them
    somebody wanted cancelled meanwhile."""
    ordered = sorted(changes, key=lambda change: change.request.request_id)
    requests = [change.request for change in ordered]
    given = _columns_of(requests, _CHANGED)
    changed = await connection.execute(
        _CHANGE,
        {
            **given,
            "request_ids": [r.request_id for r in requests],
            "workers": [change.worker for change in ordered],
            "was": [change.was.value for change in ordered],
            "keeps": [change.keeps for change in ordered],
            "waits_for": [change.wait for change in ordered],
            "asks": [change.request.state in WAITING for change in ordered],
            "bodies": [change.record.body for change in ordered],
        },
    )
    return {
        row.request_id: Wanted(row.cancel_at, row.cancel_by) if row.cancel_at else None
        for row in changed
    }


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


async def find(
    connection: AsyncConnection, ids: Sequence[UUID], *, lock: bool = False
) -> dict[UUID, Request]:
    """Requests by id."""
    locking = "FOR UPDATE" if lock else ""
    rows = await connection.execute(
        text(
            f"SELECT {COLUMNS} FROM signing_request "  # noqa: S608 - names from this module
            f"WHERE request_id = ANY(CAST(:ids AS uuid[])) ORDER BY request_id {locking}"
        ),
        {"ids": list(ids)},
    )
    return {row.request_id: request_of(row) for row in rows}


_HELD = text(
    f"""
    SELECT {COLUMNS} FROM signing_request
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
    return [request_of(row) for row in rows]


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


def request_of(row: Row[Any]) -> Request:
    """The request that a row of all columns holds."""
    values = {name: getattr(row, name) for name in _FIELDS}
    return Request(**{**values, "state": State(row.state)})
