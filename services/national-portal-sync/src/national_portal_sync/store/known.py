"""What the portal is known to have, and what is on its way to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Text,
    column,
    func,
    or_,
    select,
    table,
    text,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from national_portal_sync.domain.keys import PARTNER


@dataclass(frozen=True, slots=True)
class Learnt:
    """What was learnt of a dossier: whether the portal has it, and which snapshot it just took."""

    code: str
    agency: str
    known: bool
    sent_version: int | None = None
    sent_status: str | None = None
    account: str | None = None
    """Under which it took the snapshot."""


@dataclass(frozen=True, slots=True)
class StepSent:
    """A step that the portal has, perhaps twice."""

    code: str
    agency: str
    number: int
    maybe_doubled: bool


async def known(connection: AsyncConnection, codes: Sequence[str]) -> set[str]:
    """Those of the dossiers that the portal has."""
    found = await connection.execute(
        text("SELECT code FROM portal_dossier WHERE code = ANY(CAST(:codes AS text[])) AND known"),
        {"codes": list(codes)},
    )
    return set(found.scalars())


_LEARN = text(
    """
    INSERT INTO portal_dossier AS p
        (code, agency, known, sent_version, sent_status, sent_at, account)
    SELECT code, agency, known, version, status, CASE WHEN version IS NOT NULL THEN now() END,
        account
    FROM unnest(CAST(:codes AS text[]), CAST(:agencies AS text[]), CAST(:known AS boolean[]),
         CAST(:versions AS bigint[]), CAST(:statuses AS text[]), CAST(:accounts AS text[]))
         AS learnt (code, agency, known, version, status, account)
    ORDER BY code
    ON CONFLICT (code) DO UPDATE SET known = excluded.known, agency = excluded.agency,
        account = coalesce(excluded.account, p.account),
        sent_version = coalesce(excluded.sent_version, p.sent_version),
        sent_status = coalesce(excluded.sent_status, p.sent_status),
        sent_at = coalesce(excluded.sent_at, p.sent_at)
    """
)


async def learn(connection: AsyncConnection, learnt: Sequence[Learnt]) -> None:
    """Note what was learnt; of each dossier the last counts."""
    rows = list({one.code: one for one in learnt}.values())
    if not rows:
        return
    await connection.execute(
        _LEARN,
        {
            "codes": [one.code for one in rows],
            "agencies": [one.agency for one in rows],
            "known": [one.known for one in rows],
            "versions": [one.sent_version for one in rows],
            "statuses": [one.sent_status for one in rows],
            "accounts": [one.account for one in rows],
        },
    )


_STEPS = text(
    """
    INSERT INTO portal_dossier AS p (code, agency, known, steps, step_sent_at, maybe_doubled)
    SELECT code, min(agency), true, count(*), now(),
        coalesce(array_agg(number ORDER BY number) FILTER (WHERE doubled), '{}')
    FROM unnest(CAST(:codes AS text[]), CAST(:agencies AS text[]), CAST(:numbers AS integer[]),
         CAST(:doubled AS boolean[])) AS sent (code, agency, number, doubled)
    GROUP BY code ORDER BY code
    ON CONFLICT (code) DO UPDATE SET known = true, steps = p.steps + excluded.steps,
        step_sent_at = excluded.step_sent_at,
        maybe_doubled = p.maybe_doubled || excluded.maybe_doubled
    """
)


async def note_steps(connection: AsyncConnection, steps: Sequence[StepSent]) -> None:
    """Count steps that the portal took, and name those that it may have twice."""
    if not steps:
        return
    await connection.execute(
        _STEPS,
        {
            "codes": [step.code for step in steps],
            "agencies": [step.agency for step in steps],
            "numbers": [step.number for step in steps],
            "doubled": [step.maybe_doubled for step in steps],
        },
    )


_DOSSIER = text(
    """
    SELECT code, agency, known, sent_version, sent_status, sent_at, steps, step_sent_at,
           maybe_doubled, account
    FROM portal_dossier WHERE code = :code
    """
)
_MOST_WAITING = 500

_delivery = table(
    "delivery",
    column("partner", Text),
    column("id", BigInteger),
    column("agency", Text),
    column("subject", Text),
    column("kind"),
    column("key"),
    column("version"),
    column("state", Text),
    column("attempts"),
    column("error"),
    column("maybe_doubled"),
    column("created_at"),
    column("next_at"),
)
_own = _delivery.c
_OURS = _own.partner == PARTNER


def _of(agencies: Sequence[str]) -> ColumnElement[bool]:
    """Items of these agencies' subtrees: the root itself and what begins with it and a dot."""
    if "*" in agencies:
        return true()
    below = (_own.agency.startswith(root + ".", autoescape=True) for root in agencies)
    return or_(_own.agency.in_(agencies), *below)


async def dossier(connection: AsyncConnection, code: str) -> Row[Any] | None:
    """The row of a dossier, or None."""
    return (await connection.execute(_DOSSIER, {"code": code})).one_or_none()


async def waiting(connection: AsyncConnection, code: str) -> Sequence[Row[Any]]:
    """What of a dossier is still on its way, in order."""
    of_dossier = select(_delivery).where(_OURS, _own.subject == code)
    return (await connection.execute(of_dossier.order_by(_own.id).limit(_MOST_WAITING))).all()


async def held(
    connection: AsyncConnection, agencies: Sequence[str], after: int, limit: int
) -> Sequence[Row[Any]]:
    """Items held for an operator, of these agencies' subtrees."""
    found = select(_delivery).where(_OURS, _own.state == "held", _own.id > after, _of(agencies))
    return (await connection.execute(found.order_by(_own.id).limit(limit))).all()


async def release(
    connection: AsyncConnection, agencies: Sequence[str], id_: int
) -> Row[Any] | None:
    """Let a held item go out again; its row, or None where no such item is held."""
    released = (
        update(_delivery)
        .where(_OURS, _own.state == "held", _own.id == id_, _of(agencies))
        .values(state="due", next_at=func.now(), attempts=0)
        .returning(*_own)
    )
    return (await connection.execute(released)).one_or_none()


async def summary(connection: AsyncConnection, agencies: Sequence[str]) -> Sequence[Row[Any]]:
    """How much waits, by kind and state, and since when."""
    counted = (
        select(
            _own.kind,
            _own.state,
            func.count().label("items"),
            func.min(_own.created_at).label("oldest"),
        )
        .where(_OURS, _of(agencies))
        .group_by(_own.kind, _own.state)
        .order_by(_own.kind, _own.state)
    )
    return (await connection.execute(counted)).all()
