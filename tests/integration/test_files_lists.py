"""Lists of dossiers by what users look for, page by page."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from common.contracts.dossier import DossierState, StepTaken
from common.database import Database
from dossier.domain.model import Dossier, Taken
from dossier.settings import Settings
from dossier.store import dossiers as store
from dossier.store import lists
from dossier.store.lists import Place, Wanted
from tests.support.dossier_service import dossier_database

NOW = datetime(2026, 11, 21, tzinfo=UTC)
AGENCIES = ("H10", "H10.1", "H10.1.5", "H10.10", "H10.2", "H11.1", "H9")


def states(count: int = 120) -> list[DossierState]:
    rng = random.Random(5)
    made = []
    for number in range(count):
        agency = rng.choice(AGENCIES)
        # Many on the same day, so that a page ends between dossiers of one moment.
        submitted = NOW - timedelta(days=rng.randrange(40))
        made.append(
            DossierState.model_validate(
                {
                    "code": f"{agency}-{submitted:%y%m%d}-{number:04d}",
                    "agency": agency,
                    "procedure": {
                        "code": rng.choice(("1.000016", "1.000017")),
                        "name": "Đăng ký",
                        "field": {"code": None, "name": "Kinh doanh"},
                    },
                    "channel": rng.choice(("1", "2", "3")),
                    "applicant_kind": "1",
                    "sealed": "v1.k1.x",
                    "summary": "Hồ sơ",
                    "status": rng.choice(("1", "2", "4", "5", "9", "10")),
                    "submitted_at": submitted,
                    "due_at": rng.choice((None, submitted + timedelta(days=rng.randrange(20)))),
                    "historic": rng.random() < 0.3,
                }
            )
        )
    return made


STATES = states()


@pytest.fixture
async def database(databases) -> AsyncIterator[Database]:
    url = await dossier_database(databases)
    made = Database(Settings(database_url=SecretStr(url)), name="dossier")
    async with made.transaction() as connection:
        taken = []
        for state in STATES:
            step = StepTaken(number=1, kind="submit", status=state.status, at=state.submitted_at)
            taken.append(Taken(Dossier(state=state, steps=1), step, None))  # type: ignore[arg-type]
        await store.save(connection, taken)
    yield made
    await made.close()


async def paged(database: Database, limit: int, **wanted: Any) -> list[str]:
    found: list[str] = []
    after: Place | None = None
    while True:
        async with database.reading() as connection:
            page = await lists.page(
                connection,
                Wanted(**{"subtrees": ("*",), **wanted}, limit=limit, after=after),
            )
        found += [line.place.code for line in page]
        if len(page) < limit:
            return found
        after = page[-1].place


def inside(state: DossierState, *roots: str) -> bool:
    return any(state.agency == root or state.agency.startswith(root + ".") for root in roots)


def between(moment: datetime | None, since: datetime, until: datetime) -> bool:
    return moment is not None and since <= moment < until


SINCE, UNTIL = NOW - timedelta(days=20), NOW - timedelta(days=10)
OPEN = ("1", "2", "4", "5", "6")
CASES: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda _: True),
    ({"subtrees": ("H10",)}, lambda s: inside(s, "H10")),
    ({"subtrees": ("H10.1", "H11", "H9")}, lambda s: inside(s, "H10.1", "H11", "H9")),
    ({"status": "4", "subtrees": ("H10",)}, lambda s: s.status == "4" and inside(s, "H10")),
    ({"procedure": "1.000017"}, lambda s: s.procedure.code == "1.000017"),
    ({"procedures": ("1.000017",)}, lambda s: s.procedure.code == "1.000017"),
    (
        {"procedures": ("1.000016", "1.000017", "9.999999"), "subtrees": ("H10.1", "H9")},
        lambda s: s.procedure.code in ("1.000016", "1.000017") and inside(s, "H10.1", "H9"),
    ),
    (
        {"procedures": ("1.000017",), "submitted": (SINCE, UNTIL)},
        lambda s: s.procedure.code == "1.000017" and between(s.submitted_at, SINCE, UNTIL),
    ),
    ({"channel": "3"}, lambda s: s.channel == "3"),
    ({"historic": True}, lambda s: s.historic),
    ({"historic": False}, lambda s: not s.historic),
    ({"submitted": (SINCE, UNTIL)}, lambda s: between(s.submitted_at, SINCE, UNTIL)),
    (
        {"submitted": (SINCE, None), "subtrees": ("H10.1", "H9"), "status": "9"},
        lambda s: s.submitted_at >= SINCE and inside(s, "H10.1", "H9") and s.status == "9",
    ),
    (
        {"due": (SINCE, UNTIL)},
        lambda s: between(s.due_at, SINCE, UNTIL) and s.status in OPEN,
    ),
    (
        {"due": (None, UNTIL), "submitted": (SINCE, None)},
        lambda s: (
            s.due_at is not None
            and s.due_at < UNTIL
            and s.status in OPEN
            and s.submitted_at >= SINCE
        ),
    ),
    (
        {"overdue_at": NOW},
        lambda s: (
            s.due_at is not None
            and s.due_at < NOW
            and s.status in ("1", "2", "4")
            and not s.historic
        ),
    ),
]


def key(order: str) -> Any:
    def by(state: DossierState) -> tuple[Any, ...]:
        moment = {"code": None, "submitted": state.submitted_at, "due": state.due_at}[order]
        return (state.agency, state.code) if order == "code" else (state.agency, moment, state.code)

    return by


async def test_pages_together_hold_what_was_asked_for_once_and_in_order(
    database: Database,
) -> None:
    for wanted, holds in CASES:
        by = key(_order(wanted))
        expected = [one.code for one in sorted(filter(holds, STATES), key=by)]
        assert expected, wanted
        for limit in (1, 7, 200):
            assert await paged(database, limit, **wanted) == expected, (wanted, limit)


def _order(wanted: dict[str, Any]) -> str:
    if "due" in wanted or "overdue_at" in wanted:
        return "due"
    return "submitted" if "submitted" in wanted else "code"


async def test_lines_written_before_there_were_any_are_shown_all_the_same(
    database: Database,
) -> None:
    async with database.reading() as connection:
        shown = [line.shown for line in await lists.page(connection, Wanted(("*",), 200))]
        await connection.execute(text("UPDATE dossier SET line = NULL"))
        again = [line.shown for line in await lists.page(connection, Wanted(("*",), 200))]
    assert shown == again


async def test_who_deals_with_no_procedure_gets_an_empty_page(database: Database) -> None:
    assert await paged(database, 50, procedures=()) == []
    assert await paged(database, 50, procedures=(), submitted=(SINCE, UNTIL)) == []


async def test_a_page_is_one_range_of_an_index_for_each_subtree(database: Database) -> None:
    """Also in the middle of a list, and whatever it is by."""
    wishes = [
        Wanted(("H10.1", "H11"), 50),
        Wanted(("*",), 50, after=Place("H10.1", STATES[0].code)),
        Wanted(("H10",), 50, status="4"),
        Wanted(("H10",), 50, procedure="1.000016"),
        Wanted(("H10",), 50, procedures=("1.000016", "1.000017")),
        Wanted(("H10",), 50, procedures=("1.000016",), overdue_at=NOW),
        Wanted(("H10",), 50, submitted=(SINCE, UNTIL)),
        Wanted(("H10",), 50, due=(SINCE, UNTIL)),
        Wanted(("H10",), 50, overdue_at=NOW),
        Wanted(("H10",), 50, historic=False),
    ]
    async with database.reading() as connection:
        await connection.execute(text("SET enable_seqscan = off"))
        await connection.execute(text("SET enable_bitmapscan = off"))
        for wanted in wishes:
            statement, given = lists._asked(wanted)
            rows = await connection.execute(text(f"EXPLAIN {statement}"), given)
            plan = "\n".join(rows.scalars())
            assert "Index Scan using dossier_" in plan, (wanted, plan)
            assert "Seq Scan on dossier" not in plan, (wanted, plan)
