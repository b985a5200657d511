"""Dossiers and steps take the portal's form: as in the golden files, and for whatever comes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from common.contracts.commands import (
    Document,
    Official,
)
from common.contracts.dossier import DossierState, ResultPaper, StepTaken, Supplement
from national_portal_sync.clients import items
from national_portal_sync.clients.fields import PROFILES, Each, Table
from national_portal_sync.clients.items import dossier_item, personal_values, step_item
from simulators.portal_shapes import DOSSIER, STEP

GOLDEN = Path(__file__).parent / "golden" / "portal"
DOSSIERS = sorted(GOLDEN.glob("dossier-*.json"))
STEPS = sorted(GOLDEN.glob("step-*.json"))


def read(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(path.read_text())
    return case


def link(digest: str, name: str) -> str:
    return f"https://cong.example.vn/v1/files/{digest}?n={name}"


def fields_of(value: Any, path: str = "") -> set[str]:
    """Paths of all fields that an item has, at any depth."""
    found: set[str] = set()
    for name, part in value.items():
        found.add(path + name)
        for one in part if isinstance(part, list) else ():
            found |= fields_of(one, f"{path}{name}.")
    return found


def fields_in(table: Table, path: str = "") -> set[str]:
    """Paths of all fields that a table can fill."""
    found: set[str] = set()
    for field in table.fields:
        found.add(path + field.name)
        if isinstance(field.form, Each):
            found |= fields_in(field.form.table, f"{path}{field.name}.")
    return found


def test_every_field_of_the_lists_is_in_a_golden_file() -> None:
    shown = set().union(*(fields_of(read(path)["item"]) for path in DOSSIERS))
    assert shown == fields_in(items.DOSSIER)
    assert set().union(*(fields_of(read(path)["item"]) for path in STEPS)) == fields_in(items.STEP)


def test_every_field_that_the_portal_is_known_to_take_is_in_the_tables() -> None:
    assert {field.name for field in items.DOSSIER.fields} == set(DOSSIER.fields)
    assert {field.name for field in items.STEP.fields} == set(STEP.fields)


def test_a_profile_has_what_the_ones_before_it_have() -> None:
    case = read(GOLDEN / "dossier-supplement-received-assumed.json")
    dossier = DossierState.model_validate(
        {**case["dossier"], "vneid_verified": True, "databases": ["DC"]}
    )
    basic, newer, assumed = (
        fields_of(dossier_item(dossier, case["applicant"], profile)) for profile in PROFILES
    )
    assert basic < newer < assumed
    assert {"NgayNopHoSo", "DSKetNoiCSDL"} <= newer - basic
    assert {path.split(".")[1] for path in assumed - newer} == {
        "DanhSachGiayToBoSung",
        "DanhSachLePhiBoSung",
    }


def test_every_status_has_a_golden_dossier() -> None:
    assert {read(path)["dossier"]["status"] for path in DOSSIERS} == set(map(str, range(1, 11)))


@pytest.mark.parametrize("path", DOSSIERS, ids=lambda path: path.stem)
def test_a_dossier_becomes_exactly_this(path: Path) -> None:
    case = read(path)
    item = dossier_item(
        DossierState.model_validate(case["dossier"]),
        case["applicant"],
        case.get("profile", "2023"),
        link if case.get("link") else None,
    )
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
        "https://tep.example.vn/tl-1",
    }
