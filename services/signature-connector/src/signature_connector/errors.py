"""Problems of the signature connector.

::

    Problem
    ├── KeyMissing               400 idempotency-key-missing
    ├── PartsMalformed           400 malformed-parts
    ├── UnknownRequest           404 unknown-signing-request
    ├── RequestConflict          409 signing-request-conflict
    ├── NotHeldRequest           409 signing-request-not-held
    ├── NotTheSignedFile         422 not-the-signed-file
    ├── UnsupportedMedia         415 unsupported-media-type
    └── UnknownFile              422 unknown-file
"""

from common.errors import Conflict, Invalid, NotFound, Problem


class KeyMissing(Problem):
    """A request that could not be told from a repeated one."""

    status, slug = 400, "idempotency-key-missing"
    title, title_en = "Thiếu Idempotency-Key", "Idempotency-Key missing"


class UnknownRequest(NotFound):
    """No such signing request, or none of an agency this client acts for."""

    slug = "unknown-signing-request"
    title, title_en = "Không có yêu cầu ký này", "No such signing request"


class RequestConflict(Conflict):
    """A known request id with another document, signer or profile."""

    slug = "signing-request-conflict"
    title, title_en = (
        "Mã yêu cầu đã dùng cho nội dung khác",
        "The request's id was used for something else",
    )


class UnknownFile(Invalid):
    """The document to be signed is not in the file store."""

    slug = "unknown-file"
    title, title_en = "Không có tệp này", "No such file"


class NotHeldRequest(Conflict):
    """An operator decides about a request that does not wait for one."""

    slug = "signing-request-not-held"
    title, title_en = "Yêu cầu ký không chờ xử lý", "The request is not held"


class NotTheSignedFile(Invalid):
    """What an operator brought is not the signed document."""

    slug = "not-the-signed-file"
    title, title_en = "Không phải tệp đã ký", "Not the signed document"


class PartsMalformed(Problem):
    """A form that cannot be read, or lacks its parts."""

    status, slug = 400, "malformed-parts"
    title, title_en = "Biểu mẫu sai", "Malformed form"


class UnsupportedMedia(Problem):
    """A body of another media type than the route takes."""

    status, slug = 415, "unsupported-media-type"
    title, title_en = "Kiểu nội dung không được hỗ trợ", "Unsupported media type"
