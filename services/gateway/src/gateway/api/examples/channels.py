"""Agencies' channels, their statements, and the conformance report."""

from gateway.api.examples.form import AGENCY, Told

_CHANNEL = {"kind": "portal-vi", "host": "dichvucong.quangninh.gov.vn", "name": "Cổng DVC tỉnh"}
_REGISTERED = {
    **_CHANNEL,
    "id": "cong-tinh",
    "registered_by": "tinh-demo",
    "registered_at": "2026-11-22T02:00:00Z",
}
_STATEMENT = {
    "text": "Cổng có giao diện cho người khuyết tật.",
    "document": "123/BC-UBND",
    "dated": "2026-11-01",
}
_GIVEN = {
    **_STATEMENT,
    "part": "c.accessibility",
    "given_by": "tinh-demo",
    "given_at": "2026-11-22T02:00:00Z",
}
_NAMED = {"code": AGENCY, "name": "UBND tỉnh Quảng Ninh", "active": True}
_REPORT = {
    "agency": _NAMED,
    "on": "2026-11-22",
    "generated_at": "2026-11-22T02:52:12Z",
    "rules": {
        "id": "nd-42-2022-13-2",
        "instrument": "Nghị định 42/2022/NĐ-CP",
        "article": "Điều 13 khoản 2",
        "effective_from": "2022-08-15",
        "effective_to": None,
        "basis": "law",
        "confidence": "high",
        "source": "Nghị định 42/2022/NĐ-CP, Điều 13 khoản 2 điểm a-e; nội dung được tóm tắt",
        "note": None,
        "exchange_days": 7,
        "check_days": 3,
        "measures_source": "Ngưỡng do hệ thống này chọn; nghị định không nêu con số.",
    },
    "notices": [],
    "points": [
        {
            "id": "a",
            "label": "13.2.a",
            "name": "Tên miền đúng dạng và truy cập được qua IPv6",
            "name_en": "Domains of the prescribed form, reachable over IPv6",
            "state": "unknown",
            "parts": [
                {
                    "id": "a.domain-vi",
                    "name": "Tên miền tiếng Việt dạng dichvucong.<tên>.gov.vn",
                    "name_en": "Vietnamese domain of the form dichvucong.<name>.gov.vn",
                    "decides": True,
                    "state": "unknown",
                    "reason": "Chưa đăng ký kênh nào thuộc loại này",
                    "reason_en": "No channel of this kind is registered",
                    "at": None,
                    "evidence": [],
                }
            ],
        }
    ],
}
_PAGE = "<!doctype html><html lang=vi><title>Điều 13</title><h1>UBND tỉnh Quảng Ninh</h1></html>"
_NO_AGENCY, _NO_CHANNEL = "unknown-agency-404", "unknown-channel"

TOLD = {
    "list_channels": Told(
        "Tất cả kênh mà cơ quan đã đăng ký.",
        answers={200: {"channels": {"items": [_REGISTERED]}}},
        refusals=(_NO_AGENCY,),
    ),
    "read_channel": Told(
        "Một kênh của cơ quan.",
        answers={200: {"channel": _REGISTERED}},
        refusals=(_NO_AGENCY, _NO_CHANNEL),
    ),
    "put_channel": Told(
        "Đăng ký hoặc sửa kênh của cơ quan mà hệ thống này được làm việc.",
        request={"portal": _CHANNEL},
        answers={200: {"changed": _REGISTERED}, 201: {"registered": _REGISTERED}},
        refusals=(_NO_AGENCY, "agency-closed", "no-portal", "too-many-channels"),
    ),
    "delete_channel": Told(
        "Xóa kênh của cơ quan mà hệ thống này được làm việc.",
        refusals=(_NO_AGENCY, _NO_CHANNEL),
    ),
    "put_statement": Told(
        "Tự khai về một nội dung của báo cáo mà máy không kiểm tra được.",
        request={"statement": _STATEMENT},
        answers={200: {"given": _GIVEN}, 201: {"given": _GIVEN}},
        refusals=(_NO_AGENCY, "agency-closed"),
    ),
    "delete_statement": Told(
        "Rút lại nội dung đã tự khai.",
        refusals=(_NO_AGENCY, "unknown-statement"),
    ),
    "conformance_page": Told(
        "Báo cáo dạng trang để in (A4).",
        answers={200: {"page": _PAGE}},
        refusals=(_NO_AGENCY, "no-rules"),
    ),
    "read_conformance": Told(
        "Từng điểm của NĐ 42/2022 Điều 13.2 cùng trạng thái, bằng chứng và thời điểm; `Accept: "
        "text/html` cho trang để in.",
        answers={200: {"report": _REPORT, "page": _PAGE}},
        refusals=(_NO_AGENCY, "no-rules"),
    ),
    "list_conformance": Told(
        "Trạng thái từng điểm của mọi cơ quan.",
        answers={
            200: {
                "page": {
                    "on": "2026-11-22",
                    "items": [{"agency": _NAMED, "states": {"a": "unknown", "b": "met"}}],
                    "next": AGENCY,
                }
            }
        },
        refusals=("no-rules",),
        parameters={"after": AGENCY},
    ),
}
