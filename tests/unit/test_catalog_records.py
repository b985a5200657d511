"""The portal's records as procedures: whatever is tolerable converts, nothing is made up."""

from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.clients.conversion import SILENT, Unreadable, agency_of, fields_of, procedure_of
from catalog.domain.catalogue import PublishedProcedure
from catalog.use_cases.importing import said_by

RECORD: dict[str, Any] = {
    "ID": "4711",
    "MaTTHC": "1.000123",
    "TENTTHC": "Cấp giấy phép xây dựng",
    "MACOQUANCONGBO": "000.00.00.G17",
    "LOAITTHC": "TTHC chuẩn",
    "MOTADOITUONGTHUCHIEN": "Chủ đầu tư",
    "DIACHITIEPNHAN": "Bộ phận Một cửa",
    "QUYETDINH": "12/QĐ-BXD",
    "YEUCAU": "Phù hợp quy hoạch",
    "TUKHOA": "nhà ở; công trình",
    "TRANGTHAI": "1",
    "TRINHTUTHUCHIEN": [{"TRUONGHOP": "", "TRINHTU": [{"TENTRINHTU": "Nộp hồ sơ"}]}],
    "CAPTHUCHIEN": [{"CAPTHUCHIEN": "2", "TENCAP": "Cấp Tỉnh"}, {"TENCAP": "Cấp Xã"}],
    "LINHVUCTHUCHIEN": [{"MALINHVUC": "G17-XD01", "TENLINHVUC": "Hoạt động xây dựng"}],
    "CACHTHUCTHUCHIEN": [
        {
            "KENH": "Trực tiếp",
            "THOIGIAN": [
                {
                    "THOIGIANGIAIQUYET": "20",
                    "DONVITINH": "Ngày làm việc",
                    "MOTA": "kể từ ngày nhận đủ hồ sơ",
                    "PHILEPHI": [
                        {"MAPHILEPHI": "LP1", "SOTIEN": "150.000", "DONVI": "Đồng", "MOTA": ""}
                    ],
                }
            ],
        },
        {"KENH": "2", "THOIGIAN": {"THOIGIANGIAIQUYET": 15, "DONVITINH": "Ngày làm việc"}},
    ],
    "DOITUONGTHUCHIEN": [{"MADOITUONG": "ĐT1", "TENDOITUONG": "Công dân Việt Nam"}],
    "THANHPHANHOSO": [
        {
            "TRUONGHOP": "Xây mới",
            "GIAYTO": [
                {
                    "MAGIAYTO": "GT1",
                    "MA_KQ_THAYTHE": "KQ9",
                    "SOBANCHINH": "1",
                    "SOBANSAO": 2,
                    "TENGIAYTO": "Đơn đề nghị",
                    "TENMAUDON": "Mẫu số 1",
                    "URL": "mau-1.docx",
                }
            ],
        }
    ],
    "KETQUATHUCHIEN": [{"MAKETQUA": "KQ1", "TENKETQUA": "Giấy phép"}],
    "CANCUPHAPLY": [
        {
            "SOVANBAN": "15/2021/NĐ-CP",
            "TENVANBAN": "Quản lý dự án",
            "COQUANBANHANH": "Chính phủ",
            "NGAYBANHANH": "20210303000000",
            "NGAYHIEULUC": "03/03/2021",
        }
    ],
    "COQUANTHUCHIEN": [{"MADONVI": "H56.14", "TENDONVI": "Sở Xây dựng"}],
    "COQUANCOTHAMQUYEN": [{"MADONVI": "000.00.00.H56", "TENDONVI": "UBND tỉnh"}],
    "COQUANPHOIHOP": None,
    "TRUONGMOI": {"nobody": "knows"},
}


def test_a_record_becomes_a_procedure_with_all_that_it_says():
    found: Any = procedure_of(RECORD, {"G17": "Bộ Xây dựng"})
    assert (found.code, found.name, found.active) == ("1.000123", "Cấp giấy phép xây dựng", True)
    assert (found.promulgator.code, found.promulgator.name) == ("G17", "Bộ Xây dựng")
    assert (found.field.code, found.field.code_from) == ("G17-XD01", "portal")
    assert found.levels == ("province", "commune")
    assert [(way.channel, way.time.quantity) for way in found.ways_in] == [("1", 20), ("2", 15)]
    assert (found.longest_time.quantity, found.longest_time.unit) == (20, "working-day")
    assert (found.fee.kind, found.fee.amount, found.has_fee) == ("fixed", 150_000, True)
    (paper,) = found.documents
    assert (paper.originals, paper.copies, paper.case) == (1, 2, "Xây mới")
    assert (paper.form, paper.form_url, paper.replaced_by) == ("Mẫu số 1", "mau-1.docx", "KQ9")
    (law,) = found.legal_basis
    assert (law.number, law.issued, law.effective) == (
        "15/2021/NĐ-CP",
        date(2021, 3, 3),
        date(2021, 3, 3),
    )
    assert [(one.role, one.code) for one in found.agencies] == [
        ("executing", "H56.14"),
        ("competent", "H56"),
    ]
    assert found.keywords == ("nhà ở", "công trình")
    assert [step.name for step in found.steps] == ["Nộp hồ sơ"]
    assert found.requirements == "Phù hợp quy hoạch"
    # A record has no place for these: nothing is made up.
    assert all(getattr(found, name) in (None, ()) for name in SILENT)


