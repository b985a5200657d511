"""Problems that only the gateway tells; the common ones are in ``common.errors``.

::

    Problem
    ├── MalformedJson                400 malformed-json
    ├── IdempotencyKeyMissing        400 idempotency-key-missing
    ├── IdempotencyKeyMalformed      400 idempotency-key-malformed
    ├── UploadTooSlow                408 upload-too-slow
    ├── LinkRefused                  403 link-invalid
    ├── LinkOver                     410 link-expired
    ├── NoSuchFile                   404 no-such-file
    ├── FileDamaged                  500 file-damaged
    ├── UnsupportedMedia             415 unsupported-media-type
    ├── Conflict
    │   └── DossierCodeTaken         409 dossier-code-taken
    ├── Invalid
    │   ├── UnknownProcedure         422 unknown-procedure
    │   ├── UnknownAgency            422 unknown-agency
    │   ├── CodeAgencyMismatch       422 code-agency-mismatch
    │   ├── IdempotencyKeyReused     422 idempotency-key-reused
    │   ├── UnknownFile              422 unknown-file
    │   ├── NotAPdf                  422 not-a-pdf
    │   └── FileTypeMismatch         422 file-type-mismatch
    └── NotReady
        ├── Busy                     503 busy
        ├── CodesNotToBeHad          503 codes-not-to-be-had
        └── UpstreamAway             503 upstream-unavailable
"""

from common.errors import Conflict, Forbidden, Invalid, NotFound, NotReady, Problem


class MalformedJson(Problem):
    """A body that is no JSON text, or one that could be read in two ways."""

    status, slug = 400, "malformed-json"
    title, title_en = "JSON không đúng cú pháp", "Malformed JSON"


class IdempotencyKeyMissing(Problem):
    """A step without the header that makes repeating it safe."""

    status, slug = 400, "idempotency-key-missing"
    title, title_en = "Thiếu Idempotency-Key", "Idempotency-Key missing"


class IdempotencyKeyMalformed(Problem):
    """An ``Idempotency-Key`` that is empty, too long, or not printable ASCII."""

    status, slug = 400, "idempotency-key-malformed"
    title, title_en = "Idempotency-Key không hợp lệ", "Malformed Idempotency-Key"


class UploadTooSlow(Problem):
    """A file that did not arrive in time."""

    status, slug = 408, "upload-too-slow"
    title, title_en = "Tải tệp lên quá chậm", "Upload too slow"


class LinkRefused(Problem):
    """A link that nobody here made, or that was changed."""

    status, slug = 403, "link-invalid"
    title, title_en = "Liên kết không hợp lệ", "Invalid link"


class LinkOver(Problem):
    """A link that was good once."""

    status, slug = 410, "link-expired"
    title, title_en = "Liên kết đã hết hạn", "Expired link"


class NoSuchFile(NotFound):
    """No file of this digest, or none that this client brought."""

    slug = "no-such-file"
    title, title_en = "Không có tệp này", "No such file"


class FileDamaged(Problem):
    """A file that is kept, but no longer as it was brought."""

    status, slug = 500, "file-damaged"
    title, title_en = "Tệp lưu trữ bị hỏng", "Stored file damaged"


class UnsupportedMedia(Problem):
    """A body of another media type or coding than the route takes."""

    status, slug = 415, "unsupported-media-type"
    title, title_en = "Kiểu nội dung không được hỗ trợ", "Unsupported media type"


class DossierCodeTaken(Conflict):
    """The dossier code was submitted with other content, or by another client."""

    slug = "dossier-code-taken"
    title, title_en = "Mã hồ sơ đã được sử dụng", "Dossier code taken"


class UnknownProcedure(Invalid):
    """A procedure code that the catalogue does not have."""

    slug = "unknown-procedure"
    title, title_en = "Không có thủ tục hành chính này", "Unknown procedure"


class UnknownAgency(Invalid):
    """An agency code that the catalogue does not have."""

    slug = "unknown-agency"
    title, title_en = "Không có cơ quan này", "Unknown agency"


class CodeAgencyMismatch(Invalid):
    """The agency is neither the one of the dossier code nor above or below it."""

    slug = "code-agency-mismatch"
    title, title_en = "Mã hồ sơ không thuộc cơ quan này", "Dossier code of another agency"


class IdempotencyKeyReused(Invalid):
    """The client has used the key for another request."""

    slug = "idempotency-key-reused"
    title, title_en = "Idempotency-Key đã dùng cho yêu cầu khác", "Idempotency-Key reused"


class UnknownFile(Invalid):
    """A result names a file that this client has not uploaded."""

    slug = "unknown-file"
    title, title_en = "Tệp chưa được tải lên", "File not uploaded"


class NotAPdf(Invalid):
    """A file that has to be a PDF and is none."""

    slug = "not-a-pdf"
    title, title_en = "Tệp không phải PDF", "Not a PDF"


class FileTypeMismatch(Invalid):
    """An uploaded file whose content is not of the type that its sender named."""

    slug = "file-type-mismatch"
    title, title_en = "Nội dung tệp không đúng kiểu đã khai", "Content of another type than named"


class Busy(NotReady):
    """More work waits than the gateway takes on."""

    slug = "busy"
    title, title_en = "Hệ thống đang quá tải", "Overloaded"


class CodesNotToBeHad(NotReady):
    """No dossier code could be issued: source systems used those that came next themselves."""

    slug = "codes-not-to-be-had"
    title, title_en = "Chưa cấp được mã hồ sơ", "No dossier code could be issued"


class UpstreamAway(NotReady):
    """The service that answers this read cannot be reached or is too slow."""

    slug = "upstream-unavailable"
    title, title_en = "Dịch vụ phía sau tạm thời không sẵn sàng", "Service behind unavailable"


def may_not_act_for(agency: str) -> Forbidden:
    """The refusal of a client that has no rights for an agency."""
    return Forbidden(
        f"Hệ thống này không có quyền với cơ quan {agency}",
        f"This client may not act for the agency {agency}",
    )
