"""Dossiers whose personal data is due for something: another key, or to be erased."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import StepTaken
from dossier.domain.model import Dossier
from dossier.domain.retention import Selection

SEAL_PLACES: Mapping[str, str] = MappingProxyType(
    {"dossier": "SELECT count(*) FROM dossier WHERE seal_key IN (:key, '') AND erased_at IS NULL"}
)
"""What ``common.seals`` counts here: what was not looked at yet may be under any key."""

_LOOK = "code, seal_key, index_key, status_at, body"
# Behind or before the current keys in the index, and of those under the current sealing key the
# ones behind or before the current index key: up to four ranges, each read from its start.
_UNLOOKED = "seal_key = ''"
_OTHER_SEALS = ("seal_key > '' AND seal_key < :seal", "seal_key > :seal")
_OTHER_INDEXES = (
    "seal_key = :seal AND index_key < :index",
    "seal_key = :seal AND index_key > :index",
)
_ANY_INDEX = "index_key <> :index"


@dataclass(frozen=True, slots=True)
class Kept:
    """A dossier as it was read, to be written again only if nobody has changed it since."""

    code: str
    seal_key: str
    index_key: str
    status_at: datetime | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pass over the dossiers under other keys is."""

    range: int = 0
    seal_key: str = ""
    index_key: str = ""
    code: str = ""


def ranges(seal: str | None, index: str | None) -> list[str]:
    """The conditions that together pick out what is not under the current keys."""
    if seal is None:
        return [_UNLOOKED] if index is None else [_UNLOOKED, _ANY_INDEX]
    return [_UNLOOKED, *_OTHER_SEALS, *(_OTHER_INDEXES if index is not None else ())]


