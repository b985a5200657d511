"""Dossiers and what is sent about them."""

from typing import Any

from gateway import errors
from gateway.api.examples.form import AGENCY, DOSSIER, FILE, PROCEDURE, SUBMISSION, Told

SUBMIT: dict[str, Any] = {
    "code": DOSSIER,
    "procedure": PROCEDURE,
    "channel": "2",
    "applicant": {
        "kind": "1",
        "name": "Nguyễn Thị Bưởi",
        "identity": {"type": "citizen-id", "number": "099199000123"},
        "email": "buoi@example.vn",
        "phone": "0900 000 001",
        "address": "12 phố Ví Dụ",
    },
    "summary": "Đề nghị cấp lại giấy chứng nhận",
    "submitted_at": "2026-11-22T08:00:00+07:00",
    "documents": [{"id": "don", "name": "Đơn đề nghị", "digitised": True}],
    "fees": [{"code": "LP01", "name": "Lệ phí", "amount": 50000}],
}
WITHOUT_CODE = {
    **{name: value for name, value in SUBMIT.items() if name != "code"},
    "agency": AGENCY,
}
_AT = "2026-11-22T09:00:00+07:00"
_DUE = "2026-12-07T17:00:00+07:00"
_OFFICIAL = {
    "name": "Mai Đình Khoa",
    "title": "Chuyên viên chính",
    "department": "Phòng Tư pháp",
}
STEPS: dict[str, dict[str, Any]] = {
    "receive": {
        "kind": "receive",
        "at": _AT,
        "official": _OFFICIAL,
        "note": "Tiếp nhận hồ sơ",
        "due_at": _DUE,
        "receipt_number": "BN-0001",
    },
    "refuse": {"kind": "refuse", "at": _AT, "reason": "Hồ sơ không thuộc thẩm quyền"},
    "progress": {"kind": "progress", "at": _AT, "note": "Thẩm định", "started_at": _AT},
    "request-supplement": {
        "kind": "request-supplement",
        "at": _AT,
        "content": "Bổ sung bản sao giấy tờ",
        "papers": [{"name": "Bản sao giấy tờ", "quantity": 1}],
    },
    "give-supplement": {
        "kind": "give-supplement",
        "at": _AT,
        "documents": [{"id": "ban-sao", "name": "Bản sao giấy tờ"}],
        "due_at": _DUE,
    },
    "request-fee": {
        "kind": "request-fee",
        "at": _AT,
        "fees": [{"name": "Lệ phí", "amount": 50000}],
    },
    "record-fee": {"kind": "record-fee", "at": _AT, "online": True},
    "pause": {"kind": "pause", "at": _AT, "reason": "Chờ kết luận của cơ quan khác"},
    "withdraw": {"kind": "withdraw", "at": _AT, "reason": "Người nộp xin rút hồ sơ"},
    "complete": {
        "kind": "complete",
        "at": _AT,
        "results": [
            {
                "id": "ket-qua",
                "name": "Giấy chứng nhận",
                "file": FILE,
                "signing": {"user": "099199000123", "ca_name": "VNPT-CA"},
            }
        ],
    },
    "return": {"kind": "return", "at": _AT},
    "extend": {"kind": "extend", "at": _AT, "due_at": _DUE, "reason": "Cần xác minh thêm"},
    "transfer": {
        "kind": "transfer",
        "at": _AT,
        "agency": "H26",
        "reason": "Thẩm quyền chuyển sang cơ quan khác",
    },
    "rate": {"kind": "rate", "at": _AT, "satisfaction": "satisfied", "source": "phiếu đánh giá"},
}

PENDING: dict[str, Any] = {
    "submission_id": SUBMISSION,
    "dossier_code": DOSSIER,
    "kind": "submit",
    "state": "pending",
    "received_at": "2026-11-22T01:00:00.182248+00:00",
}
APPLIED = {
    **PENDING,
    "state": "applied",
    "decided_at": "2026-11-22T01:00:00.329000+00:00",
    "step_number": 1,
}
REFUSED = {
    **PENDING,
    "state": "refused",
    "decided_at": "2026-11-22T01:00:00.329000+00:00",
    "problem": {
        "type": "urn:lienthong:problem:dossier-exists",
        "title": "Mã hồ sơ đã tồn tại",
        "title_en": "The dossier exists already",
        "status": 409,
    },
}
_RECEIVE = {**PENDING, "kind": "receive"}
_RECEIVED = {**APPLIED, "kind": "receive", "step_number": 2}

