"""Files of old dossiers, line by line."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dossier.domain import historic
from dossier.domain.historic import HistoricDossier
from dossier.domain.historic_table import COLUMNS, REQUIRED, TableFault, heading, line_of
from dossier.use_cases import lines
from dossier.use_cases.lines import cells_of, lines_of, rows_of

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LINE: dict[str, Any] = {
    "code": "H10.15-150302-0001",
    "procedure": {"code": "1.000016", "name": "Đăng ký", "field": {"name": "Doanh nghiệp"}},
    "channel": "1",
    "applicant": {"kind": "1", "name": "Nguyễn Văn A"},
    "summary": "Đăng ký hộ kinh doanh",
    "status": "10",
    "submitted_at": "2015-03-02",
}


def read(**changed: Any) -> HistoricDossier:
    return HistoricDossier.model_validate({**LINE, **changed})


def entered(**changed: Any):
    return historic.entered(read(**changed), lambda value: f"sealed {sorted(value)}")


async def cut(content: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    start = 0
    for size in sizes:
        yield content[start : start + size]
        start += size
    yield content[start:]


@given(
    content=st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r\n", b""])).map(b"".join),
    sizes=st.lists(st.integers(0, 5)),
)
async def test_lines_do_not_depend_on_how_they_come(content: bytes, sizes: list[int]) -> None:
    found = [line async for line in lines_of(cut(content, sizes))]
    expected = content.replace(b"\r\n", b"\n").split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [line.content for line in found] == expected
    assert [line.number for line in found] == list(range(1, len(expected) + 1))


async def test_a_line_that_is_too_long_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 10)
    content = b"one\n" + b"x" * 11 + b"\n" + b"y" * 10 + b"\n" + b"z" * 100
    for sizes in ([], [6, 6, 6], [1] * 100):
        found = [line async for line in lines_of(cut(content, sizes))]
        assert [line.content for line in found] == [b"one", None, b"y" * 10, None]


async def test_a_row_may_go_over_several_lines() -> None:
    content = b'a,b\n1,"x\ny ""z"""\n2,c\n3,"open\n'
    rows = [row async for row in rows_of(lines_of(cut(content, [])))]
    assert [(row.number, row.last) for row in rows] == [(1, 1), (2, 3), (4, 4), (5, 5)]
    assert cells_of(rows[1].content or b"", ",") == ["1", 'x\ny "z"']
    with pytest.raises(ValueError, match="row"):
        cells_of(rows[3].content or b"", ",")


@pytest.mark.parametrize("row", [b"\xff\xfe", b'"a"b', b"a\nb"])
def test_what_is_no_row_is_told(row: bytes) -> None:
    with pytest.raises(ValueError, match=r"row|decode"):
        cells_of(row, ",")


def test_a_heading_names_known_columns_once() -> None:
    assert heading([" Code ", *REQUIRED[1:]]) == list(REQUIRED)
    for cells, said in (
        (REQUIRED[1:], "missing columns: code"),
        ([*REQUIRED, "colour"], "unknown"),
        ([*REQUIRED, "code"], "twice"),
    ):
        with pytest.raises(TableFault, match=said):
            heading(cells)


