"""Files that arrive in parts."""

from collections.abc import Mapping
from typing import Any

from gateway import errors
from gateway.api.examples.form import FILE, SUBMISSION, Told

_SIZE = 31_457_280


def _upload(offset: int, *, complete: bool = False) -> dict[str, Any]:
    return {
        "upload_id": SUBMISSION,
        "sha256": FILE,
        "size": _SIZE,
        "media_type": "application/pdf",
        "offset": offset,
        "complete": complete,
        "expires_at": "2026-11-23T02:00:00Z",
    }


_WAY = {"part": _upload(10_485_760), "complete": _upload(_SIZE, complete=True)}

TOLD: Mapping[str, Told] = {
    "create_upload": Told(
        vi="Khai báo một tệp lớn để gửi theo từng phần. Khai báo lại cùng một tệp thì nhận lại "
        "cùng một lượt tải lên, nên không phải nhớ gì để gửi tiếp.",
        request={
            "new": {"size": _SIZE, "sha256": FILE, "media_type": "application/pdf"},
        },
        answers={200: {"again": _upload(10_485_760)}, 201: {"new": _upload(0)}},
        refusals=(errors.UploadTooLarge, errors.TooManyUploads),
    ),
    "read_upload": Told(
        vi="Tiến độ của một lượt tải lên của chính hệ thống này.",
        answers={200: _WAY},
        refusals=(errors.NoSuchUpload,),
    ),
    "head_upload": Told(
        vi="`Upload-Offset` cho biết phần tiếp theo bắt đầu từ byte nào.",
        refusals=(errors.NoSuchUpload,),
    ),
    "append_upload": Told(
        vi="Nối một phần vào cuối. Khi đủ byte, tệp được kiểm tra mã băm và lưu. Phần bị ngắt giữa "
        "chừng được giữ đến chỗ đã nhận: hỏi lại bằng HEAD rồi gửi tiếp từ đó.",
        request={"part": "%PDF-1.7 …"},
        answers={200: _WAY},
        refusals=(
            errors.NoSuchUpload,
            errors.UploadHeaderMalformed,
            errors.OffsetMismatch,
            errors.UploadComplete,
            errors.UploadHeld,
            errors.DigestMismatch,
            errors.PartTooLong,
            errors.PartTooShort,
            errors.NotAPdf,
            errors.FileTypeMismatch,
            errors.UploadTooSlow,
        ),
    ),
    "cancel_upload": Told(
        vi="Các phần đã gửi bị xóa và lượt này không còn tính vào số lượt đang mở; tệp đã hoàn tất "
        "thì vẫn còn.",
        refusals=(errors.NoSuchUpload, errors.UploadHeld),
    ),
}
