"""Events on the wire: CloudEvents 1.0, structured JSON (``application/cloudevents+json``).

Extensions used: ``sequence`` and ``epoch`` (place in the stream), ``partitionkey`` (the
aggregate), ``traceparent``, ``correlationid``, ``causationid``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError

from common.contracts.base import TYPE_PREFIX, Event
from common.contracts.registry import EVENTS
from common.identifiers import moment_of

CONTENT_TYPE = "application/cloudevents+json"
_SPEC_VERSION = "1.0"
_LONGEST = 200
_MOST, _MOST_EPOCH = 2**63 - 1, 2**31 - 1  # what the columns take


class MalformedEvent(Exception):
    """Bytes that are no event of ours; the message says where, never what it held."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event on its way into the outbox; its sequence number is given there."""

    id: UUID
    event: Event
    aggregate: str
    agency: str
    subject: str | None
    traceparent: str | None
    correlation: str
    causation: str | None


@dataclass(frozen=True, slots=True)
class Received:
    """An event as its consumer sees it.

    Attributes:
        stream: ``<producer>/<epoch>/<aggregate>``; None where the event stands on its own.
        sequence: place in the stream, from 1.
        event: the data, typed; None for a type this version does not know.
    """

    id: UUID
    type: str
    producer: str
    agency: str
    subject: str | None
    time: datetime
    stream: str | None
    sequence: int | None
    event: Event | None
    traceparent: str | None
    correlation: str
    body: bytes


def encode(draft: Draft, *, producer: str, epoch: int, sequence: int | None) -> bytes:
    """The JSON of an event."""
    members: dict[str, object] = {
        "specversion": _SPEC_VERSION,
        "id": str(draft.id),
        "source": f"/{producer}/{draft.agency}",
        "type": TYPE_PREFIX + draft.event.TYPE,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "dataschema": f"urn:lienthong:event:{draft.event.TYPE}",
        "partitionkey": draft.aggregate,
        "correlationid": draft.correlation,
    }
    if draft.subject is not None:
        members["subject"] = draft.subject
    if sequence is not None:
        members["sequence"] = str(sequence)
        members["epoch"] = epoch
    if draft.causation is not None:
        members["causationid"] = draft.causation
    if draft.traceparent is not None:
        members["traceparent"] = draft.traceparent
    members["data"] = orjson.Fragment(draft.event.told())
    return orjson.dumps(members)


def decode(body: bytes) -> Received:
    """Read an event.

    Raises:
        MalformedEvent: not a CloudEvents envelope, or data that breaks the type's schema.
    """
    try:
        members = orjson.loads(body)
        type_ = _text(members["type"]).removeprefix(TYPE_PREFIX)
        _, producer, agency = _text(members["source"]).split("/", 2)
        ordered = members.get("sequence") is not None
        kind = EVENTS.get(type_)
        received = Received(
            id=_identifier(members["id"]),
            type=type_,
            producer=producer,
            agency=agency,
            subject=_text_or_none(members.get("subject")),
            time=_moment(members["time"]),
            stream=_stream(producer, members) if ordered else None,
            sequence=_number(members["sequence"], _MOST) if ordered else None,
            event=kind.model_validate(members["data"]) if kind else None,
            traceparent=_text_or_none(members.get("traceparent")),
            correlation=_text(members.get("correlationid") or members["id"]),
            body=body,
        )
    except ValidationError as error:
        places = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})
        raise MalformedEvent(
            f"data breaks the schema of its type at: {', '.join(places)}"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedEvent(f"no CloudEvents envelope: {type(error).__name__}") from None
    if kind and (received.stream is not None) != kind.ORDERED:
        raise MalformedEvent("an ordered event without its sequence, or the reverse")
    return received


def _identifier(value: str) -> UUID:
    identifier = UUID(value)
    if identifier.version != 7:
        raise ValueError("not a UUIDv7")
    moment_of(identifier)  # raises for one beyond the end of the calendar
    return identifier


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment


def _stream(producer: str, members: Mapping[str, Any]) -> str:
    epoch = _number(members["epoch"], _MOST_EPOCH)
    return f"{producer}/{epoch}/{_text(members['partitionkey'])}"


def _number(value: object, most: int) -> int:
    number = int(value) if isinstance(value, str | int) else 0
    if not 1 <= number <= most:
        raise ValueError("number out of range")
    return number


def _text(value: object) -> str:
    """Text that a database column and its index take."""
    if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
        raise ValueError("not a text of acceptable length")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