def test_every_column_is_a_field_of_the_line() -> None:
    values = {
        **dict.fromkeys(COLUMNS, "x"),
        "code": LINE["code"],
        "agency": "H10.15",
        "procedure_code": "1.000016",
        "channel": "2",
        "applicant_kind": "1",
        "identity_type": "citizen-id",
        "identity_number": "012345678901",
        "status": "9",
        "return_method": "0",
        "paid_online": "true",
        "satisfaction": "satisfied",
        "step_kind": "complete",
        **{name: "2015-03-02T08:00:00" for name in COLUMNS if name.endswith("_at")},
    }
    line = HistoricDossier.model_validate(line_of(list(values), list(values.values())))
    assert line.applicant.identity is not None
    assert line.applicant.identity.number == "012345678901"
    assert line.paid_online is True
    assert line.rating is not None
    assert [step.status for step in line.steps] == ["9"]
    assert line.steps[0].official is not None


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2015-03-02", "2015-03-01T17:00:00+00:00"),
        ("2015-03-02 08:30", "2015-03-02T01:30:00+00:00"),
        ("2015-03-02T08:30:15", "2015-03-02T01:30:15+00:00"),
        ("2015-03-02T08:30:15Z", "2015-03-02T08:30:15+00:00"),
        ("2015-03-02T08:30:15+07:00", "2015-03-02T01:30:15+00:00"),
    ],
)
def test_a_time_without_a_zone_is_vietnamese(written: str, moment: str) -> None:
    assert read(submitted_at=written).submitted_at == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "changed",
    [
        {"colour": "red"},
        {"code": "H10.15"},
        {"code": "15-150302-0001"},
        {"status": "11"},
        {"status": 10},
        {"submitted_at": "02/03/2015"},
        {"submitted_at": "2015-02-30"},
        {"submitted_at": 1425254400},
        {"submitted_at": "0015-03-02"},
        {"summary": ""},
        {"summary": "a\0b"},
        {"applicant": {"kind": "1"}},
        {"applicant": {"kind": "1", "name": "A", "age": 3}},
        {
            "applicant": {
                "kind": "1",
                "name": "A",
                "identity": {"type": "citizen-id", "number": "12345"},
            }
        },
        {"steps": [{"kind": "jump", "status": "10", "at": "2015-03-02"}]},
        {"results": [{"id": "1", "name": "A", "signing": "asked"}]},
    ],
)
def test_a_line_is_read_strictly(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(**changed)


@pytest.mark.parametrize(
    ("changed", "pointers"),
    [
        ({}, []),
        ({"received_at": "2015-03-01"}, ["/received_at"]),
        ({"submitted_at": "2030-03-01"}, ["/submitted_at"]),
        ({"due_at": "2030-03-01"}, []),
        ({"steps": [{"kind": "complete", "status": "9", "at": "2015-03-02"}]}, ["/status"]),
        (
            {
                "steps": [
                    {"kind": "receive", "status": "2", "at": "2015-03-05"},
                    {"kind": "return", "status": "10", "at": "2015-03-04"},
                ]
            },
            ["/steps/1/at"],
        ),
        ({"results": [{"id": "1", "name": "A"}, {"id": "1", "name": "B"}]}, ["/results"]),
    ],
)
def test_a_line_must_not_contradict_itself(changed: dict[str, Any], pointers: list[str]) -> None:
    assert [fault[0] for fault in historic.faults(read(**changed), NOW)] == pointers


def test_a_dossier_without_history_has_the_step_that_led_to_its_status() -> None:
    dossier, steps = entered(returned_at="2015-03-20")
    assert dossier.steps == len(steps) == 1
    assert (steps[0].kind, steps[0].status) == ("return", "10")
    assert steps[0].at == dossier.state.returned_at
    assert dossier.state.historic


def test_the_applicant_is_sealed_without_the_kind() -> None:
    dossier, _ = entered(applicant={"kind": "2", "name": "A", "phone": "0912345678"})
    assert dossier.state.sealed == "sealed ['name', 'phone']"
    assert dossier.state.applicant_kind == "2"


def test_the_same_line_is_the_same_dossier_and_its_content_leaves_the_person_out() -> None:
    assert entered()[0].state.id == entered()[0].state.id
    other = read(applicant={"kind": "1", "name": "Trần Thị B"})
    assert other.content() == read().content()
    assert read(summary="khác").content() != read().content()


@pytest.mark.parametrize(("status", "back"), [("5", "4"), ("6", "4")])
def test_one_that_waits_for_its_applicant_knows_what_it_goes_back_to(
    status: str, back: str
) -> None:
    kind = {"5": "request-supplement", "6": "request-fee"}[status]
    history = [
        {"kind": "progress", "status": "4", "at": "2015-03-03"},
        {"kind": kind, "status": status, "at": "2015-03-04", "note": "Bổ sung CMND"},
    ]
    dossier, _ = entered(status=status, steps=history)
    assert dossier.interrupted == (back,)
    assert dossier.fee_open == (status == "6")
    assert (dossier.open_supplement is not None) == (status == "5")
