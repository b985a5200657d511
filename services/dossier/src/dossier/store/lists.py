"""Lists of dossiers: pages that cost the same wherever they are and however many there are.

Within the order of bytes an agency's subtree is one range of the agency column: a code continues
with a full stop, and the next character after that is a slash. A page of several subtrees is one
range of an index for each; one that goes on from a place begins there, not at the subtree's start.
The lines themselves rest as they are shown, so that no dossier is read as a whole.

A client that deals with some procedures only gets a range for each of them, since those may be rare
among an agency's dossiers; in lists by a moment the range of time bounds what is looked at instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierState
from dossier.domain.model import Dossier

LINE = frozenset(
    {
        *("code", "agency", "procedure", "channel", "status", "submitted_at", "received_at"),
        *("due_at", "finished_at", "returned_at", "historic"),
    }
)
"""The fields of a dossier that a list shows."""

Order = Literal["code", "submitted", "due"]

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_OPEN = "status IN (1, 2, 4, 5, 6) AND due_at IS NOT NULL"  # as the index says it


class Place(NamedTuple):
    """Where a page ends; ``moment`` in lists by one."""

    agency: str
    code: str
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is made of.

    Attributes:
        subtrees: roots of agency subtrees that do not overlap; ``*`` for all.
        procedure: the one that is asked for.
        procedures: those the client deals with; None for all.
        submitted, due: from when, and before when; dossiers by due date are those not finished.
        overdue_at: only those whose due date lay before, where the time runs and somebody told it.
        after: where the page before ended.
    """

    subtrees: Sequence[str]
    limit: int
    status: str | None = None
    procedure: str | None = None
    procedures: Sequence[str] | None = None
    channel: str | None = None
    historic: bool | None = None
    submitted: tuple[datetime | None, datetime | None] = (None, None)
    due: tuple[datetime | None, datetime | None] = (None, None)
    overdue_at: datetime | None = None
    after: Place | None = None

    @property
    def order(self) -> Order:
        """By due date or day of submission within each agency where that is asked for."""
        if self.due != (None, None) or self.overdue_at is not None:
            return "due"
        return "submitted" if self.submitted != (None, None) else "code"


@dataclass(frozen=True, slots=True)
class Line:
    """A dossier in a list: its place, and what is shown of it as JSON."""

    place: Place
    shown: bytes


def line_of(state: DossierState) -> bytes:
    """What a list shows of a dossier, without what changes with every writing."""
    return state.__pydantic_serializer__.to_json(state, include=set(LINE))


async def page(connection: AsyncConnection, wanted: Wanted) -> list[Line]:
    """A page, by agency and then as ``wanted.order`` says."""
    statement, given = _asked(wanted)
    if not given["firsts"] or given.get("procedures") == []:
        return []
    rows = await connection.execute(text(statement), given)
    return [
        Line(
            Place(row.agency, row.code, row.moment),
            _shown(row.line or line_of(Dossier.model_validate_json(row.body).state), row),
        )
        for row in rows
    ]


