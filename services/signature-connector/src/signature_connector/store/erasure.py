"""Who signed, erased with the dossier; and what is sealed here."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from signature_connector.domain.requests import AT_REST, ERASED, State

SEAL_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "signing_request": "SELECT count(*) FROM signing_request "
        "WHERE starts_with(sealed_user, 'v1.' || :key || '.') "
        "OR starts_with(sealed_certificate, 'v1.' || :key || '.') "
        "OR starts_with(sealed_preparation, 'v1.' || :key || '.')"
    }
)
"""What ``common.seals`` counts here."""

# Who waits for a signer before him is as far as that one: under way with him, or at rest, since
# what is held can only be given up once it was erased, and then nobody after it is asked.
_UNDER_WAY = text(
    """
    SELECT count(*) FROM signing_request WHERE dossier_code = ANY(CAST(:dossiers AS text[]))
      AND state = ANY(CAST(:states AS text[])) AND ready
    """
)
_ERASE = text(
    """
    UPDATE signing_request SET sealed_user = :erased, document_name = :erased,
        sealed_certificate = NULL, sealed_preparation = NULL, augment_at = NULL, renew_at = NULL,
        renewal_trouble = NULL, options = '{}', serial_number = NULL, erased_at = now()
    WHERE dossier_code = ANY(CAST(:dossiers AS text[])) AND erased_at IS NULL
    """
)


class StillUnderWay(Exception):
    """A request of a dossier that is to be erased is not at rest yet: to be tried again."""


async def erase(connection: AsyncConnection, dossiers: Sequence[str]) -> None:
    """Erase who signed; the evidence stays: it names nobody, and files by their hashes only.

    Raises:
        StillUnderWay: somebody is being asked to sign.
    """
    of = {"dossiers": list(dossiers)}
    states = [state.value for state in State if state not in AT_REST]
    if (await connection.execute(_UNDER_WAY, {**of, "states": states})).scalar_one():
        raise StillUnderWay
    await connection.execute(_ERASE, {**of, "erased": ERASED})
