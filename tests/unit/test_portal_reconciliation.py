"""Comparing one dossier: only what is shown counts, and no value leaves the comparison."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from national_portal_sync.clients.checking import FIELDS
from national_portal_sync.clients.items import VIETNAM
from national_portal_sync.domain.reconciliation import Kind, Seen, compare, content_hash, day_of

CODE = "H10.15-261102-0001"
SENT = {
    "MaHoSo": CODE,
    "TrangThaiHoSo": "4",
    "ChuHoSo": "Nguyễn Văn Kín",
    "MaTTHC": "1.004227",
    "TaiLieuNop": [{"TepDinhKemId": "1", "DuongDanTaiTepTin": "https://x/1?s=abc"}],
}


def found(shown: dict[str, Any] | None, sent: dict[str, Any] | None = SENT) -> list[Kind]:
    seen = Seen(shown is not None, shown or {})
    return [one.kind for one in compare(CODE, sent, "4", seen, FIELDS).differences]


@pytest.mark.parametrize(
    ("shown", "kinds"),
    [
        (SENT, []),
        ({"TrangThaiHoSo": "4"}, []),
        ({"TrangThaiHoSo": 4, "TruongLa": "x"}, []),
        ({"ChuHoSo": "  Nguye\u0302\u0303n Va\u0306n Ki\u0301n "}, []),
        ({"TaiLieuNop": [{"TepDinhKemId": "1", "DuongDanTaiTepTin": "https://x/1?s=new"}]}, []),
        ({"TaiLieuNop": [{"TepDinhKemId": "2"}]}, [Kind.DIFFERENT_CONTENT]),
        ({"TrangThaiHoSo": "9"}, [Kind.DIFFERENT_STATUS]),
        ({"TrangThaiHoSo": "", "MaTTHC": "x"}, [Kind.DIFFERENT_STATUS, Kind.DIFFERENT_CONTENT]),
        ({"MaHoSo": CODE}, [Kind.NOT_CHECKABLE]),
        ({}, [Kind.NOT_CHECKABLE]),
        (None, [Kind.MISSING_THERE]),
    ],
)
def test_only_what_the_portal_shows_is_compared(
    shown: dict[str, Any] | None, kinds: list[Kind]
) -> None:
    assert found(shown) == kinds


def test_an_answer_that_says_nothing_is_no_absence() -> None:
    one = compare(CODE, SENT, "4", Seen(None, {}), FIELDS)
    assert [difference.kind for difference in one.differences] == [Kind.NOT_CHECKABLE]


def test_without_a_kept_snapshot_the_status_is_still_compared() -> None:
    assert found({"TrangThaiHoSo": "9", "MaTTHC": "x"}, None) == [Kind.DIFFERENT_STATUS]


def test_what_was_sent_and_is_not_shown_is_named() -> None:
    one = compare(CODE, SENT, "4", Seen(True, {"TrangThaiHoSo": "4"}), FIELDS)
    assert one.compared == {"TrangThaiHoSo"}
    assert one.not_shown == {"ChuHoSo", "MaTTHC", "TaiLieuNop"}


def test_a_finding_names_fields_and_holds_no_personal_value() -> None:
    shown = {"ChuHoSo": "Lê Thị Khác", "MaTTHC": "1.000001"}
    (one,) = compare(CODE, SENT, "4", Seen(True, shown), FIELDS).differences
    assert one.fields == ("ChuHoSo", "MaTTHC")
    assert "Kín" not in repr(one)
    assert "Khác" not in repr(one)
    assert one.found_sha256 == content_hash({"MaTTHC": "1.000001"}, FIELDS)


def test_the_day_is_vietnams_and_of_reception_once_there_is_one() -> None:
    late = datetime(2026, 11, 2, 18, tzinfo=UTC)
    assert day_of(late, None, VIETNAM) == date(2026, 11, 3)
    assert day_of(late, datetime(2026, 11, 5, tzinfo=UTC), VIETNAM) == date(2026, 11, 5)
