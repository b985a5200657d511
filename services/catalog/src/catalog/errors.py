"""Problems that only the catalogue tells; the common ones are in ``common.errors``.

::

    Problem
    ├── NotFound
    │   ├── NoSuchAgency             404 unknown-agency
    │   ├── NoSuchChannel            404 unknown-channel
    │   ├── NoSuchStatement          404 unknown-statement
    │   └── NoRules                  404 no-rules
    └── Conflict
        ├── AgencyClosed             409 agency-closed
        ├── NoPortal                 409 no-portal
        └── TooManyChannels          409 too-many-channels
"""

from common.errors import Conflict, NotFound


class NoSuchAgency(NotFound):
    """An agency code that the catalogue does not have."""

    slug = "unknown-agency"
    title, title_en = "Không có cơ quan này", "Unknown agency"


class NoSuchChannel(NotFound):
    """The agency has registered no channel of this id."""

    slug = "unknown-channel"
    title, title_en = "Không có kênh này", "Unknown channel"


class NoSuchStatement(NotFound):
    """The agency has made no statement about this part."""

    slug = "unknown-statement"
    title, title_en = "Chưa có nội dung khai", "No such statement"


class NoRules(NotFound):
    """No rules are known for the day asked about."""

    slug = "no-rules"
    title, title_en = "Không có quy định cho ngày này", "No rules for this day"


class AgencyClosed(Conflict):
    """An agency that has ended registers nothing any more."""

    slug = "agency-closed"
    title, title_en = "Cơ quan đã kết thúc", "Agency closed"


class TooManyChannels(Conflict):
    """The agency has registered as many channels as it can."""

    slug = "too-many-channels"
    title, title_en = "Quá nhiều kênh", "Too many channels"


class NoPortal(Conflict):
    """The service was not told where the national portal is."""

    slug = "no-portal"
    title, title_en = "Chưa cấu hình Cổng DVCQG", "No national portal configured"
