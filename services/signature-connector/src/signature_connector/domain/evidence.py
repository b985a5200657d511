"""The evidence of a request: records chained by hashes, in their order.

Every record is canonical JSON whose SHA-256, taken over the hash before it and its bytes, is the
next link. A record that is changed, left out or put elsewhere breaks the chain; the row of the
request holds the length and the last link, so that a cut tail shows too.

Of certificates only fingerprint, serial number, issuer and validity are noted: the whole of the
signer's names the person, and stands in the signed document itself.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from signature_connector.domain.requests import Request, Step

START = bytes(32)
EXPORT_FORMAT = "lienthong-signing-evidence-1"


@dataclass(frozen=True, slots=True)
class Record:
    """One link.

    Attributes:
        number: from 1, without gaps.
        body: canonical JSON.
        digest: over the digest before and the body.
    """

    request_id: UUID
    number: int
    body: bytes
    digest: bytes


def record(request: Request, step: Step | None, at: datetime) -> Record:
    """The record of a step that a request takes; without a step, of its arrival."""
    facts: dict[str, Any] = {
        "client": request.client,
        "agency": request.agency,
        "document_id": request.document_id,
        "file": request.file,
        "ca_name": request.ca_name,
        "profile": request.profile,
    }
    if request.workflow is not None:
        facts["workflow"], facts["place"] = str(request.workflow), request.place
    if request.batch is not None:
        facts["batch"] = str(request.batch)
    body = {
        "request_id": str(request.request_id),
        "number": request.evidence_count + 1,
        "at": at,
        "from": request.state if step else None,
        "to": step.to if step else request.state,
        "reason": step.reason if step else None,
        "facts": step.facts if step else facts,
    }
    written = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return Record(
        request_id=request.request_id,
        number=request.evidence_count + 1,
        body=written,
        digest=link(request.evidence_head, written),
    )


def link(before: bytes, body: bytes) -> bytes:
    """The hash that chains a record to the one before it."""
    return hashlib.sha256(before + body).digest()


def first_break(records: Sequence[Record], count: int, head: bytes) -> int | None:
    """Number of the first record that does not fit; None for a chain that is whole.

    Args:
        records: all records of a request, in order.
        count, head: what the request's row says of the length and the last link.
    """
    before = START
    for number, one in enumerate(records, start=1):
        if one.number != number or one.digest != link(before, one.body):
            return number
        before = one.digest
    if (len(records), before) == (count, head):
        return None
    return min(len(records), count) + (len(records) != count)


def exported(request: Request, records: Sequence[Record]) -> dict[str, Any]:
    """The evidence of a request for whoever is to check it without this system.

    Files are named by their SHA-256, bodies stand as they were hashed.
    """
    return {
        "format": EXPORT_FORMAT,
        "request_id": str(request.request_id),
        "records": [{"body": one.body.decode(), "digest": one.digest.hex()} for one in records],
        "count": request.evidence_count,
        "head": request.evidence_head.hex(),
    }


def break_in_export(export: Mapping[str, Any]) -> int | None:
    """Number of the first record of an export that does not fit; None for one that is whole.

    Needs nothing but SHA-256: each digest is taken over the one before (32 zero bytes at first)
    and the record's body in UTF-8.

    Raises:
        ValueError: not an export of this format.
    """
    if export.get("format") != EXPORT_FORMAT:
        raise ValueError("not an export of evidence")
    request_id = UUID(export["request_id"])
    records = [
        Record(request_id, number, one["body"].encode(), bytes.fromhex(one["digest"]))
        for number, one in enumerate(export["records"], start=1)
    ]
    for one in records:
        told = orjson.loads(one.body)
        if (told["request_id"], told["number"]) != (str(request_id), one.number):
            return one.number
    return first_break(records, export["count"], bytes.fromhex(export["head"]))
