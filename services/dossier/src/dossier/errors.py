"""Why dossier refuses: to a client at once, or as the problem of a refused submission.

::

    Problem
    ├── NotFound
    │   └── UnknownDossier           404 unknown-dossier
    ├── Conflict
    │   ├── DossierExists            409 dossier-exists
    │   ├── DossierClosed            409 dossier-closed
    │   └── StepNotPossible          409 step-not-possible
    ├── Invalid
    │   └── InvalidResults           422 invalid-results
    └── PersonalDataUnreadable       500 personal-data-unreadable
"""

from common.errors import Conflict, Invalid, NotFound, Problem


class UnknownDossier(NotFound):
    """There is no dossier of this code, or none this client may know of."""

    slug = "unknown-dossier"
    title, title_en = "Không có hồ sơ này", "No such dossier"


class DossierExists(Conflict):
    """A dossier is submitted under a code that another one has."""

    slug = "dossier-exists"
    title, title_en = "Mã hồ sơ đã tồn tại", "The dossier exists already"


class DossierClosed(Conflict):
    """A step on a dossier that has come to its end."""

    slug = "dossier-closed"
    title, title_en = "Hồ sơ đã kết thúc", "The dossier is closed"


class StepNotPossible(Conflict):
    """A step that what is still under way does not allow."""

    slug = "step-not-possible"
    title, title_en = "Không thể thực hiện bước này", "This step is not possible now"


class InvalidResults(Invalid):
    """Result papers that contradict themselves."""

    slug = "invalid-results"
    title, title_en = "Giấy tờ kết quả không hợp lệ", "Invalid result papers"


class PersonalDataUnreadable(Problem):
    """The applicant's data does not open: its key is not in this service's ring."""

    slug = "personal-data-unreadable"
    title, title_en = "Không mở được dữ liệu cá nhân", "Personal data cannot be opened"
