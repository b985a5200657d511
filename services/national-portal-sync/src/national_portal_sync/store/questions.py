"""Questions that were asked on the portal."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEEP = text(
    """
    INSERT INTO portal_question (id, agency, dossier_code, procedure_code, asked_at, sealed)
    VALUES (:id, :agency, :dossier_code, :procedure_code, :asked_at, :sealed)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
    """
)
_KNOWN = text("SELECT id FROM portal_question WHERE id = ANY(CAST(:ids AS text[]))")
_PAGE = text(
    """
    SELECT * FROM portal_question WHERE id > :after
      AND (CAST(:state AS text) IS NULL OR state = :state)
      AND (:all OR agency = ANY(CAST(:roots AS text[]))
           OR EXISTS (SELECT FROM unnest(CAST(:roots AS text[])) AS r (root)
                      WHERE starts_with(agency, r.root || '.')))
      AND ('*' = ANY(CAST(:procedures AS text[]))
           OR procedure_code = ANY(CAST(:procedures AS text[])))
    ORDER BY id LIMIT :most
    """
)
_ONE = text("SELECT * FROM portal_question WHERE id = :id FOR UPDATE")
_ANSWER = text(
    """
    UPDATE portal_question SET state = 'answered', answer_sha256 = :sha256, answered_by = :by,
        answered_at = now() WHERE id = :id RETURNING *
    """
)
_TOLD = text(
    """
    UPDATE portal_question SET state = 'told', told_at = now()
    WHERE id = ANY(CAST(:ids AS text[])) AND state <> 'told' RETURNING id, agency, told_at
    """
)


async def known(connection: AsyncConnection, ids: Sequence[str]) -> set[str]:
    """Those of the questions that came in before."""
    return set((await connection.execute(_KNOWN, {"ids": list(ids)})).scalars())


async def keep(connection: AsyncConnection, **question: Any) -> bool:
    """Keep a question; False where it came in before."""
    return (await connection.execute(_KEEP, question)).one_or_none() is not None


async def page(
    connection: AsyncConnection,
    roots: Sequence[str],
    procedures: Iterable[str],
    state: str | None,
    after: str,
    most: int,
) -> Sequence[Row[Any]]:
    """Questions to these agencies' subtrees about these procedures, by id.

    One that names no procedure may be about any: it is for those who deal with all.
    """
    values = {"all": "*" in roots, "roots": list(roots), "state": state}
    values["procedures"] = list(procedures)
    found = await connection.execute(_PAGE, {**values, "after": after, "most": most})
    return found.all()


async def locked(connection: AsyncConnection, question: str) -> Row[Any] | None:
    """A question, with nobody else answering it until the transaction ends."""
    return (await connection.execute(_ONE, {"id": question})).one_or_none()


async def answer(connection: AsyncConnection, question: str, sha256: str, by: str) -> Row[Any]:
    """Note that an answer is on its way."""
    values = {"id": question, "sha256": sha256, "by": by}
    return (await connection.execute(_ANSWER, values)).one()


async def told(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Note that the portal has the answers; those of which that is new."""
    return (await connection.execute(_TOLD, {"ids": sorted(ids)})).all()
