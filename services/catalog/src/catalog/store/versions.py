"""Every version of every entry. Nothing is ever removed; a later version only ends earlier ones.

``change`` numbers all that is written, in the order of commits: who writes holds one lock up to the
end of the transaction. So a reader who goes on behind a number misses nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.domain.catalogue import Origin, parent_of

Kind = Literal["procedure", "agency", "code-list"]

_LOCK = 0x6361_7461
_MOST_VERSIONS = 500


@dataclass(frozen=True, slots=True)
class Newest:
    """The version of an entry that was written last."""

    version: int
    digest: bytes
    origin: Origin


@dataclass(frozen=True, slots=True)
class Given:
    """A version to be written; ``valid_from`` is None for the first version of an entry."""

    code: str
    version: int
    digest: bytes
    valid_from: date | None
    body: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it is stored."""

    kind: Kind
    code: str
    version: int
    origin: Origin
    valid_from: date | None
    valid_to: date | None
    changed_at: datetime
    change: int
    body: str

    def rendered(self) -> str:
        """The entry with its version, as it is served."""
        names = _HEADS[self.kind]
        head: dict[str, object] = dict(
            zip(names, (self.version, self.valid_from, self.valid_to, self.origin), strict=True)
        )
        if self.kind == "agency":
            head["parent"] = parent_of(self.code)
        return f"{orjson.dumps(head).decode()[:-1]},{self.body[1:]}"


_HEADS: Mapping[Kind, tuple[str, str, str, str]] = {
    "procedure": ("version", "valid_from", "valid_to", "origin"),
    # An agency has days of its own, a code list a version of its own.
    "agency": ("version", "version_from", "version_to", "origin"),
    "code-list": ("revision", "revision_from", "revision_to", "origin"),
}

_TAKE_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
_NEWEST = text(
    """
    SELECT DISTINCT ON (code) code, version, digest, origin FROM entry_version
    WHERE kind = :kind
      AND (CAST(:codes AS text[]) IS NULL OR code = ANY (CAST(:codes AS text[])))
      AND (CAST(:origin AS text) IS NULL OR origin = :origin)
    ORDER BY code, version DESC
    """
)
_BODIES = text(
    """
    SELECT DISTINCT ON (code) code, body FROM entry_version
    WHERE kind = :kind AND code = ANY (CAST(:codes AS text[])) ORDER BY code, version DESC
    """
)
_CLOSE = text(
    """
    UPDATE entry_version AS v
    SET valid_to = given.valid_from - 1, changed_at = clock_timestamp(),
        change = nextval('catalogue_change')
    FROM unnest(CAST(:codes AS text[]), CAST(:days AS date[])) AS given (code, valid_from)
    WHERE v.kind = :kind AND v.code = given.code
      AND (v.valid_to IS NULL OR v.valid_to >= given.valid_from)
      AND (v.valid_from IS NULL OR v.valid_from <= greatest(given.valid_from, :today))
    RETURNING v.*
    """
)
_ADD = text(
    """
    INSERT INTO entry_version (kind, code, version, digest, origin, valid_from, valid_to, body)
    SELECT :kind, code, version, digest, :origin, valid_from,
           (SELECT min(later.valid_from) - 1 FROM entry_version AS later
            WHERE later.kind = :kind AND later.code = given.code
              AND later.valid_from > greatest(given.valid_from, :today)
              AND (later.valid_to IS NULL OR later.valid_to >= later.valid_from)),
           body
    FROM unnest(CAST(:codes AS text[]), CAST(:versions AS integer[]), CAST(:digests AS bytea[]),
                CAST(:days AS date[]), CAST(:bodies AS text[]))
        AS given (code, version, digest, valid_from, body)
    RETURNING *
    """
)


async def lock(connection: AsyncConnection) -> None:
    """Wait until nobody else writes to the catalogue; held to the end of the transaction."""
    await connection.execute(_TAKE_LOCK, {"lock": _LOCK})


async def newest(
    connection: AsyncConnection,
    kind: Kind,
    codes: Sequence[str] | None = None,
    origin: Origin | None = None,
) -> Mapping[str, Newest]:
    """The last version of each entry, or the last one of an origin."""
    values = {"kind": kind, "codes": codes, "origin": origin}
    rows = await connection.execute(_NEWEST, values)
    return {row.code: Newest(row.version, row.digest, row.origin) for row in rows}


