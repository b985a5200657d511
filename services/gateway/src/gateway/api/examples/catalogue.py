"""The public catalogue: excerpts of what it answers, with facts that it really holds."""

from gateway.api.examples.form import CURSOR, PROCEDURE, Told

_NAME = "Cấp lại Giấy chứng nhận đủ điều kiện thương nhân xuất khẩu, nhập khẩu CNG"
_FIELD = {"code": "G02-CT10", "name": "Kinh doanh khí", "code_from": "name-match"}
_PROMULGATOR = {"code": "G02", "name": "Bộ Công thương"}
_FIRST = {"version": 1, "valid_from": None, "valid_to": None, "origin": "package"}
_BRIEF = {
    "code": PROCEDURE,
    "name": _NAME,
    "field": _FIELD,
    "promulgator": _PROMULGATOR,
    "levels": None,
    "service_level": None,
    "active": True,
    "irregular": None,
    "version": 1,
}
_PROCEDURE = {
    **_FIRST,
    "code": PROCEDURE,
    "name": _NAME,
    "field": _FIELD,
    "promulgator": _PROMULGATOR,
    "implementing": ["Ủy ban nhân dân cấp tỉnh"],
    "kind": "standard",
    "active": True,
    "time": None,
    "fee": {"kind": "unknown", "amount": None},
    "source": {"catalogue": "CAT", "details": None},
}
_AGENCY = {
    "version": 1,
    "origin": "package",
    "code": "H49",
    "legacy_code": "000.00.00.H49",
    "kind": "province",
    "name": "UBND tỉnh Quảng Ninh",
    "name_en": "People's Committee of Quang Ninh Province",
    "short_name": "Quảng Ninh",
    "active": True,
    "valid_from": None,
    "valid_to": None,
    "portal_domain": "dichvucong.quangninh.gov.vn",
    "sources": ["A1", "A6"],
    "confidence": "high",
}
_LIST = {
    "id": "account_kind_sso",
    "title": "LoaiTaiKhoan (SSO userinfo)",
    "version": "2026-11-21",
    "effective_from": None,
    "effective_to": None,
    "basis": "public-code",
    "confidence": "medium",
}
_ON = {"on": "2026-11-22"}

TOLD = {
    "read_procedure": Told(
        "Một thủ tục trong danh mục; với `on` là như vào ngày đó.",
        answers={200: {"procedure": _PROCEDURE}},
        parameters={"code": PROCEDURE},
    ),
    "read_procedure_versions": Told(
        "Mọi phiên bản của thủ tục cùng hiệu lực.",
        answers={200: {"versions": {"items": [{**_FIRST, "name": _NAME, "active": True}]}}},
        parameters={"code": PROCEDURE},
    ),
    "list_procedures": Told(
        "Tìm thủ tục theo từ ngữ, đúng nhất đứng đầu; lọc theo lĩnh vực, cấp, đối tượng, chủ đề, "
        "cơ quan, mức độ.",
        answers={200: {"page": {"items": [_BRIEF], "next": CURSOR}}},
        parameters={"after": CURSOR, "agency": "G02"},
    ),
    "read_procedure_groups": Told(
        "Số thủ tục đang cung cấp theo từng nhóm.",
        answers={
            200: {
                "by-service-level": {
                    "groups": [
                        {
                            "by": "service-level",
                            "items": [{"code": "full", "name": "Toàn trình", "procedures": 10}],
                        }
                    ]
                }
            }
        },
    ),
    "read_changes": Told(
        "Nguồn thay đổi cho các cổng của cơ quan: đọc tiếp với `since` là `next` của lần trước.",
        answers={
            200: {
                "page": {
                    "items": [
                        {
                            **_FIRST,
                            "kind": "procedure",
                            "code": PROCEDURE,
                            "name": _NAME,
                            "active": True,
                            "changed_at": "2026-11-22T02:51:08.854188Z",
                        }
                    ],
                    "next": "WyJjIiwxXQ",
                    "more": False,
                }
            }
        },
    ),
    "read_agency": Told(
        "Một cơ quan, theo mã ở dạng mới hoặc dạng cũ.",
        answers={200: {"agency": _AGENCY}},
    ),
    "read_agency_versions": Told(
        "Mọi phiên bản thông tin về cơ quan.",
        answers={
            200: {"versions": {"items": [{**_FIRST, "name": _AGENCY["name"], "active": True}]}}
        },
    ),
    "list_agencies": Told(
        "Các cơ quan cùng hiệu lực và cơ quan kế thừa; với `parent` là các cơ quan trực thuộc.",
        answers={200: {"page": {"items": [_AGENCY], "next": "H49"}}},
        parameters={"after": "H49"},
    ),
    "read_code_list": Told(
        "Một bảng mã cùng nguồn; với `on` là như vào ngày đó.",
        answers={
            200: {
                "list": {
                    **_LIST,
                    "revision": 1,
                    "origin": "package",
                    "items": [
                        {"code": "1", "name": "Cá nhân", "name_en": "individual"},
                        {"code": "2", "name": "Doanh nghiệp", "name_en": "enterprise"},
                    ],
                }
            }
        },
    ),
    "read_code_list_versions": Told(
        "Mọi phiên bản của một bảng mã.",
        answers={
            200: {"versions": {"items": [{**_FIRST, "name": _LIST["title"], "active": None}]}}
        },
    ),
    "list_code_lists": Told(
        "Tất cả bảng mã, không kèm các mã.",
        answers={200: {"lists": {"items": [{**_LIST, "items": 3}]}}},
    ),
}
