"""Facts in the monitoring system's forms: every code allowed, nothing personal."""

from datetime import UTC, datetime
from typing import Any, get_args
from urllib.parse import parse_qs

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from common.contracts.codes import DOSSIER_PATTERN
from common.contracts.commands import Channel, Document, Official, ProcedureSummary
from common.contracts.dossier import (
    DossierFact,
    DossierState,
    DossierSubmitted,
    Status,
    StepTaken,
    Supplement,
)
from common.contracts.registry import EVENTS
from common.contracts.usage import Count, UsageMeasured
from metrics_exporter.clients import Pseudonyms, Wire
from simulators.emc import RECORD

PSEUDONYMS = Pseudonyms(SecretStr("a key of chance, forty characters long.."))
WIRE = Wire(7, PSEUDONYMS)
CODE = "000.00.15.H10-260101-0001"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PERSONAL = "PERSON"  # every value that may name or describe a person begins with it here

FACTS = [event for event in EVENTS.values() if issubclass(event, DossierFact)]


def a_fact(**changed: Any) -> DossierFact:
    """A fact; status and number are the step's, everything else the dossier's."""
    status = changed.pop("status", "1")
    step = StepTaken(number=changed.pop("number", 1), kind="submit", status=status, at=NOON)
    known: dict[str, Any] = {
        "code": CODE,
        "agency": "H10.15",
        "procedure": {"code": "1.000123", "name": "Cấp phép", "field": {"code": None, "name": "X"}},
        "channel": "2",
        "applicant_kind": "1",
        "sealed": "v1.k.x",
        "summary": "",
        "status": status,
        "submitted_at": NOON,
    }
    return DossierSubmitted(dossier=DossierState(**{**known, **changed}), step=step)


def record(fact: DossierFact) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(WIRE.record(fact))
    return read


@pytest.mark.parametrize(
    ("status", "emc"),
    [
        ("1", "1"),
        ("2", "1"),
        ("3", "0"),
        ("4", "2"),
        ("5", "0"),
        ("6", "0"),
        ("7", "0"),
        ("8", "0"),
        ("9", "3"),
        ("10", "3"),
    ],
)
def test_each_status_has_its_counterpart(status, emc):
    assert record(a_fact(status=status))["Status"] == emc


def test_no_status_and_no_channel_is_without_counterpart():
    for status in get_args(Status):
        record(a_fact(status=status))
    for channel in get_args(Channel):
        record(a_fact(channel=channel))


@pytest.mark.parametrize(
    ("channel", "reception", "by_post"), [("1", "2", "0"), ("2", "1", "0"), ("3", "2", "2")]
)
def test_the_channel_says_how_a_dossier_came_in(channel, reception, by_post):
    told = record(a_fact(channel=channel))
    assert (told["FormsReception"], told["IsDVCBC"]) == (reception, by_post)


@pytest.mark.parametrize(("online", "payment"), [(None, "0"), (True, "1"), (False, "2")])
def test_a_payment_is_told_once_it_was_made(online, payment):
    assert record(a_fact(paid_online=online))["FormsPayments"] == payment


def test_a_service_level_that_nobody_knows_is_left_out():
    assert "Level" not in record(a_fact())


def test_each_step_has_a_key_of_its_own():
    told = [record(a_fact(number=number))["Data"] for number in (1, 2, 12)]
    assert told == [f"{CODE}/1", f"{CODE}/2", f"{CODE}/12"]


def test_one_dossier_keeps_its_pseudonym_and_another_key_gives_another():
    mine = PSEUDONYMS.of(CODE)
    assert mine == orjson.loads(record(a_fact(status="9", number=8))["User"])["ID_local"]
    assert mine != PSEUDONYMS.of(CODE.replace("0001", "0002"))
    assert mine != Pseudonyms(SecretStr("another key of chance, as long as that")).of(CODE)
    assert CODE not in mine
    assert mine.startswith("p1.")
    assert len(mine) == 43


moments = st.datetimes(timezones=st.just(UTC))
personal = st.text(max_size=20).map(lambda text: f"{PERSONAL}{text}")
maybe = st.none() | personal
officials = st.none() | st.builds(Official, name=personal, title=maybe, department=maybe)
documents = st.lists(
    st.builds(Document, id=personal, name=personal, component=maybe, url=maybe), max_size=2
).map(tuple)
codes = st.from_regex(DOSSIER_PATTERN.replace("$", r"\Z"))
states = st.builds(
    DossierState,
    code=codes,
    agency=st.just("H10.15"),
    procedure=st.builds(
        ProcedureSummary, code=st.just("1.000123"), name=st.just("Cấp phép xây dựng")
    ),
    channel=st.sampled_from(get_args(Channel)),
    sealed=personal,
    summary=personal,
    status=st.sampled_from(get_args(Status)),
    processing_unit=maybe,
    receipt_number=maybe,
    submitted_at=moments,
    paid_online=st.none() | st.booleans(),
    documents=documents,
    fees=st.just(()),
    supplements=st.lists(
        st.builds(
            Supplement, content=personal, requested_by=maybe, documents=documents,
            requested_at=moments,
        ),
        max_size=2,
    ).map(tuple),
    results=st.just(()),
)  # fmt: skip
steps = st.builds(
    StepTaken,
    number=st.integers(min_value=1, max_value=10**6),
    kind=personal,
    status=st.sampled_from(get_args(Status)),
    at=moments,
    official=officials,
    note=maybe,
    flagged=maybe,
)
facts = st.sampled_from(FACTS).flatmap(lambda kind: st.builds(kind, dossier=states, step=steps))


@given(facts)
def test_any_fact_becomes_a_record_of_known_codes_without_a_personal_value(fact):
    wire = WIRE.record(fact)
    told = orjson.loads(wire)
    assert RECORD.complaint(told) is None
    assert told["CodeProfile"] == told["MaHoSo"] == fact.dossier.code
    assert PERSONAL not in wire.decode()


def test_every_kind_of_fact_was_tried():
    assert len(FACTS) == 18


def measured(*counts: tuple[str, int], **changed: Any) -> UsageMeasured:
    known: dict[str, Any] = {
        "service": "gateway",
        "instance": "host-1:77",
        "boot": "b0",
        "interval": 3,
        "started_at": NOON,
        "ended_at": NOON,
        "counts": tuple(Count(name=name, value=value) for name, value in counts),
    }
    return UsageMeasured(**{**known, **changed})


def test_each_count_becomes_an_event_of_the_tracker():
    told = orjson.loads(
        WIRE.counts(measured(("http.GET /v1/dossiers/{code} 2xx", 12), ("events.a&b=c", 0)))
    )
    assert all(request.startswith("?") for request in told["requests"])
    assert [parse_qs(request[1:]) for request in told["requests"]] == [
        {
            "idsite": ["7"],
            "rec": ["1"],
            "e_c": ["gateway"],
            "e_a": [name],
            "e_n": ["host-1:77/b0/3"],
            "e_v": [value],
        }
        for name, value in (("http.GET /v1/dossiers/{code} 2xx", "12"), ("events.a&b=c", "0"))
    ]
