"""How long it is kept what the portal was given."""

import asyncio

from common.database import Database
from national_portal_sync.store import disclosures

_UPKEEP_SECONDS = 3600.0


async def forget_old_disclosures(database: Database, days: int) -> None:
    """Drop what was put down longer ago than this many days; without end."""
    while True:
        await disclosures.forget_old(database, days)
        await asyncio.sleep(_UPKEEP_SECONDS)
