"""Tables and queries.

A dossier rests as one JSON document beside the columns that lists are made of: a batch reads it
with one statement and writes it with two, however many dossiers it touches.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import StepTaken
from dossier.domain.model import Dossier, Taken

# By code, so that two queues that meet on the same dossiers wait for each other instead of both.
_LOCK = text(
    """
    SELECT code, body FROM dossier WHERE code = ANY(CAST(:codes AS text[]))
    ORDER BY code FOR UPDATE
    """
)
_SAVE = text(
    """
    INSERT INTO dossier (code, agency, procedure, channel, status, version, body)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:agencies AS text[]),
        CAST(:procedures AS text[]), CAST(:channels AS text[]), CAST(:statuses AS smallint[]),
        CAST(:versions AS integer[]), CAST(:bodies AS bytea[]))
        AS saved (code, agency, procedure, channel, status, version, body)
    ORDER BY code
    ON CONFLICT (code) DO UPDATE SET status = excluded.status, version = excluded.version,
        body = excluded.body, updated_at = now()
    """
)
# The key (code, number) also refuses a second beginning of the same dossier, from another stream.
_ADD_STEPS = text(
    """
    INSERT INTO dossier_step (code, number, body)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:numbers AS integer[]),
        CAST(:bodies AS bytea[]))
    """
)


async def lock(connection: AsyncConnection, codes: Collection[str]) -> dict[str, Dossier]:
    """Those of the dossiers that there are, locked until the transaction ends."""
    rows = await connection.execute(_LOCK, {"codes": list(codes)})
    return {code: Dossier.model_validate_json(body) for code, body in rows}


async def save(connection: AsyncConnection, taken: Sequence[Taken]) -> None:
    """Write the steps of a batch and the dossiers as the last of them left each."""
    if not taken:
        return
    dossiers = list({one.dossier.code: one.dossier for one in taken}.values())
    states = [dossier.state for dossier in dossiers]
    await connection.execute(
        _SAVE,
        {
            "codes": [state.code for state in states],
            "agencies": [state.agency for state in states],
            "procedures": [state.procedure.code for state in states],
            "channels": [state.channel for state in states],
            "statuses": [int(state.status) for state in states],
            "versions": [dossier.steps for dossier in dossiers],
            "bodies": [dossier.__pydantic_serializer__.to_json(dossier) for dossier in dossiers],
        },
    )
    await connection.execute(
        _ADD_STEPS,
        {
            "codes": [one.dossier.code for one in taken],
            "numbers": [one.step.number for one in taken],
            "bodies": [one.step.__pydantic_serializer__.to_json(one.step) for one in taken],
        },
    )


_FIND = text("SELECT body FROM dossier WHERE code = :code")
_STEPS = text(
    """
    SELECT body FROM dossier_step WHERE code = :code AND number > :after
    ORDER BY number LIMIT :limit
    """
)


async def find(connection: AsyncConnection, code: str) -> Dossier | None:
    """One dossier."""
    body = (await connection.execute(_FIND, {"code": code})).scalar_one_or_none()
    return Dossier.model_validate_json(body) if body is not None else None


async def steps(
    connection: AsyncConnection, code: str, *, after: int, limit: int
) -> list[StepTaken]:
    """A part of a dossier's history, in order, from the step after number ``after``."""
    rows = await connection.execute(_STEPS, {"code": code, "after": after, "limit": limit})
    return [StepTaken.model_validate_json(body) for body in rows.scalars()]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is made of.

    Attributes:
        subtrees: roots of agency subtrees that do not overlap; ``*`` for all.
        after: agency and code of the last dossier of the page before.
    """

    subtrees: Sequence[str]
    status: str | None
    procedure: str | None
    after: tuple[str, str] | None
    limit: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A dossier in a list, with when it last changed."""

    dossier: Dossier
    updated_at: datetime


async def page(connection: AsyncConnection, wanted: Wanted) -> list[Listed]:
    """Dossiers by agency and code.

    Within the order of bytes a subtree is one range of the agency column: a code continues with a
    full stop, and the next character after that is a slash. So each page is one range of an index.
    """
    conditions = {
        "status": "status = CAST(:status AS smallint)",
        "procedure": "procedure = :procedure",
        "after": "(agency, code) > (:agency, :code)",
    }
    given: dict[str, Any] = {"limit": wanted.limit}
    given["starts"] = ["" if root == "*" else root for root in wanted.subtrees]
    given["ends"] = ["~" if root == "*" else f"{root}/" for root in wanted.subtrees]
    chosen = []
    if wanted.status is not None:
        chosen.append(conditions["status"])
        given["status"] = int(wanted.status)
    if wanted.procedure is not None:
        chosen.append(conditions["procedure"])
        given["procedure"] = wanted.procedure
    if wanted.after is not None:
        chosen.append(conditions["after"])
        given["agency"], given["code"] = wanted.after
    rows = await connection.execute(_page("".join(f" AND {one}" for one in chosen)), given)
    return [Listed(Dossier.model_validate_json(body), updated_at) for body, updated_at in rows]


def _page(conditions: str) -> Any:
    return text(
        f"""
        SELECT found.body, found.updated_at
        FROM unnest(CAST(:starts AS text[]), CAST(:ends AS text[])) AS subtree (first, beyond),
        LATERAL (
            SELECT agency, code, body, updated_at FROM dossier
            WHERE agency >= subtree.first AND agency < subtree.beyond{conditions}
            ORDER BY agency, code LIMIT :limit
        ) AS found
        ORDER BY found.agency, found.code LIMIT :limit
        """  # noqa: S608 - only the fixed conditions above
    )


_NOTE_READ = text(
    """
    INSERT INTO personal_read (form, dossier, agency, client_id, client_agencies, request_id,
                               fields, status)
    VALUES (:form, :dossier, :agency, :client_id, CAST(:client_agencies AS text[]), :request_id,
            CAST(:fields AS text[]), :status)
    """
)


async def note_read(
    connection: AsyncConnection,
    *,
    form: str,
    dossier: Dossier,
    client_id: str,
    client_agencies: Sequence[str],
    request_id: str,
    fields: Sequence[str],
    status: int,
) -> None:
    """Put down that personal data was read: what NĐ 47/2020 Điều 45 wants in the log of sharing.

    Args:
        form: how it was asked for.
        client_id: who asked; ``client_agencies``: for which agencies.
        fields: which personal fields were in the answer; never their values.
        status: of the answer.
    """
    await connection.execute(
        _NOTE_READ,
        {
            "form": form,
            "dossier": dossier.code,
            "agency": dossier.state.agency,
            "client_id": client_id,
            "client_agencies": list(client_agencies),
            "request_id": request_id,
            "fields": list(fields),
            "status": status,
        },
    )
