"""Tables and queries.

A dossier rests as one JSON document beside the columns that lists are made of: a batch reads it
with one statement and writes it with two, however many dossiers it touches.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierState, StepTaken
from common.sealing import key_of
from dossier.domain.model import Dossier, Taken
from dossier.store.lists import line_of

_NONE: Mapping[str, str] = MappingProxyType({})

# By code, so that two queues that meet on the same dossiers wait for each other instead of both.
_LOCK = text(
    """
    SELECT code, body FROM dossier WHERE code = ANY(CAST(:codes AS text[]))
    ORDER BY code FOR UPDATE
    """
)
_SAVE = text(
    """
    INSERT INTO dossier AS d (code, agency, procedure, channel, status, version, body, status_at,
                              seal_key, index_key, submitted_at, due_at, historic, line)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:agencies AS text[]),
        CAST(:procedures AS text[]), CAST(:channels AS text[]), CAST(:statuses AS smallint[]),
        CAST(:versions AS integer[]), CAST(:bodies AS bytea[]),
        CAST(:status_ats AS timestamptz[]), CAST(:seal_keys AS text[]),
        CAST(:index_keys AS text[]), CAST(:submitted_ats AS timestamptz[]),
        CAST(:due_ats AS timestamptz[]), CAST(:historics AS boolean[]), CAST(:lines AS bytea[]))
        AS saved (code, agency, procedure, channel, status, version, body, status_at, seal_key,
                  index_key, submitted_at, due_at, historic, line)
    ORDER BY code
    ON CONFLICT (code) DO UPDATE SET agency = excluded.agency, status = excluded.status,
        version = excluded.version, body = excluded.body, updated_at = now(),
        due_at = excluded.due_at, historic = excluded.historic, line = excluded.line,
        status_at = CASE d.status WHEN excluded.status THEN d.status_at ELSE excluded.status_at END
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


async def save(
    connection: AsyncConnection, taken: Sequence[Taken], indexed: Mapping[str, str] = _NONE
) -> None:
    """Write the steps of a batch and the dossiers as the last of them left each.

    Args:
        indexed: for new dossiers that can be found by their persons, the key of the index.
    """
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
            "bodies": [dossier.told() for dossier in dossiers],
            "status_ats": _since(taken, states),
            "seal_keys": [key_of(state.sealed) for state in states],
            "index_keys": [indexed.get(state.code, "") for state in states],
            "submitted_ats": [state.submitted_at for state in states],
            "due_ats": [state.due_at for state in states],
            "historics": [state.historic for state in states],
            "lines": [line_of(state) for state in states],
        },
    )
    await connection.execute(
        _ADD_STEPS,
        {
            "codes": [one.dossier.code for one in taken],
            "numbers": [one.step.number for one in taken],
            "bodies": [one.step.told() for one in taken],
        },
    )


def _since(taken: Sequence[Taken], states: Sequence[DossierState]) -> list[datetime]:
    """Since when each dossier has the status that the batch left it in."""
    since: dict[str, tuple[str, datetime]] = {}
    for one in taken:
        code, status = one.dossier.code, one.step.status
        if code not in since or since[code][0] != status:
            since[code] = status, one.step.at
    return [since[state.code][1] for state in states]


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
class Listed:
    """A dossier in a list, with when it last changed."""

    dossier: Dossier
    updated_at: datetime
