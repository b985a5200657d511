"""The rows of completed requests whose archive timestamp is to be renewed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.evidence import Record
from signature_connector.domain.requests import Request
from signature_connector.store import requests
from signature_connector.store.requests import COLUMNS


@dataclass(frozen=True, slots=True)
class Due:
    """A document that is to be looked at.

    Attributes:
        renew_at: when it is due again if it is not written: tells one claim from another.
        proof_ends: when the certificate of the authority that made the newest archive timestamp
            does; None: not known yet.
        trouble: why it could not be renewed the last time.
    """

    request: Request
    renew_at: datetime | None
    proof_ends: datetime | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Overdue:
    """How things stand.

    Attributes:
        levels, renewals: how many should have been tried long ago.
        troubled: renewals that did not work the last time; where no authority has a certificate
            that lasts longer does not count: the end tells when that becomes a trouble.
        ends: the first end of an authority's certificate that a document still depends on.
    """

    levels: int
    renewals: int
    troubled: int
    ends: datetime | None


NOT_YET = "authority-certificate-ends"
"""The trouble that only the authority can mend: its certificate lasts no longer."""
_EXTRA = "renew_at, proof_ends, renewal_trouble"
# Spelled out for the partial index.
_ENROL = text(
    """
    UPDATE signing_request SET renew_at = now() WHERE request_id = ANY(ARRAY(
        SELECT request_id FROM signing_request
        WHERE profile = 'pades-b-lta' AND level = 'b-lta' AND state = 'completed'
          AND renew_at IS NULL AND proof_ends IS NULL AND erased_at IS NULL
        ORDER BY request_id LIMIT :most FOR UPDATE SKIP LOCKED))
    """
)
_CLAIM = text(
    f"""
    UPDATE signing_request SET renew_at = now() + make_interval(secs => :lease)
    WHERE request_id = ANY(ARRAY(
        SELECT request_id FROM signing_request
        WHERE renew_at <= now() ORDER BY renew_at LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING {COLUMNS}, {_EXTRA}
    """  # noqa: S608 - names from this module
)
_LOCKED = text(
    f"SELECT {COLUMNS}, {_EXTRA} FROM signing_request "  # noqa: S608 - names from this module
    "WHERE request_id = :request_id FOR UPDATE"
)
_CHANGE = text(
    """
    UPDATE signing_request SET result_file = :result_file, renew_at = :renew_at,
        proof_ends = :proof_ends, renewal_trouble = :trouble, updated_at = now()
    WHERE request_id = :request_id
    """
)
_OVERDUE = text(
    """
    SELECT
        (SELECT count(*) FROM signing_request
            WHERE augment_at < now() - make_interval(secs => :late)) AS levels,
        (SELECT count(*) FROM signing_request
            WHERE renew_at < now() - make_interval(secs => :late)) AS renewals,
        (SELECT count(*) FROM signing_request
            WHERE renewal_trouble IS NOT NULL AND renewal_trouble <> :not_yet) AS troubled,
        (SELECT min(proof_ends) FROM signing_request WHERE renew_at IS NOT NULL) AS ends
    """
)


async def claim(connection: AsyncConnection, most: int, lease: float) -> list[Due]:
    """Take up what is due, and what has reached the level and was not looked at yet; no two
    workers get the same.

    Args:
        lease: seconds after which another takes one up that was not written.
    """
    await connection.execute(_ENROL, {"most": most})
    rows = await connection.execute(_CLAIM, {"most": most, "lease": lease})
    return [_due(row) for row in rows]


async def locked(connection: AsyncConnection, request_id: UUID) -> Due | None:
    """The row as it stands, locked."""
    row = (await connection.execute(_LOCKED, {"request_id": request_id})).one_or_none()
    return _due(row) if row is not None else None


async def write(connection: AsyncConnection, due: Due, record: Record | None) -> None:
    """Write what became of a locked row, with its evidence."""
    await connection.execute(
        _CHANGE,
        {
            "request_id": due.request.request_id,
            "result_file": due.request.result_file,
            "renew_at": due.renew_at,
            "proof_ends": due.proof_ends,
            "trouble": due.trouble,
        },
    )
    if record is not None:
        await requests.add_late(connection, due.request, record)


async def overdue(connection: AsyncConnection, late: float) -> Overdue:
    """What should have been done.

    Args:
        late: seconds by which something has to be due to count.
    """
    row = (await connection.execute(_OVERDUE, {"late": late, "not_yet": NOT_YET})).one()
    return Overdue(row.levels, row.renewals, row.troubled, row.ends)


def _due(row: Row[Any]) -> Due:
    return Due(requests.request_of(row), row.renew_at, row.proof_ends, row.renewal_trouble)
