"""Dossiers and steps take the portal's form: as in the golden files, and for whatever comes."""

import json
import string
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.contracts.commands import Document, Fee, Official, ProcedureSummary
from common.contracts.dossier import DossierState, ResultPaper, StepTaken, Supplement
from national_portal_sync.clients.items import dossier_item, personal_values, step_item
from simulators.portal_shapes import DOSSIER, STEP

GOLDEN = Path(__file__).parent / "golden" / "portal"
DOSSIERS = sorted(GOLDEN.glob("dossier-*.json"))
STEPS = sorted(GOLDEN.glob("step-*.json"))


def read(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text())
    return case


def test_every_status_has_a_golden_dossier() -> None:
    assert {read(path)["dossier"]["status"] for path in DOSSIERS} == set(map(str, range(1, 11)))


@pytest.mark.parametrize("path", DOSSIERS, ids=lambda path: path.stem)
def test_a_dossier_becomes_exactly_this(path: Path) -> None:
    case = read(path)
    item = dossier_item(DossierState.model_validate(case["dossier"]), case["applicant"])
    assert item == case["item"]
    assert DOSSIER.complaint(item) is None


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_a_step_becomes_exactly_this(path: Path) -> None:
    case = read(path)
    item = step_item(case["code"], StepTaken.model_validate(case["step"]))
    assert item == case["item"]
    assert STEP.complaint(item) is None


def state(**changed: Any) -> DossierState:
    return DossierState.model_validate(
        {**read(GOLDEN / "dossier-nothing-optional.json")["dossier"], **changed}
    )


@pytest.mark.parametrize(
    "identity",
    [
        None,
        {"type": "citizen-id", "number": ""},
        {"type": "citizen-id", "number": "01009900012"},
        {"type": "old-citizen-id", "number": "0100990001234"},
        {"type": "citizen-id", "number": "O10099000123"},
        {"type": "something-new", "number": "010099000123"},
        {},
    ],
)
def test_an_identity_that_is_not_known_is_not_made_up(identity: Any) -> None:
    item = dossier_item(state(), {"name": "Nguyễn Thị Chi", "identity": identity})
    assert "DinhDanhCHS" not in item
    assert item.get("SoGiayToChuHoSo") == ((identity or {}).get("number") or None)


@pytest.mark.parametrize("channel", ["1", "3"])
def test_the_portal_account_is_told_only_of_who_came_online(channel: str) -> None:
    applicant = {"name": "A", "portal_account": "tk-1"}
    assert dossier_item(state(channel="2"), applicant)["MaDoiTuong"] == "tk-1"
    assert "MaDoiTuong" not in dossier_item(state(channel=channel), applicant)


def test_moments_are_told_in_vietnams_time_whatever_zone_they_came_in() -> None:
    told = {
        dossier_item(state(received_at=moment), {})["NgayTiepNhan"]
        for moment in (
            datetime(2026, 1, 1, 17, 0, tzinfo=UTC),
            datetime(2026, 1, 2, 0, 0, tzinfo=timezone(timedelta(hours=7))),
            datetime(2026, 1, 1, 7, 0, tzinfo=timezone(timedelta(hours=-10))),
        )
    }
    assert told == {"20260102000000"}


def test_a_summary_is_cut_and_nothing_else_is() -> None:
    item = dossier_item(state(summary="ă" * 1001), {"name": "ô" * 300})
    assert item["TrichYeuHoSo"] == "ă" * 1000
    assert item["ChuHoSo"] == "ô" * 300


def test_an_unsigned_result_is_no_result_yet() -> None:
    papers = [
        ResultPaper(id=kind, name="Giấy phép", signing=kind)
        for kind in ("none", "asked", "signed", "failed", "held")
    ]
    shown = dossier_item(state(results=papers), {})["DanhSachGiayToKetQua"]
    assert [paper["GiayToId"] for paper in shown] == ["none", "signed"]


def test_papers_of_a_supplement_are_handed_in_once() -> None:
    first = Document(id="tl-1", name="Đơn")
    late = Document(id="tl-2", name="Bản sao")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    supplement = Supplement(
        number=1, content="Bản sao", requested_at=moment, documents=(first, late)
    )
    item = dossier_item(state(documents=[first], supplements=[supplement]), {})
    assert [paper["TepDinhKemId"] for paper in item["TaiLieuNop"]] == ["tl-1", "tl-2"]


@pytest.mark.parametrize("official", [None, Official(name=""), Official(name="  \t ")])
def test_a_step_without_an_official_is_no_step_for_the_portal(official: Official | None) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    step = StepTaken(number=1, kind="receive", status="2", at=moment, official=official)
    with pytest.raises(ValueError, match="without an official"):
        step_item("H10-260101-0001", step)


