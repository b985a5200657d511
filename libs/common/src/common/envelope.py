"""Events on the wire: CloudEvents 1.0, structured JSON (``application/cloudevents+json``).

Extensions used: ``sequence`` and ``epoch`` (place in the stream), ``partitionkey`` (the
aggregate), ``traceparent``, ``correlationid``, ``causationid``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson
from pydantic import ValidationError

from common.contracts.base import TYPE_PREFIX, Event
from common.contracts.registry import EVENTS

CONTENT_TYPE = "application/cloudevents+json"
_SPEC_VERSION = "1.0"


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
    members["data"] = orjson.Fragment(draft.event.__pydantic_serializer__.to_json(draft.event))
    return orjson.dumps(members)


def decode(body: bytes) -> Received:
    """Read an event.

    Raises:
        MalformedEvent: not a CloudEvents envelope, or data that breaks the type's schema.
    """
    try:
        members = orjson.loads(body)
        type_ = members["type"].removeprefix(TYPE_PREFIX)
        _, producer, agency = members["source"].split("/", 2)
        sequence = members.get("sequence")
        stream = None
        if sequence is not None:
            sequence = int(sequence)
            stream = f"{producer}/{int(members['epoch'])}/{members['partitionkey']}"
            if sequence < 1:
                raise MalformedEvent("sequence below 1")
        kind = EVENTS.get(type_)
        event = kind.model_validate(members["data"]) if kind else None
        if kind and (stream is not None) != kind.ORDERED:
            raise MalformedEvent("an ordered event without its sequence, or the reverse")
        return Received(
            id=UUID(members["id"]),
            type=type_,
            producer=producer,
            agency=agency,
            subject=members.get("subject"),
            time=datetime.fromisoformat(members["time"]),
            stream=stream,
            sequence=sequence,
            event=event,
            traceparent=members.get("traceparent"),
            correlation=members.get("correlationid") or members["id"],
            body=body,
        )
    except ValidationError as error:
        places = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})
        raise MalformedEvent(
            f"data breaks the schema of its type at: {', '.join(places)}"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedEvent(f"no CloudEvents envelope: {type(error).__name__}") from None
