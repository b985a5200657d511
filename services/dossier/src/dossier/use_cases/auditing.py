"""Every request for personal data is put down, answered or refused, before it is answered."""

import asyncio
from dataclasses import dataclass
from urllib.parse import unquote

from sqlalchemy import Row

from common.auth import Principal
from common.database import Database
from dossier.errors import PurposeMissing
from dossier.store import personal
from dossier.store.personal import Asking, Wanted

LONGEST_PURPOSE = 200
_UPKEEP_SECONDS = 3600.0


def purpose_of(header: str | None) -> str | None:
    """What the client says it needs personal data for (``X-Purpose``); None where it says nothing.

    Other letters than ASCII come percent-encoded (UTF-8), or as the bytes of UTF-8.

    Raises:
        PurposeMissing: it is empty, too long or not printable.
    """
    if header is None:
        return None
    try:
        purpose = unquote(header.encode("latin-1").decode(), errors="strict").strip()
    except UnicodeError:
        purpose = ""
    if not (1 <= len(purpose) <= LONGEST_PURPOSE and purpose.isprintable()):
        raise PurposeMissing(
            f"X-Purpose cần từ 1 đến {LONGEST_PURPOSE} ký tự in được",
            f"X-Purpose needs 1 to {LONGEST_PURPOSE} printable characters",
        )
    return purpose


@dataclass(frozen=True, slots=True)
class Audit:
    """Puts down the requests of one client, made in one way.

    Attributes:
        form: method and path of the request.
        purpose: what for.
    """

    database: Database
    principal: Principal
    form: str
    request_id: str
    purpose: str | None

    async def note(
        self,
        status: int,
        *,
        dossier: str | None = None,
        agency: str | None = None,
        asked: str | None = None,
        fields: tuple[str, ...] = (),
        found: int | None = None,
    ) -> None:
        """Put down one request; for the parameters see ``store.personal.Asking``."""
        asking = Asking(
            form=self.form,
            dossier=dossier,
            agency=agency,
            client_id=self.principal.client_id,
            client_agencies=self.principal.agencies,
            client_procedures=sorted(self.principal.procedures),
            request_id=self.request_id,
            purpose=self.purpose,
            asked=asked,
            fields=fields,
            found=found,
            status=status,
        )
        async with self.database.transaction() as connection:
            await personal.note(connection, asking)


async def entries(database: Database, wanted: Wanted) -> list[Row[tuple[object, ...]]]:
    """What was put down, for auditors."""
    async with database.reading() as connection:
        return await personal.page(connection, wanted)


async def forget_old_reads(database: Database, days: int) -> None:
    """Drop what was put down longer ago than this many days; without end."""
    while True:
        await personal.forget_old(database, days)
        await asyncio.sleep(_UPKEEP_SECONDS)