def test_personal_values_are_those_that_were_sent() -> None:
    case = read(GOLDEN / "dossier-status-01.json")
    item = dossier_item(DossierState.model_validate(case["dossier"]), case["applicant"])
    assert set(personal_values(item)) == {
        "Nguyễn Văn An",
        "010099000123",
        "tk-0001",
        "an@example.vn",
        "0900000001",
    }


texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x1EF9, exclude_categories=["Cs"]), max_size=1200
)
names = texts.filter(str.strip)
moments = st.integers(200_000_000, 7_000_000_000).map(
    lambda second: datetime.fromtimestamp(second, UTC)
)
maybe = st.none()
documents = st.builds(
    Document,
    id=names,
    name=texts,
    component=maybe | texts,
    url=maybe | texts,
    digitised=maybe | st.booleans(),
)
states = st.builds(
    DossierState,
    code=st.from_regex(r"\AH\d{2}\.\d{2}-26\d{4}-\d{4,7}\Z"),
    agency=st.from_regex(r"\AH\d{2}(\.\d{2})?\Z"),
    procedure=st.builds(
        ProcedureSummary,
        code=st.from_regex(r"\A\d\.\d{6}\Z"),
        name=names,
        field=st.fixed_dictionaries({"code": maybe | names, "name": names}),
    ),
    channel=st.sampled_from("123"),
    applicant_kind=st.sampled_from("1234"),
    sealed=st.just("v1.k.x"),
    summary=texts,
    status=st.sampled_from([str(number) for number in range(1, 11)]),
    processing_unit=maybe | names,
    receipt_number=maybe | texts,
    submitted_at=moments,
    received_at=maybe | moments,
    due_at=maybe | moments,
    finished_at=maybe | moments,
    returned_at=maybe | moments,
    refused_at=maybe | moments,
    return_method=maybe | st.sampled_from("01"),
    paid_online=maybe | st.booleans(),
    documents=st.lists(documents, max_size=3).map(tuple),
    fees=st.lists(
        st.builds(
            Fee, code=maybe | texts, name=texts, amount=st.integers(0, 10**12), kind=maybe | texts
        ),
        max_size=3,
    ).map(tuple),
    supplements=st.lists(
        st.builds(
            Supplement,
            number=st.integers(1, 99),
            content=texts,
            requested_at=moments,
            requested_by=maybe | texts,
            given_at=maybe | moments,
            documents=st.lists(documents, max_size=2).map(tuple),
            due_before=maybe | moments,
            due_after=maybe | moments,
        ),
        max_size=2,
    ).map(tuple),
    results=st.lists(
        st.builds(
            ResultPaper,
            id=names,
            name=texts,
            component=maybe | texts,
            file=maybe | texts,
            signing=st.sampled_from(["none", "asked", "signed", "failed", "held"]),
        ),
        max_size=3,
    ).map(tuple),
)
digits = st.text(string.digits, max_size=14)
applicants = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "identity": maybe
        | st.fixed_dictionaries(
            {
                "type": st.sampled_from(["citizen-id", "old-citizen-id", "passport", "tax-code"]),
                "number": digits,
            }
        ),
        "portal_account": maybe | texts,
        "email": maybe | texts,
        "phone": maybe | texts,
        "address": maybe | texts,
    },
)

NOT_TEXT = {"HoSoBoSungId": int, "TrangThaiBoSung": bool}


def check_values(item: dict[str, Any]) -> None:
    for name, value in item.items():
        assert value is not None
        if isinstance(value, list):
            assert value, f"{name} is empty"
            for part in value:
                check_values(part)
        else:
            assert type(value) is NOT_TEXT.get(name, str), name


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(states, applicants)
def test_whatever_dossier_there_is_takes_the_portals_form(
    dossier: DossierState, applicant: dict[str, Any]
) -> None:
    item = dossier_item(dossier, applicant)
    assert DOSSIER.complaint(item) is None
    check_values(item)
    assert len(item["TrichYeuHoSo"]) <= 1000
    identity = applicant.get("identity") or {}
    for told in item.get("DinhDanhCHS", []):
        assert told["SoDinhDanh"] == identity["number"]
        wanted = {"1": ("citizen-id", 12), "2": ("old-citizen-id", 9)}[told["LoaiDinhDanh"]]
        assert (identity["type"], len(told["SoDinhDanh"])) == wanted
    for name in ("SoGiayToChuHoSo", "MaDoiTuong", "ChuHoSo"):
        assert item.get(name) != ""


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        StepTaken,
        number=st.integers(1, 500),
        kind=st.just("progress"),
        status=st.sampled_from("123456789"),
        at=moments,
        official=st.builds(Official, name=names, title=maybe | texts, department=maybe | texts),
        note=maybe | texts,
        started_at=maybe | moments,
        due_at=maybe | moments,
    )
)
def test_whatever_step_there_is_takes_the_portals_form(step: StepTaken) -> None:
    item = step_item("H10-260101-0001", step)
    assert STEP.complaint(item) is None
    check_values(item)
    assert step.official is not None
    assert item["NguoiXuLy"] in step.official.name
