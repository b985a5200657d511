"""Problems that only the gateway tells; the common ones are in ``common.errors``.

::

    Problem
    ├── MalformedJson                400 malformed-json
    ├── IdempotencyKeyMissing        400 idempotency-key-missing
    ├── IdempotencyKeyMalformed      400 idempotency-key-malformed
    ├── IfMatchMalformed             400 if-match-malformed
    ├── UploadHeaderMalformed        400 upload-header-malformed
    ├── UploadTooSlow                408 upload-too-slow
    ├── LinkRefused                  403 link-invalid
    ├── LinkOver                     410 link-expired
    ├── NoSuchFile                   404 no-such-file
    ├── NotInTheMessageLog           404 not-in-the-message-log
    ├── NoSuchUpload                 404 no-such-upload
    ├── NoSuchBulk                   404 no-such-bulk
    ├── FileDamaged                  500 file-damaged
    ├── UnsupportedMedia             415 unsupported-media-type
    ├── Conflict
    │   ├── BulkUnderWay             409 bulk-under-way
    │   ├── OffsetMismatch           409 upload-offset-mismatch
    │   ├── UploadComplete           409 upload-complete
    │   ├── UploadHeld               409 upload-part-under-way
    │   ├── NotAnchoredYet           409 not-anchored-yet
    │   └── DossierCodeTaken         409 dossier-code-taken
    ├── TooLarge
    │   ├── BulkTooLong              413 bulk-too-long
    │   └── LineTooLong              413 line-too-long
    ├── Invalid
    │   ├── TooManyExchanges         422 too-many-exchanges
    │   ├── UnknownProcedure         422 unknown-procedure
    │   ├── UnknownAgency            422 unknown-agency
    │   ├── CodeAgencyMismatch       422 code-agency-mismatch
    │   ├── IdempotencyKeyReused     422 idempotency-key-reused
    │   ├── BulkGap                  422 bulk-gap
    │   ├── DigestMismatch           422 upload-digest-mismatch
    │   ├── PartTooLong              422 upload-part-too-long
    │   ├── PartTooShort             422 upload-part-too-short
    │   ├── UnknownFile              422 unknown-file
    │   ├── NotAPdf                  422 not-a-pdf
    │   └── FileTypeMismatch         422 file-type-mismatch
    ├── TooManyRequests
    │   ├── RateExceeded             429 rate-exceeded
    │   └── QuotaExceeded            429 quota-exceeded
    └── NotReady
        ├── NoTimestamp              503 no-timestamp
        ├── CodesNotToBeHad          503 codes-not-to-be-had
        ├── SandboxAway              503 sandbox-unavailable
        └── UpstreamAway             503 upstream-unavailable
"""

from collections.abc import Sequence
from typing import Any

from common.errors import Busy as Busy  # noqa: PLC0414 - raised here too
from common.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    NotReady,
    Problem,
    TooLarge,
    TooManyRequests,
)


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


class IfMatchMalformed(Problem):
    """An ``If-Match`` that is neither ``*`` nor entity tags."""

    status, slug = 400, "if-match-malformed"
    title, title_en = "If-Match không hợp lệ", "Malformed If-Match"


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


class NoSuchBulk(NotFound):
    """No bulk request of this id, or none of this client's."""

    slug = "no-such-bulk"
    title, title_en = "Không có lô này", "No such bulk request"


class NoSuchUpload(NotFound):
    """No upload of this id, none any more, or none of this client's."""

    slug = "no-such-upload"
    title, title_en = "Không có lượt tải lên này", "No such upload"


class UploadHeaderMalformed(Problem):
    """A part without its place, or with a digest that cannot be read."""

    status, slug = 400, "upload-header-malformed"
    title, title_en = "Tiêu đề tải lên không hợp lệ", "Malformed upload header"


class OffsetMismatch(Conflict):
    """A part that does not begin where what has arrived ends."""

    slug = "upload-offset-mismatch"
    title, title_en = "Vị trí phần tệp không khớp", "Part at another place"


class UploadComplete(Conflict):
    """A part of a file that is complete."""

    slug = "upload-complete"
    title, title_en = "Tệp đã được tải lên đầy đủ", "Upload complete"


class UploadHeld(Conflict):
    """Another part of the same file is being taken in."""

    slug = "upload-part-under-way"
    title, title_en = "Một phần khác của tệp đang được nhận", "Another part under way"


class UploadTooLarge(TooLarge):
    """A file above the limit for files that come in parts."""

    slug = "upload-too-large"
    title, title_en = "Tệp quá lớn", "File too large"


class DigestMismatch(Invalid):
    """A part or a file that does not hash to what was said."""

    slug = "upload-digest-mismatch"
    title, title_en = "Mã băm không khớp", "Digest mismatch"


