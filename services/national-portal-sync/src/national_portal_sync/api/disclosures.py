"""Which personal data the portal was given, for auditors."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from common.auth import Principal, requires
from common.contracts.base import Data
from common.contracts.codes import DossierCode
from common.service import CoreOf
from national_portal_sync.store import disclosures as store

router = APIRouter(tags=["disclosures"])


class Disclosed(Data):
    """A dossier in a call (NĐ 47/2020 Điều 45)."""

    id: int
    at: datetime
    dossier: str
    agency: str
    account: str | None
    """Of the portal, under which it was sent."""
    version: int
    fields: tuple[str, ...]
    """The personal fields that were in it, as the portal names them; never their values."""
    outcome: str


class DisclosurePage(Data):
    """In the order of time; ``next`` is the ``after`` of the next page."""

    items: tuple[Disclosed, ...]
    next: int | None


@router.get("/v1/sync/disclosures", name="list_disclosures")
async def list_disclosures(
    core: CoreOf,
    principal: Annotated[Principal, requires("audit")],
    dossier: Annotated[DossierCode | None, Query()] = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> DisclosurePage:
    """What the portal was given of whom, and when."""
    async with core.database.reading() as connection:
        rows = await store.page(
            connection, principal.agencies, principal.procedures, dossier, after, limit
        )
    return DisclosurePage(
        items=tuple(Disclosed(**row._mapping) for row in rows),
        next=rows[-1].id if len(rows) == limit else None,
    )
