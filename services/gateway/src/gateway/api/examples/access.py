"""Tokens, files, questions, and the door for submissions from lower levels."""

from typing import Any

from gateway import errors
from gateway.api.examples.form import AGENCY, DOSSIER, FILE, PROCEDURE, SUBMISSION, Told

_TOKEN = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiYXQrand0In0"
    ".eyJjbGllbnRfaWQiOiJ0aW5oLWRlbW8ifQ.c2lnbmF0dXJl"
)
_ISSUED = {"access_token": _TOKEN, "token_type": "Bearer", "expires_in": 900}
_PDF = "%PDF-1.7 …"
_QUESTION = {
    "id": "HD-2026-0001",
    "agency": AGENCY,
    "dossier_code": DOSSIER,
    "procedure_code": PROCEDURE,
    "asked_at": "2026-11-22T02:00:00Z",
    "name": "N. T. B.",
    "title": "Hồ sơ của tôi đến đâu?",
    "content": "Tôi đã nộp hồ sơ tuần trước.",
    "state": "open",
    "answered_at": None,
    "told_at": None,
}


def _done(data: Any) -> dict[str, Any]:
    return {"code": "0", "message": "Thành công", "data": data}


TOLD = {
    "token": Told(
        "Token truy cập theo OAuth 2 client credentials. Hệ thống xác thực bằng HTTP Basic, bằng "
        "biểu mẫu, bằng chữ ký (`private_key_jwt`) hoặc bằng chứng thư (mTLS).",
        request={
            "all-scopes": {"grant_type": "client_credentials"},
            "fewer-scopes": {"grant_type": "client_credentials", "scope": "dossiers:read"},
            "in-the-form": {
                "grant_type": "client_credentials",
                "client_id": "tinh-demo",
                "client_secret": "a-secret-of-at-least-16-characters",
            },
        },
        answers={200: {"token": {**_ISSUED, "scope": "dossiers:read dossiers:write"}}},
    ),
    "jwks": Told(
        "Khóa công khai để kiểm tra token (JWKS, RFC 7517).",
        answers={
            200: {
                "keys": {
                    "keys": [
                        {
                            "kty": "EC",
                            "crv": "P-256",
                            "kid": "k1",
                            "use": "sig",
                            "alg": "ES256",
                            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                        }
                    ]
                }
            }
        },
    ),
    "upload_file": Told(
        "Lưu theo nội dung: gửi lại cùng tệp nhận lại cùng câu trả lời.",
        request={"file": _PDF},
        answers={201: {"stored": {"sha256": FILE, "size": 48213}}},
        refusals=(errors.FileTypeMismatch,),
    ),
    "download_file": Told(
        "Bằng liên kết có chữ ký, hoặc bằng token của hệ thống đã tải tệp lên. Tệp bị hỏng nơi lưu "
        "trữ thì không bao giờ được gửi trọn: kết nối bị ngắt.",
        answers={200: {"file": _PDF}},
        refusals=(errors.LinkRefused, errors.NoSuchFile, errors.FileDamaged),
    ),
    "head_file": Told(
        "Như tải về nhưng không có nội dung; nội dung lưu trữ không được kiểm tra.",
        answers={200: {"file": ""}},
        refusals=(errors.LinkRefused, errors.NoSuchFile, errors.FileDamaged),
    ),
    "list_questions": Told(
        "Câu hỏi gửi đến các cơ quan của hệ thống này; người hỏi được che.",
        answers={200: {"page": {"items": [_QUESTION], "next": None}}},
        parameters={"after": "HD-2026-0001"},
    ),
    "answer_question": Told(
        "Câu trả lời được gửi lên Cổng; trả lời lại y như vậy không thành câu trả lời thứ hai.",
        request={"answer": {"content": "Hồ sơ đang được thẩm định.", "official": "Mai Đình Khoa"}},
        answers={
            202: {
                "answered": {
                    **_QUESTION,
                    "state": "answered",
                    "answered_at": "2026-11-22T03:00:00Z",
                }
            }
        },
    ),
    "exchange_token": Told(
        "Token truy cập cho mã hệ thống và khóa bí mật.",
        request={
            "credentials": {
                "client_id": "tinh-demo",
                "client_secret": "a-secret-of-at-least-16-characters",
            }
        },
        answers={200: {"token": _done(_ISSUED)}},
    ),
    "exchange_next_value": Told(
        "Một mã hồ sơ không ai khác có.",
        request={"agency": {"code": AGENCY}},
        answers={200: {"code": _done({"MaHoSo": DOSSIER})}},
        refusals=(errors.UnknownAgency, errors.CodesNotToBeHad),
    ),
    "exchange_upload": Told(
        "Nội dung tệp là nội dung của yêu cầu. Mã tệp và mã băm đều là SHA-256 của tệp.",
        request={"file": _PDF},
        answers={200: {"stored": _done({"IdTepTin": FILE, "HashTepTin": FILE})}},
        refusals=(errors.FileTypeMismatch,),
    ),
    "exchange_submit": Told(
        "Nhận một lần cho mỗi MaHoSo, nếu không có thì cho mỗi IdYeuCau.",
        request={
            "submission": {
                "MaHoSo": DOSSIER,
                "IdYeuCau": "yc-0001",
                "MaTTHC": PROCEDURE,
                "MaDonVi": AGENCY,
                "KenhThucHien": "2",
                "LoaiDoiTuong": "0",
                "ChuHoSo": "Nguyễn Thị Bưởi",
                "SoGiayToChuHoSo": "099199000123",
                "NgayNopHoSo": "2026-11-22 08:00:00",
                "TrichYeuHoSo": "Đề nghị cấp lại giấy chứng nhận",
            }
        },
        answers={200: {"taken-in": _done({"MaHoSo": DOSSIER, "MaTiepNhan": SUBMISSION})}},
        refusals=(
            errors.IdempotencyKeyMissing,
            errors.DossierCodeTaken,
            errors.UnknownProcedure,
            errors.UnknownAgency,
            errors.UnknownFile,
            errors.Busy,
            errors.QuotaExceeded,
        ),
    ),
    "exchange_progress": Told(
        "Trạng thái và các bước của hồ sơ, thời gian theo ISO.",
        answers={
            200: {
                "progress": _done(
                    {
                        "MaHoSo": DOSSIER,
                        "TrangThaiHoSo": "2",
                        "TienDo": [
                            {
                                "ThoiDiemXuLy": "2026-11-22T09:00:00+07:00",
                                "TrangThai": "2",
                                "NguoiXuLy": "Mai Đình Khoa",
                                "NoiDungXuLy": "Tiếp nhận hồ sơ",
                            }
                        ],
                    }
                )
            }
        },
        refusals=("unknown-dossier",),
    ),
}