class PartTooLong(Invalid):
    """A part that goes beyond the size that was declared."""

    slug = "upload-part-too-long"
    title, title_en = "Phần tệp vượt kích thước đã khai", "Part beyond the declared size"


class PartTooShort(Invalid):
    """A part that is not the last and below the least size."""

    slug = "upload-part-too-short"
    title, title_en = "Phần tệp quá nhỏ", "Part too short"


class TooManyUploads(TooManyRequests):
    """A client with as many open uploads as it may have."""

    slug = "too-many-uploads"
    title, title_en = "Quá nhiều lượt tải lên đang mở", "Too many open uploads"


class NotInTheMessageLog(NotFound):
    """Nothing of what was asked for is sealed in the message log, or not here any more."""

    slug = "not-in-the-message-log"
    title, title_en = "Không có trong nhật ký trao đổi", "Not in the message log"


class NotAnchoredYet(Conflict):
    """The block of the exchange still waits for its timestamp."""

    slug = "not-anchored-yet"
    title, title_en = "Chưa có dấu thời gian", "Not timestamped yet"


class TooManyExchanges(Invalid):
    """More single exchanges than one export of the message log proves."""

    slug = "too-many-exchanges"
    title, title_en = "Quá nhiều giao dịch cho một bản trích", "Too many exchanges for one export"


class NoTimestamp(NotReady):
    """No time-stamping authority is to be had now."""

    slug = "no-timestamp"
    title, title_en = "Chưa lấy được dấu thời gian", "No timestamp to be had"


class FileDamaged(Problem):
    """A file that is kept, but no longer as it was brought."""

    status, slug = 500, "file-damaged"
    title, title_en = "Tệp lưu trữ bị hỏng", "Stored file damaged"


class UnsupportedMedia(Problem):
    """A body of another media type or coding than the route takes."""

    status, slug = 415, "unsupported-media-type"
    title, title_en = "Kiểu nội dung không được hỗ trợ", "Unsupported media type"


class BulkUnderWay(Conflict):
    """The same bulk request is being taken in already."""

    slug = "bulk-under-way"
    title, title_en = "Lô này đang được tiếp nhận", "Bulk request under way"


class BulkTooLong(TooLarge):
    """A bulk request of more lines than are taken in one."""

    slug = "bulk-too-long"
    title, title_en = "Lô có quá nhiều dòng", "Too many lines in a bulk request"


class LineTooLong(TooLarge):
    """A line of a bulk request that is longer than a single request may be."""

    slug = "line-too-long"
    title, title_en = "Dòng quá dài", "Line too long"


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


class BulkGap(Invalid):
    """A bulk request that goes on behind lines which have never come."""

    slug = "bulk-gap"
    title, title_en = "Lô bị thiếu dòng", "Lines of the bulk request are missing"


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


class _Exceeded(TooManyRequests):
    """A limit of a client or an address.

    Args:
        policies: names of the items of ``RateLimit-Policy`` that were exceeded.
        seconds: when to come again.
    """

    def __init__(
        self, detail: str, detail_en: str, *, policies: Sequence[str], seconds: int
    ) -> None:
        super().__init__(detail, detail_en, headers={"Retry-After": str(seconds)})
        self.policies = tuple(policies)

    def body(self) -> dict[str, Any]:
        """With the member of draft-ietf-httpapi-ratelimit-headers-10."""
        return {**super().body(), "violated-policies": list(self.policies)}


class RateExceeded(_Exceeded):
    """More requests in a short time than the client, or the address, may send."""

    slug = "rate-exceeded"
    title, title_en = "Vượt tần suất cho phép", "Rate exceeded"


class QuotaExceeded(_Exceeded):
    """The client's submissions of the day are used up."""

    slug = "quota-exceeded"
    title, title_en = "Hết hạn mức trong ngày", "Quota of the day used up"


class CodesNotToBeHad(NotReady):
    """No dossier code could be issued: source systems used those that came next themselves."""

    slug = "codes-not-to-be-had"
    title, title_en = "Chưa cấp được mã hồ sơ", "No dossier code could be issued"


class SandboxAway(NotReady):
    """A sandbox client's request cannot go to the sandbox, and nowhere else."""

    slug = "sandbox-unavailable"
    title, title_en = "Môi trường thử nghiệm không sẵn sàng", "Sandbox unavailable"


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


def may_not_handle(procedure: str | None = None) -> Forbidden:
    """The refusal of a client that does not deal with a procedure; one that it has not named itself
    is not told."""
    if procedure is None:
        return Forbidden(
            "Hệ thống này không có quyền với thủ tục của hồ sơ",
            "This client does not deal with the dossier's procedure",
        )
    return Forbidden(
        f"Hệ thống này không có quyền với thủ tục {procedure}",
        f"This client does not deal with the procedure {procedure}",
    )
