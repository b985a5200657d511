"""Finding procedures: ranked, filtered, page by page; and how many there are in each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Grouping = Literal["audience", "topic", "level", "agency", "field", "service-level"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for.

    Attributes:
        words: folded, so without signs that mean something to LIKE.
        field: code or exact name of the field of administration.
        agency: promulgating, executing or competent; or one above these.
    """

    words: tuple[str, ...] = ()
    field: str | None = None
    level: str | None = None
    audience: str | None = None
    topic: str | None = None
    agency: str | None = None
    service_level: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A procedure that was found; lower ranks come first."""

    rank: int
    code: str
    changed_at: datetime
    brief: str


# Ranks: the code itself; the whole name; the name begins so; the phrase within the name, the
# earlier the better; all words in the name; some words only elsewhere (code, field, keywords).
# What is no longer offered comes behind all that is.
_FILTERED = """
    (CAST(:field AS text) IS NULL OR :field IN (field_code, field_name))
    AND (CAST(:level AS text) IS NULL OR :level = ANY (levels))
    AND (CAST(:audience AS text) IS NULL OR :audience = ANY (audiences))
    AND (CAST(:topic AS text) IS NULL OR :topic = ANY (topics))
    AND (CAST(:service_level AS text) IS NULL OR service_level = :service_level)
    AND (CAST(:active AS boolean) IS NULL OR active = :active)
    AND (CAST(:agency AS text) IS NULL OR EXISTS (
        SELECT 1 FROM unnest(agencies) AS a (code)
        WHERE a.code = :agency OR starts_with(a.code, :agency || '.')))
"""
_SEARCH = text(
    f"""
    SELECT rank, code, changed_at, brief FROM (
        SELECT code, changed_at, brief, CASE
            WHEN folded_code = :phrase THEN 0
            ELSE CASE
                WHEN folded_name = ' ' || :phrase || ' ' THEN 1
                WHEN starts_with(folded_name, ' ' || :phrase) THEN 2
                WHEN strpos(folded_name, ' ' || :phrase) > 0
                    THEN 10 + least(strpos(folded_name, ' ' || :phrase), 900)
                WHEN folded_name LIKE ALL (CAST(:patterns AS text[]))
                    THEN 1000 + least(strpos(folded_name, ' ' || :first), 900)
                ELSE 2000
            END + CASE WHEN active THEN 0 ELSE 10000 END
        END AS rank
        FROM procedure WHERE words @@ CAST(CAST(:query AS text) AS tsquery) AND {_FILTERED}
    ) AS matching
    WHERE (rank, code) > (:rank, CAST(:after AS text) COLLATE "C")
    ORDER BY rank, code LIMIT :limit
    """  # noqa: S608 - a text of our own
)
_LIST = text(
    f"""
    SELECT 0 AS rank, code, changed_at, brief FROM procedure
    WHERE (0, code) > (:rank, CAST(:after AS text) COLLATE "C") AND {_FILTERED}
    ORDER BY code LIMIT :limit
    """  # noqa: S608 - a text of our own
)


async def search(
    connection: AsyncConnection, wanted: Wanted, after: tuple[int, str], limit: int
) -> list[Found]:
    """Procedures in whose texts there are words that begin like each of the wanted ones.

    Args:
        after: rank and code behind which to go on.
    """
    values: dict[str, object] = {
        "field": wanted.field,
        "level": wanted.level,
        "audience": wanted.audience,
        "topic": wanted.topic,
        "agency": wanted.agency,
        "service_level": wanted.service_level,
        "active": wanted.active,
        "rank": after[0],
        "after": after[1],
        "limit": limit,
    }
    if wanted.words:
        values |= {
            "phrase": " ".join(wanted.words),
            "first": wanted.words[0],
            "patterns": [f"% {word}%" for word in wanted.words],
            # Folded words have neither quotes nor backslashes.
            "query": " & ".join(f"'{word}':*" for word in wanted.words),
        }
    found = await connection.execute(_SEARCH if wanted.words else _LIST, values)
    return [Found(row.rank, row.code, row.changed_at, row.brief) for row in found]


_GROUPS: Mapping[Grouping, str] = {
    "audience": "unnest(audiences)",
    "topic": "unnest(topics)",
    "level": "unnest(levels)",
    "agency": "unnest(agencies)",
    "field": "field_name",
    "service-level": "service_level",
}
_UNKNOWN: Mapping[Grouping, str] = {
    "audience": "audiences",
    "topic": "topics",
    "level": "levels",
    "agency": "agencies",
    "field": "field_name",
    "service-level": "service_level",
}


@dataclass(frozen=True, slots=True)
class Group:
    """How many active procedures are in a group; the group of None holds those not assigned."""

    code: str | None
    procedures: int


async def groups(connection: AsyncConnection, by: Grouping) -> list[Group]:
    """Groups of the active procedures, the largest first."""
    found = await connection.execute(
        text(
            f"""
            SELECT key, count(*) AS procedures
            FROM (SELECT {_GROUPS[by]} AS key FROM procedure WHERE active
                  UNION ALL
                  SELECT NULL FROM procedure WHERE active AND {_UNKNOWN[by]} IS NULL
                      AND {by not in ("field", "service-level")}) AS assigned
            GROUP BY key ORDER BY key IS NULL, count(*) DESC, key COLLATE "C"
            """  # noqa: S608 - names of our own
        )
    )
    return [Group(row.key, row.procedures) for row in found]


_NAMES = text(
    """
    SELECT code, body::json ->> 'name' AS name FROM agency
    WHERE CAST(:codes AS text[]) IS NULL OR code = ANY (CAST(:codes AS text[]))
    """
)


async def agency_names(
    connection: AsyncConnection, codes: Sequence[str] | None = None
) -> Mapping[str, str]:
    """Names of agencies by code; of all of them unless codes are given."""
    return {row.code: row.name for row in await connection.execute(_NAMES, {"codes": codes})}