@pytest.mark.parametrize(
    ("charges", "kind"),
    [
        ([], "unknown"),
        ([{"SOTIEN": "0", "DONVI": "Đồng"}], "none-recorded"),
        ([{"SOTIEN": "0", "DONVI": "Đồng", "MOTA": "Do HĐND tỉnh quy định"}], "see-note"),
        ([{"SOTIEN": "theo quy định"}], "see-note"),
        ([{"SOTIEN": "150", "DONVI": "Đồng"}], "suspect"),
        ([{"SOTIEN": "50000"}, {"SOTIEN": "1.000.000"}], "tiered"),
        ([{"SOTIEN": "20", "DONVI": "USD"}], "see-note"),
    ],
)
def test_a_fee_is_called_what_the_record_makes_sure_of(charges, kind):
    way = {"KENH": "1", "THOIGIAN": [{"PHILEPHI": charges}]}
    assert procedure_of({**RECORD, "CACHTHUCTHUCHIEN": [way]}).fee.kind == kind


def test_times_in_different_units_are_not_compared():
    rows = [
        {"THOIGIANGIAIQUYET": "3", "DONVITINH": "Ngày"},
        {"THOIGIANGIAIQUYET": "6,25", "DONVITINH": "Ngày làm việc"},
    ]
    found: Any = procedure_of({**RECORD, "CACHTHUCTHUCHIEN": [{"KENH": "3", "THOIGIAN": rows}]})
    assert found.time.unit == "mixed"
    assert found.longest_time is None
    assert [way.time.quantity for way in found.ways_in] == [3, 6.25]


def test_a_channel_that_nobody_knows_is_left_out_and_said_to_be():
    found: Any = procedure_of({**RECORD, "CACHTHUCTHUCHIEN": [{"KENH": "Thần giao"}]})
    assert found.ways_in == ()
    assert found.note == "channel not understood: Thần giao"


def test_a_list_that_is_missing_is_not_an_empty_one():
    empty = procedure_of({**RECORD, "KETQUATHUCHIEN": []})
    missing = procedure_of({key: one for key, one in RECORD.items() if key != "KETQUATHUCHIEN"})
    assert (empty.results, missing.results) == ((), None)


def test_what_is_not_public_is_not_offered():
    assert not procedure_of({**RECORD, "TRANGTHAI": "0"}).active
    assert not procedure_of({**RECORD, "MaTTHC": " 1.014325"}).active


@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        None,
        "1.000123",
        {"MaTTHC": "1.000123"},
        {"MaTTHC": "1.000123", "TENTTHC": "Không có lĩnh vực"},
        {**RECORD, "MaTTHC": ""},
        {**RECORD, "MaTTHC": "1.000123/../x"},
        {**RECORD, "MaTTHC": "1" * 61},
        {**RECORD, "TENTTHC": " \x00 "},
    ],
)
def test_what_cannot_be_a_procedure_is_told_and_not_repaired(record):
    with pytest.raises(Unreadable):
        procedure_of(record)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*RECORD, "GIAYTO", "THOIGIAN", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
LISTS = sorted(key for key, value in RECORD.items() if isinstance(value, list))
KEPT = {"MaTTHC", "TENTTHC", "LINHVUCTHUCHIEN"}


@given(
    st.dictionaries(st.sampled_from(sorted(RECORD.keys() - KEPT)), plain, max_size=8),
    st.dictionaries(
        st.text(max_size=12).filter(
            lambda key: key.strip().upper() not in RECORD and key.strip().upper() != "MATTHC"
        ),
        plain,
        max_size=3,
    ),
)
def test_any_tolerable_record_converts_and_unknown_keys_change_nothing(spoilt, unknown):
    record = {**RECORD, **spoilt}
    found: Any = procedure_of(record)
    assert found == procedure_of({**unknown, **record})
    # What is served of it is of the declared form, and is what an import takes back.
    served = {
        **found.model_dump(mode="json"),
        "version": 3,
        "valid_from": None,
        "valid_to": None,
        "origin": "national",
    }
    PublishedProcedure.model_validate(served)
    origin, said = said_by(orjson.dumps(served), {})
    assert (origin, said.content) == ("operator", found)


@given(st.sampled_from(["lower", "upper", "title"]))
def test_keys_are_taken_in_any_case(case):
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {getattr(key, case)(): changed(one) for key, one in value.items()}
        return [changed(one) for one in value] if isinstance(value, list) else value

    assert procedure_of(changed(RECORD)) == procedure_of(RECORD)


def test_agencies_and_fields_come_with_their_own_codes():
    agency = agency_of({"MADONVI": "000.00.14.H56", "TENDONVI": "Sở Xây dựng"})
    assert (agency.code, agency.legacy_code, agency.kind) == ("H56.14", "000.00.14.H56", None)
    with pytest.raises(Unreadable):
        agency_of({"MADONVI": "so-xay-dung", "TENDONVI": "Sở"})
    listed = fields_of([{"MALINHVUC": "B", "TENLINHVUC": "b"}, {"MALINHVUC": "A"}, 7], "2026-11-21")
    assert [item.code for item in listed.items] == ["B"]
    assert listed.basis == "national-portal"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'"1.000123"',
        b'{"code": "1.000123"}',
        b'{"code": "1.1", "name": "a\\u0000b", "field": {"name": "x"}}',
        b'{"procedure": {"code": "1.000123"}, "valid_from": "2026-01-01"}',
        b'{"agency": {"code": "H56", "name": "x", "confidence": "high"}, "until": "x"}',
        b'{"code": "1/2", "name": "a", "field": {"name": "x"}, "promulgator": {"name": "y"}}',
        None,
    ],
)
def test_a_line_that_is_no_entry_is_a_fault_with_a_reason(line):
    with pytest.raises(Unreadable, match=r"."):
        said_by(line, {})
