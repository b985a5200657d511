"""What the gateway keeps of a person, erased with the dossier.

The submissions themselves are sealed inside events; a row holds codes, times and outcomes. What is
left is the keyed fingerprint of what was said, and words of a refusal.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Each stays different from all others: a fingerprint is part of a unique key.
_ERASE = text(
    """
    UPDATE submission SET fingerprint = 'erased ' || id,
        problem = problem - ARRAY['detail', 'detail_en', 'errors']
    WHERE dossier_code = ANY(CAST(:dossiers AS text[])) AND NOT starts_with(fingerprint, 'erased ')
    """
)


async def erase(connection: AsyncConnection, dossiers: Sequence[str]) -> None:
    """Erase what tells of the content of the submissions of these dossiers."""
    await connection.execute(_ERASE, {"dossiers": list(dossiers)})