def _asked(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """The statement of a page, with what it is given."""
    ranges = _ranges(wanted)
    given: dict[str, Any] = {
        "limit": wanted.limit,
        "firsts": [one[0] for one in ranges],
        "beyonds": [one[1] for one in ranges],
        "moments": [one[2] for one in ranges],
        "codes": [one[3] for one in ranges],
    }
    chosen = _conditions(wanted, given)
    if wanted.procedures is not None and wanted.procedure is None:
        given["procedures"] = list(wanted.procedures)
        if wanted.order == "code":
            return _by_procedures(chosen), given
        chosen.append("procedure = ANY(CAST(:procedures AS text[]))")
    return _statement(wanted.order, chosen), given


def _ranges(wanted: Wanted) -> list[tuple[str, str, datetime, str]]:
    """Ranges of agencies, each with the moment and the code after which it begins."""
    found = []
    for root in wanted.subtrees:
        first, beyond = ("", "~") if root == "*" else (root, f"{root}/")
        if wanted.after is None or wanted.after.agency < first:
            found.append((first, beyond, _BEGINNING, ""))
        elif wanted.after.agency < beyond:
            # The rest of the agency where the page ended; no code lies between it and its "below".
            at, rest = wanted.after.agency, f"{wanted.after.agency}."
            found.append((at, rest, wanted.after.moment or _BEGINNING, wanted.after.code))
            found.append((rest, beyond, _BEGINNING, ""))
    return found


def _conditions(wanted: Wanted, given: dict[str, Any]) -> list[str]:
    chosen = []

    def choose(condition: str, name: str, value: object) -> None:
        if value is not None:
            chosen.append(condition)
            given[name] = value

    choose(
        "status = CAST(:status AS smallint)",
        "status",
        int(wanted.status) if wanted.status is not None else None,
    )
    choose("procedure = :procedure", "procedure", wanted.procedure)
    choose("channel = :channel", "channel", wanted.channel)
    if wanted.historic is not None:
        chosen.append("historic" if wanted.historic else "NOT historic")
    choose("submitted_at >= :submitted_from", "submitted_from", wanted.submitted[0])
    choose("submitted_at < :submitted_to", "submitted_to", wanted.submitted[1])
    choose("due_at >= :due_from", "due_from", wanted.due[0])
    choose("due_at < :due_to", "due_to", wanted.due[1])
    choose(
        "due_at < :overdue_at AND status IN (1, 2, 4, 6) AND NOT historic",
        "overdue_at",
        wanted.overdue_at,
    )
    if wanted.order == "due":
        chosen.append(_OPEN)
    return chosen


def _statement(order: Order, chosen: Sequence[str]) -> str:
    if order == "code":
        moment, sort = "NULL::timestamptz", "agency, code"
        after = "(agency, code) > (range.first, range.code)"
    else:
        moment = f"{order}_at"
        sort = f"agency, {moment}, code"
        after = (
            f"agency >= range.first AND {moment} >= range.moment"
            f" AND ({moment}, code) > (range.moment, range.code)"
        )
    conditions = "".join(f" AND {one}" for one in chosen)
    outer = (
        "found.agency, found.code"
        if order == "code"
        else ("found.agency, found.moment, found.code")
    )
    return f"""
        SELECT found.*
        FROM unnest(CAST(:firsts AS text[]), CAST(:beyonds AS text[]),
            CAST(:moments AS timestamptz[]), CAST(:codes AS text[]))
            AS range (first, beyond, moment, code),
        LATERAL (
            SELECT agency, code, {moment} AS moment, line,
                CASE WHEN line IS NULL THEN body END AS body, updated_at, version
            FROM dossier
            WHERE {after} AND agency < range.beyond{conditions}
            ORDER BY {sort} LIMIT :limit
        ) AS found
        ORDER BY {outer} LIMIT :limit
        """  # noqa: S608 - only the fixed conditions above


def _by_procedures(chosen: Sequence[str]) -> str:
    """Places first, from a range of an index for each procedure; lines for those of the page."""
    conditions = "".join(f" AND {one}" for one in chosen)
    return f"""
        SELECT agency, code, NULL::timestamptz AS moment, line,
            CASE WHEN line IS NULL THEN body END AS body, updated_at, version
        FROM (
            SELECT found.code
            FROM unnest(CAST(:firsts AS text[]), CAST(:beyonds AS text[]),
                CAST(:moments AS timestamptz[]), CAST(:codes AS text[]))
                AS range (first, beyond, moment, code),
            unnest(CAST(:procedures AS text[])) AS granted (procedure),
            LATERAL (
                SELECT agency, code FROM dossier
                WHERE procedure = granted.procedure AND (agency, code) > (range.first, range.code)
                  AND agency < range.beyond{conditions}
                ORDER BY agency, code LIMIT :limit
            ) AS found
            ORDER BY found.agency, found.code LIMIT :limit
        ) AS place
        JOIN dossier USING (code)
        ORDER BY agency, code
        """  # noqa: S608 - only the fixed conditions above


def _shown(line: bytes, row: Any) -> bytes:
    updated = row.updated_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return line[:-1] + f',"updated_at":"{updated}","version":{row.version}}}'.encode()
