"""Of which agencies something waits for the portal."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery import LANES
from national_portal_sync.domain.keys import PARTNER

# From agency to agency in the index, whatever waits of each (`IS TRUE`: see
# `common.delivery.rows`).
_WAITING = text(
    """
    WITH RECURSIVE walk (lane, agency) AS (
        SELECT lane, CAST('' AS text) COLLATE "C" FROM unnest(CAST(:lanes AS text[])) AS lane
        UNION ALL
        SELECT walk.lane, next.agency FROM walk CROSS JOIN LATERAL (
            SELECT d.agency FROM delivery d
            WHERE (d.partner = :partner) IS TRUE AND d.lane = walk.lane AND d.agency > walk.agency
              AND d.state IN ('due', 'unknown')
            ORDER BY d.agency LIMIT 1) AS next
    )
    SELECT DISTINCT agency FROM walk WHERE agency <> ''
    """
)


async def waiting(connection: AsyncConnection) -> list[str]:
    """Agencies with something that is not held."""
    found = await connection.execute(_WAITING, {"partner": PARTNER, "lanes": list(LANES)})
    return list(found.scalars())
