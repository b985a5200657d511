"""Why dossier refuses: to a client at once, or as the problem of a refused submission.

::

    Problem
    ├── NotFound
    │   ├── UnknownDossier           404 unknown-dossier
    │   └── UnknownImport            404 unknown-import
    ├── Conflict
    │   ├── DossierExists            409 dossier-exists
    │   ├── DossierClosed            409 dossier-closed
    │   ├── DossierErased            409 dossier-anonymised
    │   ├── SearchNotSetUp           409 search-not-set-up
    │   ├── ImportDiffers            409 import-differs
    │   ├── ImportUnderWay           409 import-under-way
    │   └── StepNotPossible          409 step-not-possible
    ├── DossierChanged               412 dossier-changed
    ├── Invalid
    │   ├── ImportNotReadable        422 import-not-readable
    │   ├── ImportTooFaulty          422 import-too-faulty
    │   └── InvalidResults           422 invalid-results
    ├── PurposeMissing               400 purpose-missing
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


class DossierChanged(Problem):
    """A step on another state of the dossier than the one that its sender had seen."""

    status, slug = 412, "dossier-changed"
    title, title_en = "Hồ sơ đã thay đổi", "The dossier has changed"


class InvalidResults(Invalid):
    """Result papers that contradict themselves."""

    slug = "invalid-results"
    title, title_en = "Giấy tờ kết quả không hợp lệ", "Invalid result papers"


class PersonalDataUnreadable(Problem):
    """The applicant's data does not open: its key is not in this service's ring."""

    slug = "personal-data-unreadable"
    title, title_en = "Không mở được dữ liệu cá nhân", "Personal data cannot be opened"


class DossierErased(Conflict):
    """A step on a dossier whose personal data was erased by policy."""

    slug = "dossier-anonymised"
    title, title_en = "Dữ liệu cá nhân của hồ sơ đã được xóa", "The dossier was anonymised"


class SearchNotSetUp(Conflict):
    """A search by personal data, of which this installation keeps no index."""

    slug = "search-not-set-up"
    title, title_en = "Chưa bật tra cứu theo giấy tờ", "Search by identity is not set up"


class PurposeMissing(Problem):
    """Personal data is asked for without saying what for."""

    status, slug = 400, "purpose-missing"
    title, title_en = "Chưa nêu mục đích", "No purpose given"


class UnknownImport(NotFound):
    """No import of this id, or none of this client."""

    slug = "unknown-import"
    title, title_en = "Không có lần nhập này", "No such import"


class ImportDiffers(Conflict):
    """An import goes on with another file, or with other options, than it began with."""

    slug = "import-differs"
    title, title_en = "Tệp nhập không khớp", "Import of another file"


class ImportUnderWay(Conflict):
    """Somebody else is at work on the same import."""

    slug = "import-under-way"
    title, title_en = "Đang nhập dữ liệu", "Import under way"


class ImportNotReadable(Invalid):
    """A file whose first line is not the heading of a table of old dossiers."""

    slug = "import-not-readable"
    title, title_en = "Không đọc được tệp", "File not readable"


class ImportTooFaulty(Invalid):
    """So many lines are not in order that the import was stopped."""

    slug = "import-too-faulty"
    title, title_en = "Quá nhiều dòng không hợp lệ", "Too many faulty lines"
