"""Counters of issued dossier codes."""

from collections.abc import Collection, Mapping
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# In one order, so that replicas which count at the same time wait for each other instead of both.
_COUNT = text(
    """
    INSERT INTO code_counter (agency, day, last)
    SELECT * FROM unnest(CAST(:agencies AS text[]), CAST(:days AS date[]),
                         CAST(:counts AS integer[])) AS wanted (agency, day, last)
    ORDER BY agency, day
    ON CONFLICT (agency, day) DO UPDATE SET last = code_counter.last + excluded.last
    RETURNING agency, day, last
    """
)
_USED = text(
    """
    SELECT dossier_code FROM submission
    WHERE kind = 'submit' AND state <> 'refused' AND dossier_code = ANY(CAST(:codes AS text[]))
    """
)


async def count_on(
    connection: AsyncConnection, wanted: Mapping[tuple[str, date], int]
) -> dict[tuple[str, date], range]:
    """Numbers that nobody else gets, as many as are wanted for each agency (new form) and day."""
    rows = await connection.execute(
        _COUNT,
        {
            "agencies": [agency for agency, _ in wanted],
            "days": [day for _, day in wanted],
            "counts": list(wanted.values()),
        },
    )
    return {
        (row.agency, row.day): range(row.last - wanted[row.agency, row.day] + 1, row.last + 1)
        for row in rows
    }


async def used(connection: AsyncConnection, codes: Collection[str]) -> set[str]:
    """Of these codes those that a dossier has been submitted under."""
    return set((await connection.execute(_USED, {"codes": list(codes)})).scalars())
