"""CloudEvents on the wire: what is written can be read, and what cannot be read is told apart."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contracts.base import TYPE_PREFIX
from common.contracts.catalog import AgencyPublished
from common.envelope import Draft, MalformedEvent, Received, decode, encode
from common.identifiers import new_id
from tests.support.messaging import alone, envelope, ordered

_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
_events = st.builds(
    AgencyPublished,
    code=_text,
    legacy_code=st.none() | _text,
    name=st.text(st.characters(codec="utf-8")),
    active=st.booleans(),
    valid_to=st.none() | st.dates(),
    version=st.integers(0, 2**53),
)


@given(
    event=_events,
    aggregate=_text,
    agency=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=150),
    subject=st.none() | _text,
    traceparent=st.none() | _text,
    sequence=st.integers(1, 2**63 - 1),
    epoch=st.integers(1, 2**31 - 1),
)
def test_what_is_written_is_read(
    event: AgencyPublished,
    aggregate: str,
    agency: str,
    subject: str | None,
    traceparent: str | None,
    sequence: int,
    epoch: int,
) -> None:
    draft = Draft(
        id=new_id(),
        event=event,
        aggregate=aggregate,
        agency=agency,
        subject=subject,
        traceparent=traceparent,
        correlation="c",
        causation="k",
    )
    body = encode(draft, producer="catalog", epoch=epoch, sequence=sequence)
    received = decode(body)
    assert datetime.now(UTC) - received.time < timedelta(minutes=1)
    assert received == Received(
        id=draft.id,
        type="catalog.agency-published.v1",
        producer="catalog",
        agency=agency,
        subject=subject,
        time=received.time,
        stream=f"catalog/{epoch}/{aggregate}",
        sequence=sequence,
        event=event,
        traceparent=traceparent,
        correlation="c",
        body=body,
    )


def test_the_members_are_those_of_cloudevents() -> None:
    members = orjson.loads(envelope(ordered(), "H01", 7, epoch=3))
    assert members["specversion"] == "1.0"
    assert members["type"] == "vn.gov.dvc.catalog.agency-published.v1"
    assert members["source"] == "/catalog/H01"
    assert members["datacontenttype"] == "application/json"
    assert members["partitionkey"] == "H01"
    assert (members["sequence"], members["epoch"]) == ("7", 3)
    assert members["data"]["name"] == "Sở Nội vụ"
    assert UUID(members["id"]).version == 7
    single = orjson.loads(envelope(alone()))
    assert not {"sequence", "epoch", "traceparent", "subject", "causationid"} & single.keys()


def test_a_type_that_is_not_known_is_read_without_its_data() -> None:
    members = changed(type=TYPE_PREFIX + "catalog.agency-merged.v9", data={"unknown": True})
    received = decode(members)
    assert received.event is None
    assert received.stream == "catalog/1/a"


def test_fields_added_later_do_not_break_an_older_reader() -> None:
    members = orjson.loads(envelope(ordered(), "a", 1))
    members["newattribute"] = {"deep": 1}
    members["data"]["added_later"] = [1, 2]
    assert decode(orjson.dumps(members)).event == ordered()


def changed(**members: Any) -> bytes:
    """An envelope with members replaced; ``...`` leaves one out."""
    whole = orjson.loads(envelope(ordered(), "a", 1)) | members
    return orjson.dumps({name: value for name, value in whole.items() if value is not ...})


MALFORMED = {
    "empty": b"",
    "not JSON": b"\xff\xfe",
    "half": envelope(ordered(), "a", 1)[:-5],
    "a list": b"[]",
    "a number": b"7",
    "deep": b"[" * 100_000,
    "without an id": changed(id=...),
    "id no UUID": changed(id="7"),
    "id a number": changed(id=7),
    "id of another version": changed(id=str(uuid4())),
    "id beyond the calendar": changed(id=str(UUID(int=(2**48 - 1) << 80 | 7 << 76 | 2 << 62))),
    "without a type": changed(type=...),
    "type no text": changed(type=["x"]),
    "without a source": changed(source=...),
    "source of one part": changed(source="/catalog"),
    "without a time": changed(time=...),
    "time no time": changed(time="yesterday"),
    "time without a zone": changed(time="2025-11-21T10:00:00"),
    "without data": changed(data=...),
    "data of another shape": changed(data=[]),
    "data without a field": changed(data={"code": "H01"}),
    "ordered without a sequence": changed(sequence=...),
    "sequence null": changed(sequence=None),
    "sequence 0": changed(sequence="0"),
    "sequence negative": changed(sequence="-1"),
    "sequence no number": changed(sequence="one"),
    "sequence a fraction": changed(sequence=1.5),
    "sequence beyond the column": changed(sequence=str(2**63)),
    "without an epoch": changed(epoch=...),
    "epoch beyond the column": changed(epoch=2**31),
    "without a partition key": changed(partitionkey=...),
    "partition key no text": changed(partitionkey={}),
    "partition key with NUL": changed(partitionkey="a\0b"),
    "partition key beyond the index": changed(partitionkey="a" * 201),
    "source with NUL": changed(source="/catalog/\0"),
    "subject a number": changed(subject=1),
    "traceparent a list": changed(traceparent=[]),
    "correlation a number": changed(correlationid=1),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_said_to_be(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        decode(body)


def test_an_event_that_stands_alone_has_no_sequence() -> None:
    members = orjson.loads(envelope(alone()))
    assert decode(orjson.dumps(members | {"sequence": None})).stream is None
    with pytest.raises(MalformedEvent):
        decode(orjson.dumps(members | {"sequence": "1", "epoch": 1}))


def test_the_message_tells_where_and_never_what() -> None:
    data = {"code": 12345, "name": {"Nguyễn": "012345678901"}, "active": "perhaps"}
    with pytest.raises(MalformedEvent) as raised:
        decode(changed(data=data))
    assert str(raised.value) == (
        "data breaks the schema of its type at: active, code, legacy_code, name, version"
    )
    assert raised.value.__cause__ is None


@given(st.binary())
def test_bytes_are_read_or_malformed_and_nothing_else(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        decode(body)
