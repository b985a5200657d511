"""A person's dossiers, found by a number without opening any."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.blind import BlindIndex
from common.database import Database
from common.errors import Invalid
from common.sealing import KeyRing
from dossier.domain import persons
from dossier.domain.masking import Applicant
from dossier.errors import SearchNotSetUp
from dossier.store import persons as store
from dossier.store.dossiers import Listed
from dossier.use_cases.auditing import Audit
from dossier.use_cases.reading import masked_applicant

SEARCH = "dossiers:search"


@dataclass(frozen=True, slots=True)
class Found:
    """A dossier with its applicant, masked; None where no key opens it."""

    listed: Listed
    applicant: Applicant | None


@dataclass(frozen=True, slots=True)
class Search:
    """Searches the blind index.

    Attributes:
        index: without a current key nothing is entered, and nothing can be searched for.
    """

    database: Database
    keys: KeyRing
    index: BlindIndex

    async def dossiers(
        self,
        audit: Audit,
        kind: str,
        value: str,
        *,
        after: tuple[str, str] | None,
        limit: int,
    ) -> Sequence[Found]:
        """Dossiers of the client's agencies and procedures by agency and code; the search is put
        down first.

        Args:
            kind, value: what is sought; the value is neither stored nor logged.
            after: agency and code of the last one seen.

        Raises:
            SearchNotSetUp: this service holds no index key.
            Invalid: nothing is left of the value in its normal form.
        """
        if self.index.current is None:
            await audit.note(SearchNotSetUp.status, asked=kind)
            raise SearchNotSetUp(
                "Hệ thống này chưa có khóa chỉ mục", "This installation has no index key"
            )
        normal = persons.normal(kind, value)
        if not normal:
            await audit.note(Invalid.status, asked=kind)
            raise Invalid("Không có gì để tìm", "There is nothing to search for")
        async with self.database.reading() as connection:
            listed = await store.find(
                connection,
                kind,
                self.index.digests(kind, normal),
                subtrees=audit.principal.agencies,
                procedures=sorted(audit.principal.procedures),
                after=after,
                limit=limit,
            )
        found = [Found(one, masked_applicant(self.keys, one.dossier)) for one in listed]
        await audit.note(200, asked=kind, found=len(found))
        return found