SUMMARY = {
    "code": PROCEDURE,
    "name": "Cấp lại Giấy chứng nhận đủ điều kiện thương nhân xuất khẩu, nhập khẩu CNG",
    "field": {"code": "G02-CT10", "name": "Kinh doanh khí"},
    "version": 1,
    "time": None,
    "service_level": None,
    "has_fee": None,
}
MASKED = {
    "name": "N. T. B.",
    "identity": {"type": "citizen-id", "number": "***123"},
    "portal_account": None,
    "email": "***",
    "phone": "***001",
    "address": "***",
}
_LINE = {
    "code": DOSSIER,
    "agency": AGENCY,
    "procedure": SUMMARY,
    "channel": "2",
    "status": "2",
    "submitted_at": "2026-11-22T01:00:00Z",
    "received_at": "2026-11-22T02:00:00Z",
    "due_at": "2026-12-07T10:00:00Z",
    "finished_at": None,
    "returned_at": None,
    "updated_at": "2026-11-22T02:00:00.5Z",
    "historic": False,
    "version": 2,
}
_DOSSIER = {
    "id": "01a2012a-35a0-75a1-bace-683cd5fc1fa4",
    "code": DOSSIER,
    "agency": AGENCY,
    "procedure": SUMMARY,
    "channel": "2",
    "applicant_kind": "1",
    "summary": "Đề nghị cấp lại giấy chứng nhận",
    "status": "2",
    "receipt_number": "BN-0001",
    "submitted_at": "2026-11-22T01:00:00Z",
    "received_at": "2026-11-22T02:00:00Z",
    "due_at": "2026-12-07T10:00:00Z",
    "finished_at": None,
    "documents": [{"id": "don", "name": "Đơn đề nghị", "digitised": True}],
    "fees": [{"code": "LP01", "name": "Lệ phí", "amount": 50000}],
    "results": [],
    "state": "known",
    "version": 2,
    "applicant": MASKED,
    "anonymised_at": None,
}
_STEP = {
    "number": 2,
    "kind": "receive",
    "status": "2",
    "at": "2026-11-22T02:00:00Z",
    "official": _OFFICIAL,
    "note": "Tiếp nhận hồ sơ",
    "started_at": None,
    "due_at": "2026-12-07T10:00:00Z",
    "channel": None,
    "agency": AGENCY,
    "flagged": None,
    "flagged_reason": None,
}
_FROM_BEHIND = ("dossier-exists", "dossier-closed", "dossier-anonymised", "step-not-possible")

