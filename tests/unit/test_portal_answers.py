"""Answers of the portal are read tolerantly, and never taken for more than they say."""

import unicodedata
from typing import Any

import pytest

from national_portal_sync.clients.answers import Verdict, holds, per_item, read

ONE, TWO = "000.00.15.H10-261102-0001", "H10.15-20261102-0000002"
V = Verdict


@pytest.mark.parametrize(
    ("code", "message", "verdict"),
    [
        ("0", "", V.DONE),
        ("00", "", V.DONE),
        (0, None, V.DONE),
        ("0", "Thành công", V.DONE),
        ("00", "Đồng bộ dữ liệu thành công", V.DONE),
        ("", "Đồng bộ dữ liệu thành công", V.DONE),
        (None, "THÀNH CÔNG", V.DONE),
        ("1", "Cập nhật thành công", V.DONE),
        ("0", f"Hồ sơ {ONE} đã tồn tại, cập nhật thành công", V.DONE),
        ("3", f"Hồ sơ {ONE} đã tồn tại", V.EXISTS),
        ("-3", f"Hồ sơ {ONE} đã tồn tại", V.EXISTS),
        ("0", f"Hồ sơ {ONE} đã tồn tại", V.EXISTS),
        ("", "HỒ SƠ ĐÃ TỒN TẠI", V.EXISTS),
        ("-1", f"Hồ sơ {ONE} không tồn tại", V.MISSING),
        ("9", "Hồ sơ chưa tồn tại trên hệ thống", V.MISSING),
        ("-1", "Mã thủ tục 1.000123 không tồn tại", V.REFUSED),
        ("-3", "Phiên làm việc không hợp lệ hoặc đã hết hạn", V.SESSION_LOST),
        ("401", "Invalid session", V.SESSION_LOST),
        ("-3", "", V.UNCLEAR),
        ("3", None, V.UNCLEAR),
        ("3", "Dữ liệu không hợp lệ", V.REFUSED),
        ("-1", "", V.REFUSED),
        ("-2", "data[0].MaTTHC: thiếu trường bắt buộc", V.REFUSED),
        ("99", "Cập nhật không thành công, vui lòng thử lại", V.REFUSED),
        ("", "Đồng bộ thất bại", V.REFUSED),
        ("0", "Cập nhật không thành công", V.UNCLEAR),
        ("00", "Đồng bộ thất bại", V.UNCLEAR),
        ("", "", V.UNCLEAR),
        (None, None, V.UNCLEAR),
        ({"a": 1}, ["b"], V.UNCLEAR),
    ],
)
def test_what_an_answer_means(code: Any, message: Any, verdict: Verdict) -> None:
    assert read({"error_code": code, "message": message}).verdict is verdict


def test_letters_may_come_decomposed() -> None:
    message = unicodedata.normalize("NFD", "Hồ sơ đã tồn tại")
    assert read({"error_code": "3", "message": message}).verdict is V.EXISTS


def test_an_empty_object_says_nothing() -> None:
    assert read({}).verdict is V.UNCLEAR


def test_the_codes_that_a_message_names_are_whole_codes() -> None:
    answer = read({"error_code": "3", "message": f"Hồ sơ {ONE}23, {TWO} đã tồn tại"})
    assert answer.names() == {f"{ONE}23", TWO}
    assert read({"message": f"Hồ sơ {ONE}2345 đã tồn tại"}).names() == set()


def told(*entries: Any, code: str = "0") -> Any:
    return read({"error_code": code, "result": list(entries)})


def entry(code: str, error_code: str, message: str = "") -> dict[str, str]:
    return {"MaHoSo": code, "error_code": error_code, "message": message}


def verdicts(answer: Any, *codes: str) -> list[Verdict | None] | None:
    found = per_item(answer, codes)
    return None if found is None else [one.verdict if one else None for one in found]


def test_each_item_gets_its_own_part_of_an_answer() -> None:
    answer = told(entry(TWO, "3", "đã tồn tại"), entry(ONE, "0"))
    assert verdicts(answer, ONE, TWO) == [V.DONE, V.EXISTS]


def test_parts_in_the_order_of_the_items_are_theirs_one_by_one() -> None:
    answer = told(entry(ONE, "0"), entry(ONE, "-2", "sai"), entry(TWO, "0"))
    assert verdicts(answer, ONE, ONE, TWO) == [V.DONE, V.REFUSED, V.DONE]


def test_of_an_item_without_a_part_or_with_two_nothing_is_said() -> None:
    answer = told(entry(ONE, "0"), entry(ONE, "-2", "sai"))
    assert verdicts(answer, ONE, TWO) == [None, None]


@pytest.mark.parametrize("result", [None, "x", [], ["x"], [{"MaHoSo": ONE}], [[1]]])
def test_a_result_of_another_kind_says_nothing_of_items(result: Any) -> None:
    assert per_item(read({"error_code": "0", "result": result}), [ONE]) is None


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ({"error_code": "0", "result": [{"MaHoSo": ONE}]}, True),
        ({"error_code": "0", "result": [{"TrangThaiHoSo": "2"}]}, True),
        ({"error_code": "0", "result": []}, False),
        ({"error_code": "-1", "message": f"Hồ sơ {ONE} không tồn tại"}, False),
        ({"error_code": "3", "message": f"Hồ sơ {ONE} đã tồn tại"}, True),
        ({"error_code": "0", "result": [{"MaHoSo": TWO}]}, None),
        ({"error_code": "0", "result": ["x"]}, None),
        ({"error_code": "0"}, None),
        ({"error_code": "-4", "message": "Dịch vụ không được hỗ trợ"}, None),
        ({"error_code": "-4", "result": []}, None),
        ({}, None),
    ],
)
def test_a_dossier_is_there_or_not_only_where_the_portal_says_so(
    answer: dict[str, Any], known: bool | None
) -> None:
    assert holds(read(answer), ONE) is known


def test_a_reason_for_operators_holds_nothing_personal() -> None:
    message = (
        f"Hồ sơ {ONE}: SoGiayToChuHoSo 010099000123 của NGUYỄN VĂN AN, an@example.vn, "
        "số khác 0912345678, tk-0001 không hợp lệ"
    )
    reason = read({"error_code": "-2", "message": message}).reason(
        ["Nguyễn Văn An", "010099000123", "tk-0001"]
    )
    assert ONE in reason
    assert reason.startswith("-2: ")
    for secret in ("010099000123", "nguyễn văn an", "an@example.vn", "0912345678", "tk-0001"):
        assert secret not in reason.casefold()


def test_a_reason_is_short() -> None:
    assert len(read({"error_code": "-2", "message": "sai " * 1000}).reason()) <= 300
