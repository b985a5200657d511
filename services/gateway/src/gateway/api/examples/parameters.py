"""What each parameter means, in both languages, and a value of it."""

from collections.abc import Mapping
from typing import Any

from gateway.api.examples.form import CURSOR, DOSSIER, FILE, PROCEDURE, SUBMISSION

PARAMETERS: Mapping[str, tuple[str, Any]] = {
    "code": ("Mã hồ sơ · Dossier code", DOSSIER),
    "sha256": ("SHA-256 của tệp, hệ 16 · The file's SHA-256, hexadecimal", FILE),
    "bulk_id": ("Mã của lô · The bulk request's id", SUBMISSION),
    "from": ("Số của dòng đầu tiên được gửi · Number of the first line sent", 1),
    "upload_id": ("Mã lượt tải lên · The upload's id", SUBMISSION),
    "upload-offset": ("Vị trí của phần, tính bằng byte · Where the part begins, in bytes", "0"),
    "content-digest": (
        "Mã băm của phần (RFC 9530) · Digest of the part (RFC 9530)",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
    ),
    "fields": (
        (
            "Chỉ các thành viên này; tên lồng nhau dùng dấu chấm · Only these members; nested ones "
            "by dotted names"
        ),
        "code",
    ),
    "submission_id": ("Mã yêu cầu · The submission's id", SUBMISSION),
    "request_id": ("Mã yêu cầu ký · The signing request's id", SUBMISSION),
    "question_id": ("Mã câu hỏi · The question's id", "HD-2026-0001"),
    "list_id": ("Mã của bảng mã · The code list's id", "account_kind_sso"),
    "channel": ("Kênh · Channel", "2"),
    "part": (
        "Nội dung của báo cáo · Part of the report",
        "c.accessibility",
    ),
    "agency": ("Cơ quan, mã mới hoặc cũ · Agency, in either form of the code", "H49"),
    "parent": ("Cơ quan cấp trên · Agency above", "H49"),
    "status": ("Trạng thái hồ sơ · Status of the dossier", "2"),
    "state": ("Trạng thái · State", "open"),
    "at": ("Thời điểm xét hiệu lực · As of when to judge", "2026-11-22T07:00:00Z"),
    "policy": ("Tên chính sách tin cậy · Name of the trust policy", "vn-public"),
    "procedure": ("Mã thủ tục · Procedure code", PROCEDURE),
    "historic": ("Hồ sơ cũ được nhập vào · Old dossiers that were imported", False),
    "submitted_from": ("Nộp từ · Submitted from", "2026-11-01T00:00:00+07:00"),
    "submitted_to": ("Nộp trước · Submitted before", "2026-12-01T00:00:00+07:00"),
    "due_from": ("Đến hạn từ · Due from", "2026-11-01T00:00:00+07:00"),
    "due_to": ("Đến hạn trước · Due before", "2026-12-01T00:00:00+07:00"),
    "overdue": ("Chỉ hồ sơ quá hạn · Only those overdue", True),
    "after": ("`next` của trang trước · The `next` of the page before", CURSOR),
    "type": ("Loại lỗi, phần cuối của `type` · Last part of the problem's `type`", "forbidden"),
    "before": ("`next` của trang trước · The `next` of the page before", SUBMISSION),
    "limit": ("Số mục mỗi trang · Items of a page", 50),
    "q": ("Từ cần tìm · Words to look for", "giấy chứng nhận"),
    "field": ("Lĩnh vực, mã hoặc tên · Field of work, by code or name", "G02-CT10"),
    "level": ("Cấp thực hiện · Level of government", "province"),
    "audience": ("Đối tượng thực hiện · Whom it is for", "Công dân Việt Nam"),
    "topic": ("Chủ đề · Topic", "Kinh doanh"),
    "service_level": ("Mức độ dịch vụ · How much is done online", "full"),
    "active": ("Còn hiệu lực · Whether in force", True),
    "by": ("Cách chia nhóm · How to group", "service-level"),
    "since": ("`next` của lần đọc trước · The `next` of the reading before", "WyJjIiwxXQ"),
    "content": ("Ngắn hay đầy đủ · Brief or with the whole entry", "brief"),
    "on": (
        "Theo ngày này (Việt Nam), mặc định hôm nay · As of this day (Vietnam), today by default",
        "2026-11-22",
    ),
    "dossier": ("Mã hồ sơ · Dossier code", DOSSIER),
    "client": ("Mã hệ thống · Client", "tinh-demo"),
    "until": ("Trước thời điểm · Before", "2026-12-01T00:00:00+07:00"),
    "if-none-match": (
        "ETag đã có; không đổi thì trả lời 304 · The ETag at hand; 304 if unchanged",
        '"2"',
    ),
    "if-modified-since": (
        "Thời điểm của bản đã có · Time of the copy at hand",
        "Sun, 22 Nov 2026 02:00:00 GMT",
    ),
    "x-purpose": (
        (
            "Mục đích dùng dữ liệu cá nhân, 1 đến 200 ký tự, chữ ngoài ASCII mã hóa phần trăm · "
            "What personal data is needed for: 1 to 200 printable characters, other letters than "
            "ASCII percent-encoded (UTF-8)"
        ),
        "Gi%E1%BA%A3i quy%E1%BA%BFt h%E1%BB%93 s%C6%A1",
    ),
    "idempotency-key": (
        (
            "Tên của yêu cầu này: gửi lại cùng khóa thì chỉ được làm một lần · Names this request: "
            "sent again with it, it is done once"
        ),
        "01a2012b-1c7d-71ed-bb3a-8257f23dd7c7",
    ),
    "if-match": (
        (
            "ETag của hồ sơ khi đọc: bước chỉ có hiệu lực nếu hồ sơ chưa đổi · `ETag` of the "
            "dossier as it was read: the step takes effect only if it has not changed since"
        ),
        '"2"',
    ),
    "prefer": (
        (
            "`wait=N`: chờ kết quả đến N giây, tối đa 30 · `wait=N`: wait up to N seconds for the "
            "outcome, 30 at the most (RFC 7240)"
        ),
        "wait=10",
    ),
}
"""By name in small letters."""

PLACES: Mapping[tuple[str, str], tuple[str, Any]] = {
    ("/v1/signature-verifications", "content"): (
        (
            "Nội dung đã ký tách rời: SHA-256 của tệp mà hệ thống này đã tải lên · Content of a "
            "detached signature: SHA-256 of a file that this client has uploaded"
        ),
        FILE,
    ),
    ("/v1/procedures/", "code"): ("Mã thủ tục · Procedure code", PROCEDURE),
    ("/v1/agencies/", "code"): ("Mã cơ quan, mới hoặc cũ · Agency code, either form", "H49"),
    ("/v1/conformance/", "code"): ("Mã cơ quan, mới hoặc cũ · Agency code, either form", "H49"),
    ("/v1/agencies/", "channel"): ("Mã kênh do cơ quan đặt · The agency's own id", "cong-tinh"),
    ("/v1/refusals", "since"): ("Từ thời điểm · From", "2026-11-01T00:00:00+07:00"),
    ("/v1/personal-reads", "since"): ("Từ thời điểm · From", "2026-11-01T00:00:00+07:00"),
}
"""Where the same name means something else, by the beginning of the path."""