TOLD = {
    "submit_dossier": Told(
        "Nhận hồ sơ một lần cho mỗi mã hồ sơ, cho đến khi yêu cầu bị từ chối. Chưa có mã thì hệ "
        "thống cấp `<cơ quan>-YYMMDD-XXXX` theo ngày tiếp nhận tại Việt Nam; khi đó bắt buộc có "
        "`agency` và `Idempotency-Key`, gửi lại cùng yêu cầu nhận lại cùng mã.",
        request={"own-code": SUBMIT, "code-issued": WITHOUT_CODE},
        answers={200: {"applied": APPLIED}, 202: {"pending": PENDING}},
        refusals=(
            errors.IdempotencyKeyMissing,
            errors.IdempotencyKeyMalformed,
            errors.DossierCodeTaken,
            errors.UnknownProcedure,
            errors.UnknownAgency,
            errors.CodeAgencyMismatch,
            errors.IdempotencyKeyReused,
            errors.UnknownFile,
            errors.Busy,
            errors.QuotaExceeded,
            errors.CodesNotToBeHad,
            "dossier-exists",
        ),
    ),
    "take_step": Told(
        "Các bước của một hồ sơ có hiệu lực theo đúng thứ tự được trả lời. `kind` cho biết là bước "
        "nào trong mười bốn bước.",
        request=STEPS,
        answers={200: {"applied": _RECEIVED}, 202: {"pending": _RECEIVE}},
        refusals=(
            errors.IdempotencyKeyMissing,
            errors.IdempotencyKeyMalformed,
            errors.IfMatchMalformed,
            errors.IdempotencyKeyReused,
            errors.UnknownAgency,
            errors.UnknownFile,
            errors.NotAPdf,
            errors.Busy,
            errors.QuotaExceeded,
            "dossier-changed",
            "unknown-dossier",
            *_FROM_BEHIND,
            "invalid-results",
        ),
    ),
    "read_submission": Told(
        "Chỉ hệ thống đã gửi yêu cầu mới xem được.",
        answers={200: {"pending": PENDING, "applied": APPLIED, "refused": REFUSED}},
        parameters={"fields": "state,problem"},
    ),
    "list_submissions": Told(
        "Các yêu cầu của chính hệ thống này, theo thứ tự tiếp nhận.",
        answers={200: {"page": {"items": [APPLIED, REFUSED], "next": SUBMISSION}}},
        parameters={"after": SUBMISSION, "state": "refused", "fields": "state,problem"},
    ),
    "read_dossier": Told(
        "Hồ sơ như dịch vụ hồ sơ đang giữ, hoặc `pending` khi yêu cầu nộp chưa có kết quả. Xem dữ "
        "liệu cá nhân ở dạng rõ cần quyền `dossiers:personal` và `X-Purpose` nêu mục đích; thiếu "
        "một trong hai thì dữ liệu được che. Mọi lần nêu mục đích đều được ghi lại.",
        answers={
            200: {
                "known": _DOSSIER,
                "pending": {
                    "code": DOSSIER,
                    "agency": AGENCY,
                    "state": "pending",
                    "submission_id": SUBMISSION,
                    "received_at": PENDING["received_at"],
                },
            }
        },
        refusals=("unknown-dossier",),
    ),
    "read_steps": Told(
        "Lịch sử xử lý của hồ sơ.",
        answers={200: {"page": {"items": [_STEP], "next": None}}},
        refusals=("unknown-dossier",),
        parameters={"after": 1, "fields": "number,kind,at"},
    ),
    "read_deadline": Told(
        "Hồ sơ đến hạn khi nào và còn bao nhiêu ngày làm việc.",
        answers={
            200: {
                "running": {
                    "code": DOSSIER,
                    "due_at": "2026-12-07T10:00:00Z",
                    "computed": False,
                    "extensions": 0,
                    "running": True,
                    "at": "2026-11-22T06:49:00Z",
                    "working_days_left": 10,
                    "overdue_by": 0,
                    "calendar": "2026-11-21",
                    "estimated": False,
                }
            }
        },
        refusals=("unknown-dossier",),
    ),
    "list_dossiers": Told(
        "Hồ sơ của các cơ quan mà hệ thống này được làm việc, theo cơ quan và mã. Lọc theo hạn, "
        "hoặc chỉ hồ sơ quá hạn: hồ sơ chưa xong, theo cơ quan và hạn. Lọc theo ngày nộp: theo cơ "
        "quan và ngày nộp.",
        answers={200: {"page": {"items": [_LINE], "next": f"{AGENCY}|{DOSSIER}"}}},
        parameters={"after": f"{AGENCY}|{DOSSIER}"},
    ),
    "search_dossiers": Told(
        "Hồ sơ của một người trong các cơ quan của hệ thống này, dữ liệu được che. Cần quyền "
        "`dossiers:search` và `X-Purpose`.",
        request={
            "identity": {"identity": {"type": "citizen-id", "number": "099199000123"}},
            "phone": {"phone": "0900 000 001"},
        },
        answers={200: {"page": {"items": [{**_LINE, "applicant": MASKED}], "next": None}}},
        refusals=("purpose-missing", "search-not-set-up"),
    ),
    "list_personal_reads": Told(
        "Các yêu cầu xem dữ liệu cá nhân, được trả lời hay bị từ chối, dành cho kiểm tra.",
        answers={
            200: {
                "page": {
                    "items": [
                        {
                            "id": 17,
                            "read_at": "2026-11-22T03:00:00Z",
                            "form": "dossier",
                            "dossier": DOSSIER,
                            "agency": AGENCY,
                            "client_id": "tinh-demo",
                            "client_agencies": [AGENCY],
                            "request_id": "01a2012b-1a6b-764d-a7e7-058dcad22725",
                            "purpose": "Giải quyết hồ sơ",
                            "asked": None,
                            "fields": ["name", "identity"],
                            "found": 1,
                            "status": 200,
                        }
                    ],
                    "next": 17,
                }
            }
        },
        parameters={"after": 17, "client": "tinh-demo", "limit": 50},
    ),
    "read_signing_request": Told(
        "Việc ký một kết quả đã đến đâu.",
        answers={
            200: {
                "completed": {
                    "request_id": "01a2012a-4932-7fc8-a414-e05f1d5ca2fa",
                    "dossier_code": DOSSIER,
                    "agency": AGENCY,
                    "procedure": PROCEDURE,
                    "document_id": "ket-qua",
                    "document_name": "Giấy chứng nhận",
                    "file": FILE,
                    "ca_name": "VNPT-CA",
                    "profile": "pades-b-b",
                    "level": "b-b",
                    "provider": "esign",
                    "deadline": None,
                    "workflow": None,
                    "batch": None,
                    "place": 0,
                    "state": "completed",
                    "outcome": "signed",
                    "serial_number": "5404FFFEB7033FB316D672201B7BA4FE",
                    "signed_file": FILE[::-1],
                    "signed_at": "2026-11-22T06:00:00Z",
                    "created_at": "2026-11-22T05:59:00Z",
                    "submissions": 1,
                }
            }
        },
        parameters={"request_id": "01a2012a-4932-7fc8-a414-e05f1d5ca2fa"},
    ),
}
