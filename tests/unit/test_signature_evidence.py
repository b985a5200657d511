"""The chain of evidence: whatever is changed, left out or cut off shows."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signature_connector.domain.evidence import (
    START,
    Record,
    break_in_export,
    exported,
    first_break,
    record,
)
from signature_connector.domain.requests import Request, State, Step

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


def request() -> Request:
    return Request(
        request_id=UUID(int=1),
        client="dossier",
        dossier_code="H56.14-261102-0001",
        agency="H56.14",
        document_id="KQ1",
        document_name="Giấy phép của Nguyễn Văn A",
        file="0" * 64,
        ca_name="VNPT-CA",
        sealed_user="v1.k1.xx",
        created_at=AT,
    )


def chain(length: int = 5) -> tuple[list[Record], Request]:
    now, records = request(), []
    for number in range(length):
        step = Step(State.RECEIVED, {"number": number}) if number else None
        one = record(now, step, AT + timedelta(seconds=number))
        now = replace(now, evidence_count=one.number, evidence_head=one.digest)
        records.append(one)
    return records, now


def broken(records: list[Record], row: Request) -> int | None:
    return first_break(records, row.evidence_count, row.evidence_head)


def test_a_whole_chain_has_no_break() -> None:
    records, row = chain()
    assert broken(records, row) is None
    assert [one.number for one in records] == [1, 2, 3, 4, 5]
    assert broken([], replace(row, evidence_count=0, evidence_head=START)) is None


@given(st.integers(0, 4), st.data())
def test_a_changed_record_shows(place: int, data: st.DataObject) -> None:
    records, row = chain()
    body = bytearray(records[place].body)
    index = data.draw(st.integers(0, len(body) - 1))
    body[index] ^= data.draw(st.integers(1, 255))
    records[place] = replace(records[place], body=bytes(body))
    assert broken(records, row) == place + 1


def test_what_is_left_out_swapped_added_or_cut_off_shows() -> None:
    records, row = chain()
    assert broken(records[1:], row) == 1
    assert broken(records[:2] + records[3:], row) == 3
    assert broken(records[:-1], row) == 5
    assert broken([records[1], records[0], *records[2:]], row) == 1
    more = record(row, Step(State.RECEIVED), AT)
    assert broken([*records, more], row) == 6


def test_another_requests_chain_does_not_pass_for_this_ones() -> None:
    records, row = chain()
    other = record(replace(request(), request_id=UUID(int=2)), None, AT)
    assert broken([other, *records[1:]], row) == 2


def test_a_record_says_what_happened_and_names_nobody() -> None:
    first = json.loads(chain(1)[0][0].body)
    assert first["to"] == "received"
    assert first["facts"]["file"] == "0" * 64
    text = json.dumps(first, ensure_ascii=False)
    assert "Nguyễn" not in text
    assert "v1.k1" not in text


def test_an_export_is_checked_without_the_system() -> None:
    records, row = chain()
    export = json.loads(json.dumps(exported(row, records)))
    assert break_in_export(export) is None
    before = bytes(32)
    for one in export["records"]:  # as anybody would
        before = hashlib.sha256(before + one["body"].encode()).digest()
        assert before.hex() == one["digest"]
    assert before.hex() == export["head"]
    export["records"][2]["body"] = export["records"][2]["body"].replace("received", "prepared")
    assert break_in_export(export) == 3
    cut = exported(row, records[:-1])
    assert break_in_export(cut) == 5
    other = {**exported(row, records), "request_id": str(UUID(int=2))}
    assert break_in_export(other) == 1
    with pytest.raises(ValueError, match="not an export"):
        break_in_export({})