async def bodies(
    connection: AsyncConnection, kind: Kind, codes: Sequence[str]
) -> Mapping[str, str]:
    """The content of the last version of each entry."""
    if not codes:
        return {}
    rows = await connection.execute(_BODIES, {"kind": kind, "codes": codes})
    return {row.code: row.body for row in rows}


async def add(
    connection: AsyncConnection, kind: Kind, origin: Origin, given: Sequence[Given], today: date
) -> tuple[list[Version], list[Version]]:
    """Write versions, each of another entry, and end those that they replace.

    A version ends on the day before the new one begins. One that is still to come stays: the new
    one then ends where that begins.

    Returns:
        the versions that were ended, and the new ones.
    """
    values: dict[str, object] = {
        "kind": kind,
        "origin": origin,
        "today": today,
        "codes": [one.code for one in given],
        "days": [one.valid_from for one in given],
    }
    ended = (
        await connection.execute(_CLOSE, _only(values, "kind", "today", "codes", "days"))
    ).all()
    values |= {
        "versions": [one.version for one in given],
        "digests": [one.digest for one in given],
        "bodies": [one.body for one in given],
    }
    added = (await connection.execute(_ADD, values)).all()
    return [_version(row) for row in ended], [_version(row) for row in added]


_VALID_ON = text(
    """
    SELECT * FROM entry_version
    WHERE kind = :kind AND code = :code AND (valid_from IS NULL OR valid_from <= :day)
      AND (valid_to IS NULL OR valid_to >= :day)
    ORDER BY version DESC LIMIT 1
    """
)
_OF_ENTRY = text(
    """
    SELECT * FROM entry_version WHERE kind = :kind AND code = :code
    ORDER BY version DESC LIMIT :most
    """
)
_ONE = text(
    "SELECT * FROM entry_version WHERE kind = :kind AND code = :code AND version = :version"
)
_VALID = text(
    """
    SELECT DISTINCT ON (code) * FROM entry_version
    WHERE kind = :kind AND code = ANY (CAST(:codes AS text[]))
      AND (valid_from IS NULL OR valid_from <= :day) AND (valid_to IS NULL OR valid_to >= :day)
    ORDER BY code, version DESC
    """
)
_CHANGES = text(
    """
    SELECT * FROM entry_version WHERE change > :since AND kind = ANY (CAST(:kinds AS text[]))
    ORDER BY change LIMIT :limit
    """
)
_LAST_CHANGE = text("SELECT changed_at FROM entry_version ORDER BY change DESC LIMIT 1")


async def valid_on(connection: AsyncConnection, kind: Kind, code: str, day: date) -> Version | None:
    """The version of an entry that is valid on a day."""
    found = await connection.execute(_VALID_ON, {"kind": kind, "code": code, "day": day})
    row = found.first()
    return _version(row) if row else None


async def one(connection: AsyncConnection, kind: Kind, code: str, version: int) -> Version | None:
    """A version by its number."""
    found = await connection.execute(_ONE, {"kind": kind, "code": code, "version": version})
    row = found.first()
    return _version(row) if row else None


async def of_entry(connection: AsyncConnection, kind: Kind, code: str) -> list[Version]:
    """All versions of an entry, the newest first (of more than 500 the newest ones)."""
    values = {"kind": kind, "code": code, "most": _MOST_VERSIONS}
    return [_version(row) for row in await connection.execute(_OF_ENTRY, values)]


async def valid(
    connection: AsyncConnection, kind: Kind, codes: Sequence[str], day: date
) -> list[Version]:
    """The versions of these entries that are valid on a day."""
    values = {"kind": kind, "codes": codes, "day": day}
    return [_version(row) for row in await connection.execute(_VALID, values)]


async def changes(
    connection: AsyncConnection, kinds: Sequence[Kind], since: int, limit: int
) -> list[Version]:
    """Versions that were written or ended behind a change, in this order."""
    values = {"kinds": kinds, "since": since, "limit": limit}
    return [_version(row) for row in await connection.execute(_CHANGES, values)]


async def last_change(connection: AsyncConnection) -> datetime | None:
    """When anything last changed."""
    at: datetime | None = (await connection.execute(_LAST_CHANGE)).scalar_one_or_none()
    return at


def _version(row: Row[Any]) -> Version:
    return Version(
        kind=cast("Kind", row.kind),
        code=row.code,
        version=row.version,
        origin=row.origin,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        changed_at=row.changed_at,
        change=row.change,
        body=row.body,
    )


def _only(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}
