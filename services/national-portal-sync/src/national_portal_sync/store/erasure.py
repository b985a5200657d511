"""What this service keeps of a person, erased with the dossier.

Codes, times and outcomes stay: they are what reconciliation and its reports are made of.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.erasure import erase_deliveries
from national_portal_sync.domain.keys import PARTNER
from national_portal_sync.store import reconciliation

SEAL_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "sent_snapshot": "SELECT count(*) FROM sent_snapshot "
        "WHERE position(convert_to(:needle, 'UTF8') IN body) > 0",
        "portal_question": "SELECT count(*) FROM portal_question "
        "WHERE starts_with(sealed, 'v1.' || :key || '.')",
    }
)
"""What ``common.seals`` counts here."""

_QUESTIONS = text("DELETE FROM portal_question WHERE dossier_code = ANY(CAST(:dossiers AS text[]))")


async def erase(connection: AsyncConnection, dossiers: Sequence[str]) -> None:
    """Erase what waits for the portal or is held, what it was last sent, and questions about it."""
    await erase_deliveries(connection, PARTNER, dossiers)
    await reconciliation.forget(connection, dossiers)
    await connection.execute(_QUESTIONS, {"dossiers": list(dossiers)})