async def under_others(
    connection: AsyncConnection, seal: str | None, index: str | None, place: Place, most: int
) -> list[Kept]:
    """The next dossiers of a pass that are not under the current keys; read without a lock.

    Args:
        seal, index: ids of the current keys; None where this service has none.
        place: behind which one, in which of ``ranges``.
    """
    condition = ranges(seal, index)[place.range]
    given: dict[str, Any] = {
        "after_seal": place.seal_key,
        "after_index": place.index_key,
        "after_code": place.code,
        "most": most,
    }
    if ":seal" in condition:
        given["seal"] = seal
    if ":index" in condition:
        given["index"] = index
    rows = await connection.execute(
        text(
            f"SELECT {_LOOK} FROM dossier "  # noqa: S608 - only the fixed texts above
            f"WHERE erased_at IS NULL AND {condition} "
            "AND (seal_key, index_key, code) > (:after_seal, :after_index, :after_code) "
            "ORDER BY seal_key, index_key, code LIMIT :most"
        ),
        given,
    )
    return [Kept(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What becomes of a dossier that was looked at."""

    was: Kept
    body: bytes
    seal_key: str
    index_key: str
    status_at: datetime | None


# The version would not do: not everything that changes a dossier is a step.
_REWRITE = text(
    """
    WITH given AS (
        SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:was AS bytea[]),
            CAST(:bodies AS bytea[]), CAST(:seals AS text[]), CAST(:indexes AS text[]),
            CAST(:times AS timestamptz[]))
            AS g (code, was, body, seal_key, index_key, status_at)
    ), same AS (
        SELECT code FROM dossier d JOIN given USING (code)
        WHERE d.body = given.was AND d.erased_at IS NULL
        ORDER BY code FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE dossier SET body = given.body, seal_key = given.seal_key, index_key = given.index_key,
        status_at = coalesce(dossier.status_at, given.status_at)
    FROM given JOIN same USING (code)
    WHERE dossier.code = given.code
    RETURNING dossier.code
    """
)


async def rewrite(connection: AsyncConnection, rewritten: Sequence[Rewritten]) -> set[str]:
    """Write those back that nobody has changed since, or is changing now; which these are."""
    rows = sorted(rewritten, key=lambda one: one.was.code)
    done = await connection.execute(
        _REWRITE,
        {
            "codes": [row.was.code for row in rows],
            "was": [row.was.body for row in rows],
            "bodies": [row.body for row in rows],
            "seals": [row.seal_key for row in rows],
            "indexes": [row.index_key for row in rows],
            "times": [row.status_at for row in rows],
        },
    )
    return set(done.scalars())


_LAST_STEPS = text(
    """
    SELECT DISTINCT ON (code) code, body FROM dossier_step
    WHERE code = ANY(CAST(:codes AS text[])) ORDER BY code, number DESC
    """
)


async def last_steps(connection: AsyncConnection, codes: Sequence[str]) -> dict[str, datetime]:
    """When the last step of each dossier was taken."""
    rows = await connection.execute(_LAST_STEPS, {"codes": list(codes)})
    return {code: StepTaken.model_validate_json(body).at for code, body in rows}


_BY_KEY = text(
    "SELECT seal_key, count(*) AS dossiers FROM dossier WHERE erased_at IS NULL "
    "GROUP BY 1 ORDER BY 1"
)


async def by_key(connection: AsyncConnection) -> dict[str, int]:
    """How many dossiers are sealed under each key; under '' those not looked at yet."""
    return {row.seal_key: row.dossiers for row in await connection.execute(_BY_KEY)}


# The list of statuses is what makes the index fit.
_DUE = """
    SELECT code, body FROM dossier
    WHERE status = :status AND status IN (3, 7, 8, 9, 10) AND erased_at IS NULL
      AND status_at < now() - make_interval(years => :years, months => :months, days => :days)
      AND updated_at < now() - make_interval(days => :settled_days){procedures}
    ORDER BY status_at, code LIMIT :most FOR UPDATE SKIP LOCKED
    """


async def due(
    connection: AsyncConnection, selection: Selection, *, settled_days: int, most: int
) -> list[Dossier]:
    """Dossiers whose period has ended, the oldest first, locked.

    Args:
        settled_days: nothing was written to them for so long, so that no event about them is on
            its way any more.
    """
    given: dict[str, Any] = {
        "status": int(selection.status),
        "years": selection.keep.years,
        "months": selection.keep.months,
        "days": selection.keep.days,
        "settled_days": settled_days,
        "most": most,
    }
    procedures = ""
    if selection.procedures is not None:
        procedures += " AND procedure = ANY(CAST(:procedures AS text[]))"
        given["procedures"] = list(selection.procedures)
    if selection.excluded:
        procedures += " AND procedure <> ALL(CAST(:excluded AS text[]))"
        given["excluded"] = list(selection.excluded)
    rows = await connection.execute(text(_DUE.format(procedures=procedures)), given)
    return [Dossier.model_validate_json(body) for _, body in rows]


_ERASE = text(
    """
    UPDATE dossier SET body = given.body, erased_at = :at, seal_key = '', index_key = '',
        updated_at = now()
    FROM unnest(CAST(:codes AS text[]), CAST(:bodies AS bytea[])) AS given (code, body)
    WHERE dossier.code = given.code
    """
)
_ALL_STEPS = text(
    "SELECT code, number, body FROM dossier_step WHERE code = ANY(CAST(:codes AS text[]))"
)
_WRITE_STEPS = text(
    """
    UPDATE dossier_step SET body = given.body
    FROM unnest(CAST(:codes AS text[]), CAST(:numbers AS integer[]), CAST(:bodies AS bytea[]))
        AS given (code, number, body)
    WHERE dossier_step.code = given.code AND dossier_step.number = given.number
    """
)


async def write_erased(
    connection: AsyncConnection, dossiers: Sequence[Dossier], at: datetime
) -> None:
    """Write dossiers without their personal data; they are locked."""
    await connection.execute(
        _ERASE,
        {
            "codes": [one.code for one in dossiers],
            "bodies": [one.told() for one in dossiers],
            "at": at,
        },
    )


async def steps_of(
    connection: AsyncConnection, codes: Sequence[str]
) -> list[tuple[str, StepTaken]]:
    """The whole history of dossiers."""
    rows = await connection.execute(_ALL_STEPS, {"codes": list(codes)})
    return [(code, StepTaken.model_validate_json(body)) for code, _, body in rows]


async def write_steps(connection: AsyncConnection, steps: Sequence[tuple[str, StepTaken]]) -> None:
    """Write lines of histories again."""
    await connection.execute(
        _WRITE_STEPS,
        {
            "codes": [code for code, _ in steps],
            "numbers": [step.number for _, step in steps],
            "bodies": [step.told() for _, step in steps],
        },
    )
