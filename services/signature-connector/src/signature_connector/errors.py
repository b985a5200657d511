"""Problems of the signature connector.

::

    Problem
    ├── KeyMissing               400 idempotency-key-missing
    ├── UnknownRequest           404 unknown-signing-request
    ├── RequestConflict          409 signing-request-conflict
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
