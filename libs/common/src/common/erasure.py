"""What every service does when the personal data of a dossier is erased by policy.

``dossier.anonymised.v1`` reaches each service over a queue of its own. The service's copies are
its own business; the parked events about the dossier, whose bodies hold it as well, are erased
here, in the same transaction.
"""

from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierAnonymised
from common.envelope import Received
from common.inbox import Subscription
from common.outbox import Unit

Erase = Callable[[AsyncConnection, Sequence[str]], Awaitable[None]]
"""Erases a service's own copies of these dossiers' personal data; doing it twice is harmless."""

# Parked rows are few. Those that nobody could read are searched for the code as a JSON text. The
# positions follow, so that nobody asks the producer for what was erased here.
_ERASE_PARKED = text(
    """
    WITH gone AS (
        DELETE FROM parked WHERE CASE
            WHEN type = :keep THEN false
            WHEN split_part(stream, '/', 3) = ANY(CAST(:dossiers AS text[])) THEN true
            WHEN type IS NOT NULL THEN
                convert_from(body, 'UTF8')::json ->> 'subject' = ANY(CAST(:dossiers AS text[]))
            ELSE EXISTS (
                SELECT FROM unnest(CAST(:dossiers AS text[])) AS dossier
                WHERE position(convert_to('"' || dossier || '"', 'UTF8') IN body) > 0)
        END
        RETURNING consumer, stream, sequence
    ), moved AS (
        INSERT INTO position AS p (consumer, stream, last)
        SELECT consumer, stream, max(sequence) FROM gone WHERE stream IS NOT NULL
        GROUP BY consumer, stream ORDER BY consumer, stream
        ON CONFLICT (consumer, stream) DO UPDATE SET last = greatest(p.last, excluded.last)
    )
    SELECT count(*) FROM gone
    """
)


async def erase_parked(connection: AsyncConnection, dossiers: Sequence[str]) -> int:
    """Erase the parked events about these dossiers; how many."""
    erased = await connection.execute(
        _ERASE_PARKED, {"dossiers": list(dossiers), "keep": DossierAnonymised.TYPE}
    )
    return int(erased.scalar_one())


_ERASE_DELIVERIES = text(
    """
    DELETE FROM delivery
    WHERE partner = :partner AND subject = ANY(CAST(:dossiers AS text[]))
    """
)


async def erase_deliveries(
    connection: AsyncConnection, partner: str, dossiers: Sequence[str]
) -> int:
    """Erase what of these dossiers still waits for a partner, or is held; how many items."""
    erased = await connection.execute(
        _ERASE_DELIVERIES, {"partner": partner, "dossiers": list(dossiers)}
    )
    return erased.rowcount


def erasures(erase: Erase | None = None) -> Subscription:
    """The queue by which a service hears of anonymised dossiers.

    Args:
        erase: erases what the service itself keeps of them; None where that is nothing personal.
    """

    async def apply(unit: Unit, events: Sequence[Received]) -> None:
        dossiers = sorted(
            {
                received.event.dossier_code
                for received in events
                if isinstance(received.event, DossierAnonymised)
            }
        )
        if not dossiers:
            return
        if erase is not None:
            await erase(unit.connection, dossiers)
        await erase_parked(unit.connection, dossiers)

    return Subscription("erasures", (DossierAnonymised.TYPE,), apply)
