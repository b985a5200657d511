"""The desk: what operators do with events that were parked.

Everything that changes something is written down in ``desk_action`` in the same transaction: who,
when, what, and the reason they gave. Bodies are never shown in clear: an event's data is told by
the names of its members, and what is sealed stays sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.base import TYPE_PREFIX
from common.contracts.codes import within

_MOST_OF_STREAM = 1000

_COLUMNS = (
    "id, consumer, stream, sequence, event_id, type, reason, error, attempts, parked_at, next_at"
)
_PAGE = text(
    f"""
    SELECT {_COLUMNS}, body FROM parked WHERE id > :after
      AND (CAST(:consumer AS text) IS NULL OR consumer = :consumer)
      AND (CAST(:reason AS text) IS NULL OR reason = :reason)
      AND (CAST(:stream AS text) IS NULL OR stream = :stream)
      AND (CAST(:type AS text) IS NULL OR type = :type)
    ORDER BY id LIMIT :most
    """  # noqa: S608 - constants
)
_ONE = text(f"SELECT {_COLUMNS}, body FROM parked WHERE id = :id")  # noqa: S608 - constants
_LOCKED = text(f"SELECT {_COLUMNS}, body FROM parked WHERE id = :id FOR UPDATE")  # noqa: S608 - constants
_POSITION = text("SELECT last FROM position WHERE consumer = :consumer AND stream = :stream")
_LOCK_POSITION = text(
    """
    INSERT INTO position AS p (consumer, stream, last) VALUES (:consumer, :stream, 0)
    ON CONFLICT (consumer, stream) DO UPDATE SET last = p.last RETURNING last
    """
)
# The head of a stream goes first; those behind it follow in their order when it is done.
_REDRIVE = text(
    """
    UPDATE parked SET next_at = now(), attempts = 0
    WHERE consumer = :consumer AND (id = :id OR (stream = :stream AND sequence = (
        SELECT min(sequence) FROM parked WHERE consumer = :consumer AND stream = :stream)))
    """
)
_AHEAD = text(
    """
    SELECT id, sequence, reason FROM parked
    WHERE consumer = :consumer AND stream = :stream AND sequence < :sequence
    ORDER BY sequence LIMIT :most
    """
)
_BEHIND = text(
    """
    SELECT count(*) FROM parked
    WHERE consumer = :consumer AND stream = :stream AND sequence > :sequence
    """
)
_MOVE = text(
    """
    WITH moved AS (
        UPDATE position SET last = :sequence WHERE consumer = :consumer AND stream = :stream
    )
    UPDATE parked SET next_at = now()
    WHERE consumer = :consumer AND stream = :stream AND sequence = :sequence + 1
    """
)
_DONE_ALONE = text(
    """
    INSERT INTO inbox (consumer, event_id) VALUES (:consumer, :event_id) ON CONFLICT DO NOTHING
    """
)
_DELETE = text("DELETE FROM parked WHERE id = :id")
_NOTE = text(
    """
    INSERT INTO desk_action (client_id, action, what, item, queue, agency, subject, sequence,
        event_id, cause, reason)
    VALUES (:client, :action, :what, :item, :queue, :agency, :subject, :sequence, :event_id,
        :cause, :reason)
    """
)
_ACTIONS = text(
    """
    SELECT id, at, client_id, action, what, item, queue, agency, subject, sequence, event_id,
        cause, reason
    FROM desk_action WHERE id < :before ORDER BY id DESC LIMIT :most
    """
)
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked event as an operator sees it.

    Attributes:
        agency: the one it concerns; None where its bytes do not say.
        members: the names of what it holds; values are not shown.
    """

    id: int
    consumer: str
    stream: str | None
    sequence: int | None
    event_id: UUID
    type: str | None
    agency: str | None
    subject: str | None
    reason: str
    error: str | None
    attempts: int
    parked_at: datetime
    next_at: datetime | None
    bytes: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an action does, or would do.

    Attributes:
        position: how far the stream is; None for an event that stands on its own.
        new_position: how far it will be by this action itself.
        ahead: parked events of the stream that go before this one.
        behind: how many parked events wait behind it.
        missing: numbers before it that are neither done nor parked: asked for from the producer.
    """

    item: Parked
    position: int | None
    new_position: int | None
    ahead: tuple[int, ...]
    behind: int
    missing: int


class Refused(Exception):
    """The action does not fit; the message says why, in Vietnamese and English."""

    def __init__(self, vietnamese: str, english: str) -> None:
        super().__init__(english)
        self.vietnamese, self.english = vietnamese, english


async def page(
    connection: AsyncConnection,
    agencies: Sequence[str],
    *,
    after: int = 0,
    most: int = 100,
    consumer: str | None = None,
    reason: str | None = None,
    stream: str | None = None,
    type_: str | None = None,
) -> tuple[list[Parked], int | None]:
    """Parked events by id, and where to go on; a page may hold fewer than asked for, since those
    of other agencies are left out."""
    found = await connection.execute(
        _PAGE,
        {
            "after": after,
            "most": most,
            "consumer": consumer,
            "reason": reason,
            "stream": stream,
            "type": type_,
        },
    )
    rows = found.all()
    shown = [one for one in map(_parked, rows) if _may_see(one, agencies)]
    return shown, rows[-1].id if len(rows) == most else None


async def plan(
    connection: AsyncConnection,
    agencies: Sequence[str],
    item: int,
    action: Literal["redrive", "dismiss"],
) -> Plan | None:
    """What an action on a parked event would do; None where there is no such event."""
    row = (await connection.execute(_ONE, {"id": item})).one_or_none()
    if row is None or not _may_see(one := _parked(row), agencies):
        return None
    return await _planned(connection, one, action)


async def redrive(
    connection: AsyncConnection, agencies: Sequence[str], item: int, client: str, reason: str
) -> Plan | None:
    """Try a parked event again at once, and before it what its stream needs first; None where
    there is no such event.

    The consumer does it and moves the position, in one transaction with the effect.
    """
    one = await _locked(connection, agencies, item)
    if one is None:
        return None
    planned = await _planned(connection, one, "redrive")
    await connection.execute(
        _REDRIVE, {"consumer": one.consumer, "id": one.id, "stream": one.stream}
    )
    await _note(connection, one, "redrive", client, reason)
    return planned


async def dismiss(
    connection: AsyncConnection, agencies: Sequence[str], item: int, client: str, reason: str
) -> Plan | None:
    """Give a parked event up: it never takes effect, and what its stream has behind it goes on.

    Raises:
        Refused: others of its stream go before it.
    """
    one = await _locked(connection, agencies, item)
    if one is None:
        return None
    keys = {"consumer": one.consumer, "stream": one.stream, "sequence": one.sequence}
    if one.stream is not None:
        await connection.execute(_LOCK_POSITION, keys)
    planned = await _planned(connection, one, "dismiss")
    if planned.ahead or planned.missing:
        raise Refused(
            "Trước sự kiện này còn sự kiện khác của cùng hồ sơ chưa xử lý",
            "Other events of its stream go before this one",
        )
    if planned.new_position is not None:
        await connection.execute(_MOVE, keys)
    elif one.type is not None:
        await connection.execute(_DONE_ALONE, {"consumer": one.consumer, "event_id": one.event_id})
    await connection.execute(_DELETE, {"id": one.id})
    await _note(connection, one, "dismiss", client, reason)
    return planned


async def note_held(
    connection: AsyncConnection,
    action: Literal["retry", "dismiss"],
    row: Any,
    client: str,
    reason: str,
) -> None:
    """Write down what was done with a held delivery, in the transaction that does it.

    Args:
        row: the row of ``delivery``.
    """
    await connection.execute(
        _NOTE,
        {
            "client": client,
            "action": action,
            "what": "held",
            "item": row.id,
            "queue": f"{row.partner}/{row.kind}",
            "agency": row.agency,
            "subject": row.subject,
            "sequence": row.version,
            "event_id": None,
            "cause": row.error,
            "reason": reason,
        },
    )


async def actions(
    connection: AsyncConnection, agencies: Sequence[str], before: int | None, most: int
) -> tuple[list[dict[str, Any]], int | None]:
    """What was done at the desk, the newest first, and where to go on."""
    found = await connection.execute(_ACTIONS, {"before": before or _LAST, "most": most})
    rows = found.all()
    shown = [dict(row._mapping) for row in rows if _within(row.agency, agencies)]
    return shown, rows[-1].id if len(rows) == most else None


async def _locked(connection: AsyncConnection, agencies: Sequence[str], item: int) -> Parked | None:
    row = (await connection.execute(_LOCKED, {"id": item})).one_or_none()
    return one if row is not None and _may_see(one := _parked(row), agencies) else None


async def _planned(
    connection: AsyncConnection, one: Parked, action: Literal["redrive", "dismiss"]
) -> Plan:
    if one.stream is None or one.sequence is None:
        return Plan(one, None, None, (), 0, 0)
    keys = {"consumer": one.consumer, "stream": one.stream, "sequence": one.sequence}
    last = (await connection.execute(_POSITION, keys)).scalar_one_or_none() or 0
    found = await connection.execute(_AHEAD, {**keys, "most": _MOST_OF_STREAM})
    ahead = [row for row in found if row.sequence > last]
    behind = (await connection.execute(_BEHIND, keys)).scalar_one()
    missing = max(0, one.sequence - last - 1 - len(ahead))
    overtaken = one.sequence <= last
    new = None if overtaken or action != "dismiss" else one.sequence
    return Plan(one, last, new, tuple(row.id for row in ahead), behind, missing)


async def _note(
    connection: AsyncConnection, one: Parked, action: str, client: str, reason: str
) -> None:
    await connection.execute(
        _NOTE,
        {
            "client": client,
            "action": action,
            "what": "parked",
            "item": one.id,
            "queue": one.consumer,
            "agency": one.agency,
            "subject": one.stream or one.subject,
            "sequence": one.sequence,
            "event_id": one.event_id,
            "cause": one.error,
            "reason": reason,
        },
    )


def _parked(row: Row[Any]) -> Parked:
    members = _members(row.body)
    data = members.get("data")
    source = str(members.get("source", "")).split("/", 2)
    subject = members.get("subject")
    return Parked(
        **{name.strip(): getattr(row, name.strip()) for name in _COLUMNS.split(",")},
        agency=source[2][:200] if len(source) == 3 else None,
        subject=subject[:200] if isinstance(subject, str) else None,
        bytes=len(row.body),
        members=tuple(sorted(data)) if isinstance(data, dict) else (),
    )


def _members(body: bytes) -> dict[str, Any]:
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    known = isinstance(members, dict) and str(members.get("type", "")).startswith(TYPE_PREFIX)
    return members if known else {}


def _may_see(one: Parked, agencies: Sequence[str]) -> bool:
    return _within(one.agency, agencies)


def _within(agency: str | None, agencies: Sequence[str]) -> bool:
    """What names no agency is for those who act for all."""
    return "*" in agencies or (
        agency is not None and any(within(agency, root) for root in agencies)
    )
