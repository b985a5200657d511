"""The blind index: by what a person's dossiers are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dossier.domain.model import Dossier
from dossier.store.dossiers import Listed


@dataclass(frozen=True, slots=True)
class Entry:
    """That a dossier can be found by something."""

    kind: str
    key_id: str
    digest: bytes
    code: str


_ADD = text(
    """
    INSERT INTO dossier_person (kind, key_id, digest, code)
    SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:keys AS text[]), CAST(:digests AS bytea[]),
        CAST(:codes AS text[])) AS given (kind, key_id, digest, code)
    ORDER BY digest, code
    ON CONFLICT DO NOTHING
    """
)
_FORGET_OTHERS = text(
    """
    DELETE FROM dossier_person USING unnest(CAST(:codes AS text[])) AS of (code)
    WHERE dossier_person.code = of.code AND key_id <> :current
    """
)
_FORGET = text("DELETE FROM dossier_person WHERE code = ANY(CAST(:codes AS text[]))")
_COUNT = text(
    "SELECT key_id, count(*) AS entries FROM dossier_person GROUP BY key_id ORDER BY key_id"
)
_FIND = text(
    """
    SELECT body, updated_at FROM dossier
    JOIN (SELECT DISTINCT person.code
          FROM unnest(CAST(:keys AS text[]), CAST(:digests AS bytea[])) AS sought (key_id, digest)
          JOIN dossier_person AS person USING (key_id, digest)
          WHERE person.kind = :kind) AS found USING (code)
    WHERE erased_at IS NULL AND (agency, code) > (:agency, :code) AND EXISTS (
        SELECT FROM unnest(CAST(:starts AS text[]), CAST(:ends AS text[]))
            AS subtree (first, beyond)
        WHERE agency >= subtree.first AND agency < subtree.beyond)
      AND ('*' = ANY(CAST(:procedures AS text[])) OR procedure = ANY(CAST(:procedures AS text[])))
    ORDER BY agency, code LIMIT :limit
    """
)


async def add(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Enter a batch; what is there already stays."""
    if entries:
        await connection.execute(
            _ADD,
            {
                "kinds": [entry.kind for entry in entries],
                "keys": [entry.key_id for entry in entries],
                "digests": [entry.digest for entry in entries],
                "codes": [entry.code for entry in entries],
            },
        )


async def forget_others(connection: AsyncConnection, codes: Sequence[str], current: str) -> None:
    """Strike out what was entered for these dossiers under another key than this one."""
    await connection.execute(_FORGET_OTHERS, {"codes": list(codes), "current": current})


async def forget(connection: AsyncConnection, codes: Sequence[str]) -> None:
    """Strike out everything about these dossiers."""
    await connection.execute(_FORGET, {"codes": list(codes)})


async def counts(connection: AsyncConnection) -> dict[str, int]:
    """How many entries there are under each key."""
    return {row.key_id: row.entries for row in await connection.execute(_COUNT)}


async def find(
    connection: AsyncConnection,
    kind: str,
    digests: Mapping[str, bytes],
    *,
    subtrees: Sequence[str],
    procedures: Sequence[str],
    after: tuple[str, str] | None,
    limit: int,
) -> list[Listed]:
    """Dossiers by agency and code.

    Args:
        digests: what is sought, under each key.
        subtrees: roots of agency subtrees; ``*`` for all.
        procedures: codes; ``*`` for all.
        after: agency and code of the last one seen.
    """
    agency, code = after or ("", "")
    rows = await connection.execute(
        _FIND,
        {
            "kind": kind,
            "keys": list(digests),
            "digests": list(digests.values()),
            "starts": ["" if root == "*" else root for root in subtrees],
            "ends": ["~" if root == "*" else f"{root}/" for root in subtrees],
            "procedures": list(procedures),
            "agency": agency,
            "code": code,
            "limit": limit,
        },
    )
    return [_listed(body, updated_at) for body, updated_at in rows]


def _listed(body: bytes, updated_at: datetime) -> Listed:
    return Listed(Dossier.model_validate_json(body), updated_at)
