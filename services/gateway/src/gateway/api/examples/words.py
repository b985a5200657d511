"""Words of the document that belong to no single operation."""

from collections.abc import Mapping

TITLE = "Liên thông"

DESCRIPTION = """
Cửa duy nhất dành cho hệ thống của các cơ quan khác.

Yêu cầu ghi được lưu bền vững rồi mới trả lời 202 cùng một mã yêu cầu (submission); kết quả cuối
cùng là `applied` (đã thực hiện) hoặc `refused` (bị từ chối). `Prefer: wait=N` chờ kết quả tối đa 30
giây. Gửi lại là an toàn: cùng `Idempotency-Key`, hoặc khi không có khóa thì cùng mã hồ sơ, với cùng
nội dung cho cùng một yêu cầu. Mọi lỗi là một tài liệu problem (RFC 9457) có `type` cố định, bằng
tiếng Việt và tiếng Anh. Bắt đầu: gửi mã hệ thống và khóa bí mật đến `/oauth/token`.

---

The one door for other government systems.

Writes are taken in durably and answered with 202 and a submission, which ends `applied` or
`refused`. `Prefer: wait=N` waits up to 30 seconds for that. Repeating a request is safe: the same
`Idempotency-Key`, or without one the same dossier code, with the same content gives the same
submission. A dossier that comes without a code is given one; then the key is required. A dossier
code whose submission was refused is free again; to try unchanged content anew, send it with a new
`Idempotency-Key`. Every error is a problem document (RFC 9457) with a stable `type`, in Vietnamese
and English. Begin with client id and secret at `/oauth/token`.
"""

SERVER = "Cài đặt đã trả lời tài liệu này · The installation that answered with this document"

TAGS: Mapping[str, str] = {
    "Hồ sơ · Dossiers": "Nộp hồ sơ, cập nhật tiến độ, tra cứu · Submitting, steps, reading",
    "Yêu cầu · Submissions": "Kết quả của những gì đã gửi · What became of what was sent",
    "Xác thực · Authentication": "Token truy cập và khóa kiểm tra · Access tokens and their keys",
    "Tệp · Files": "Giấy tờ của hồ sơ · Papers of dossiers",
    "Ký số · Signing": "Ký số kết quả · Signatures of results",
    "Danh mục · Catalogue": "Thủ tục, cơ quan, bảng mã, công khai · Public reference data",
    "Kênh và Điều 13 · Channels and conformance": (
        "Kênh của cơ quan và báo cáo Điều 13 · Agencies' channels and the report"
    ),
    "Trục liên thông · Exchange": (
        "Dành cho hệ thống cấp dưới theo cách của trục · For lower levels, in the exchange's form"
    ),
    "Kiểm tra · Audit": "Những gì bị từ chối · What was refused",
    "Hỏi đáp · Questions": "Câu hỏi từ Cổng DVCQG · Questions from the national portal",
}

MEANINGS: Mapping[int, str] = {
    200: "Thành công · Success",
    201: "Đã tạo · Created",
    202: "Đã tiếp nhận · Taken in",
    204: "Đã xóa · Removed",
    304: "Không đổi · Unchanged since `If-None-Match` or `If-Modified-Since`",
    400: "Yêu cầu sai dạng · Malformed request",
    401: "Không có token hợp lệ · No valid access token",
    403: "Không có quyền · Without the right asked for",
    404: "Không có, hoặc không được biết · No such thing, or none this client may know of",
    405: "Không có phương thức này · Method not allowed",
    408: "Nội dung không đến kịp · The body did not arrive in time",
    409: "Mâu thuẫn với hiện trạng · Conflict with what is there",
    410: "Không còn hiệu lực · No longer valid",
    412: "Trạng thái đã thay đổi · The state has changed",
    413: "Nội dung quá lớn · Body too large",
    415: "Kiểu nội dung không được nhận · Unsupported media type or coding",
    422: "Nội dung không hợp lệ · Invalid content",
    429: "Quá nhiều yêu cầu, xem Retry-After · Too many requests; see Retry-After",
    500: "Lỗi nội bộ · Internal error",
    502: "Dịch vụ phía sau bị lỗi · The service behind failed",
    503: "Tạm thời không làm được, xem Retry-After · Temporarily not possible; see Retry-After",
}

HEADERS: Mapping[str, tuple[str, str]] = {
    "X-Request-Id": ("Mã của yêu cầu này · Names this request", "01a2012b-1a6b-764d-a7e7"),
    "Location": ("Nơi xem kết quả · Where the outcome is", "/v1/submissions/01a2012a-359e-7003"),
    "Retry-After": ("Thử lại sau số giây này · Seconds after which to try again", "2"),
    "WWW-Authenticate": ("Cách xác thực · How to authenticate", "Bearer"),
    "ETag": ("Phiên bản của nội dung · Version of the content", '"2"'),
}
HEADERS_OF: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

SECURITY: Mapping[str, dict[str, object]] = {
    "HTTPBearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "Token truy cập lấy ở `/oauth/token` · Access token from `/oauth/token` (RFC 6750); "
            "quyền = phạm vi × cơ quan × thủ tục · rights are scope × agencies × procedures"
        ),
    },
    "ClientBasic": {
        "type": "http",
        "scheme": "basic",
        "description": (
            "`client_secret_basic`: mã hệ thống và khóa bí mật, mỗi phần mã hóa biểu mẫu · "
            "client_id and client_secret, each form-encoded (RFC 6749 §2.3.1)"
        ),
    },
    "ClientAssertion": {
        "type": "oauth2",
        "description": (
            "`private_key_jwt`: biểu mẫu có `client_assertion` ký bằng khóa riêng đã đăng ký · "
            "the form carries a `client_assertion` signed with a registered key (RFC 7523)"
        ),
        "flows": {"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}},
    },
    "ClientCertificate": {
        "type": "mutualTLS",
        "description": (
            "Chứng thư TLS đã đăng ký; token gắn với chứng thư chỉ dùng được cùng chứng thư đó · "
            "a registered TLS certificate; a token bound to it is good with it only (RFC 8705)"
        ),
    },
}
TOKEN_SECURITY: tuple[dict[str, list[str]], ...] = (
    {},
    {"ClientBasic": []},
    {"ClientAssertion": []},
    {"ClientCertificate": []},
)

TOKEN_FAULTS: Mapping[int, Mapping[str, object]] = {
    400: {
        "invalid_request": {
            "error": "invalid_request",
            "error_description": "grant_type is missing",
            "error_description_vi": "Thiếu grant_type",
        },
        "unsupported_grant_type": {
            "error": "unsupported_grant_type",
            "error_description": "Only client_credentials is supported",
            "error_description_vi": "Chỉ hỗ trợ client_credentials",
        },
        "invalid_scope": {
            "error": "invalid_scope",
            "error_description": "The client does not have every scope it asks for",
            "error_description_vi": "Hệ thống không có đủ các quyền đã yêu cầu",
        },
    },
    401: {
        "invalid_client": {
            "error": "invalid_client",
            "error_description": "Unknown client or wrong secret",
            "error_description_vi": "Không có hệ thống này hoặc sai khóa bí mật",
        }
    },
}
"""What the token endpoint refuses with (RFC 6749 §5.2)."""
