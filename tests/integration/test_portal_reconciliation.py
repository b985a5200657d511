"""Reconciliation: what differs between the two books is found, and sent again where that helps."""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from common.contracts.dossier import DossierReceived
from national_portal_sync.clients.checking import FIELDS, Checking
from national_portal_sync.clients.items import VIETNAM
from national_portal_sync.clients.portal import Account, NationalPortal
from national_portal_sync.domain.reconciliation import Difference, Healing, Kind, report_hash
from national_portal_sync.store import healing
from national_portal_sync.store import reconciliation as store
from national_portal_sync.use_cases.healing import healed_of
from national_portal_sync.use_cases.reconciliation import Limits, Reconciliation
from national_portal_sync.use_cases.report import as_csv, report
from simulators.books import json_text
from simulators.national_portal import EXTENSIONS, SERVICES
from tests.support.databases import Databases
from tests.support.portal import PERSONAL, Rig, code_of, envelope, fact, prepared, rig

AGENCY, DAY = "H10.15", date(2026, 11, 2)
FAST = Limits(per_second=100_000, lease_seconds=60.0)


@pytest.fixture
async def portal(databases: Databases) -> AsyncIterator[Rig]:
    template = await databases.template("portal", prepared)
    async with rig(await databases.create("portal", template=template)) as made:
        yield made


def reconciliation(portal: Rig, limits: Limits = FAST, *, lists: bool = False) -> Reconciliation:
    """What works on runs, as a replica has it."""
    if lists:
        portal.portal._services = {**SERVICES, **EXTENSIONS}
    account = Account(
        f"{portal.url}/login", f"{portal.url}/", "tinh", SecretStr("mat-khau"), "H10", "G22"
    )
    client = NationalPortal(portal.http, account, seconds=portal.seconds)
    return Reconciliation(
        portal.database,
        Checking(lambda agency: client, lists=lists),
        FIELDS,
        portal.deliverer._partner.wire,  # type: ignore[attr-defined]
        portal.breaker,
        lambda: None,
        limits,
        lambda: datetime.now(VIETNAM),
    )


async def told(portal: Rig, codes: Sequence[str], status: str = "2", sequence: int = 1) -> None:
    """Tell the portal of dossiers, through the service."""
    for start in range(0, len(codes), 200):
        await portal.take(
            *(
                envelope(
                    fact(code, sequence, DossierReceived, status, official=None), code, sequence
                )
                for code in codes[start : start + 200]
            )
        )
    await portal.drain(rounds=300)


async def ask(portal: Rig) -> Any:
    async with portal.database.transaction() as connection:
        return await store.ask(connection, AGENCY, DAY, "operator")


async def reported(portal: Rig, run: Any) -> dict[str, Any]:
    async with portal.database.reading() as connection:
        row = await store.run_of(connection, run.id)
        assert row is not None
        return report(row, await store.differences(connection, run.id))


async def reconciled(portal: Rig, one: Reconciliation) -> dict[str, Any]:
    run = await ask(portal)
    while await one.once():
        pass
    return await reported(portal, run)


def kinds(told: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in told["differences"]:
        found.setdefault(one["kind"], set()).add(one["code"])
    return found


def change(portal: Rig, code: str, **fields: str) -> None:
    """Change what the portal holds of a dossier, behind everybody's back."""
    kept = portal.portal.dossiers[code]
    kept.item = json_text({**orjson.loads(kept.item), **fields})
    if "TrangThaiHoSo" in fields:
        kept.statuses.append(fields["TrangThaiHoSo"])


def lose(portal: Rig, code: str) -> None:
    portal.portal.in_order.remove(portal.portal.dossiers.pop(code))


def add(portal: Rig, code: str, like: str) -> None:
    """Let the portal have a dossier that nobody here knows."""
    example = portal.portal.dossiers[like]
    made = portal.portal._dossier(code)
    made.item = json_text({**orjson.loads(example.item), "MaHoSo": code})
    made.received, made.statuses = example.received, list(example.statuses)


async def test_a_thousand_seeded_differences_are_all_found_and_healed(portal: Rig) -> None:
    codes = [code_of(number) for number in range(1, 3001)]
    await told(portal, codes)
    lost, other_status, other_content = codes[::10], codes[1::12], codes[2::12]
    strangers = [code_of(number) for number in range(8000, 8200)]
    for code in strangers:
        add(portal, code, codes[5])
    for code in lost:
        lose(portal, code)
    other_status = [code for code in other_status if code not in lost]
    other_content = [code for code in other_content if code not in lost]
    for code in other_status:
        change(portal, code, TrangThaiHoSo="4")
    for code in other_content:
        change(portal, code, MaTTHC="9.999999")
    seeded = len(lost) + len(other_status) + len(other_content) + len(strangers)
    assert seeded >= 900
    more = [code for code in codes[3::30] if code not in lost][: 1000 - seeded]
    for code in more:
        change(portal, code, NgayTiepNhan="20260101000000")
    assert seeded + len(more) == 1000

    one = reconciliation(portal, lists=True)
    first = await reconciled(portal, one)
    assert kinds(first) == {
        "missing-there": set(lost),
        "missing-here": set(strangers),
        "different-status": set(other_status),
        "different-content": {*other_content, *more},
    }
    assert (first["checked"], first["agreed"]) == (3000, 3000 - 800)
    assert first["healed"] == 800
    assert {(d["kind"], d["healing"]) for d in first["differences"]} == {
        ("missing-there", "queued"),
        ("missing-here", "none"),
        ("different-status", "queued"),
        ("different-content", "queued"),
    }

    await portal.drain(rounds=300)
    second = await reconciled(portal, one)
    assert kinds(second) == {"missing-here": set(strangers)}
    for code in lost[:3]:
        books = await portal.books(code)
        assert books is not None
        assert books["status"] == "2"
    async with portal.database.reading() as connection:
        trail = await healing.healings(
            connection,
            (await portal.rows("SELECT id FROM reconciliation ORDER BY id LIMIT 1"))[0].id,
        )
    assert len(trail) == 800
    assert all(row.sent_at and row.reason.startswith("reconciliation: ") for row in trail)


async def test_without_a_list_what_is_missing_here_is_said_not_to_be_checkable(
    portal: Rig,
) -> None:
    codes = [code_of(number) for number in range(1, 40)]
    await told(portal, codes)
    add(portal, code_of(9000), codes[0])
    lose(portal, codes[3])
    told_ = await reconciled(portal, reconciliation(portal))
    assert kinds(told_) == {"missing-there": {codes[3]}}
    assert told_["listed_there"] is None
    assert told_["not_checkable"]["kinds"] == ["steps", "missing-here"]
    assert told_["fields_compared"] == ["MaTTHC", "NgayTiepNhan", "TrangThaiHoSo"]
    assert {"ChuHoSo", "TenTTHC", "TrichYeuHoSo"} <= set(told_["not_checkable"]["fields"])
    assert not any(value in orjson.dumps(told_).decode() for value in PERSONAL)


async def test_a_run_that_is_killed_goes_on_where_it_was(portal: Rig) -> None:
    codes = [code_of(number) for number in range(1, 301)]
    await told(portal, codes)
    gone = codes[::7]
    for code in gone:
        lose(portal, code)
    run = await ask(portal)
    # The last page is never answered: killed in the middle of it.
    portal.fault("TraCuuHoSo", "half_open", after=200)
    slow = reconciliation(portal, Limits(per_second=400, lease_seconds=0.5))
    task = asyncio.create_task(slow.once())
    async with asyncio.timeout(30):
        while not (await portal.rows("SELECT 1 FROM reconciliation WHERE checked >= 200")):
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    halted = await reported(portal, run)
    assert halted["state"] == "running"
    assert 0 < halted["checked"] < 300
    portal.portal.faults.clear()
    other = reconciliation(portal)
    assert not await other.once()  # the lease of the dead one still runs
    await asyncio.sleep(0.6)
    assert await other.once()
    told_ = await reported(portal, run)
    assert (told_["state"], told_["checked"]) == ("done", 300)
    assert kinds(told_) == {"missing-there": set(gone)}
    asked = await portal.calls("TraCuuHoSo")
    assert 300 <= len(asked) <= 300 + 4  # and the questions that were under way
    healed = await portal.rows("SELECT code, count(*) FROM reconciliation_healing GROUP BY code")
    assert {row.code: row.count for row in healed} == dict.fromkeys(gone, 1)


async def test_two_replicas_never_work_on_one_run(portal: Rig) -> None:
    await told(portal, [code_of(number) for number in range(1, 60)])
    await ask(portal)
    one, other = reconciliation(portal), reconciliation(portal)
    assert sorted(await asyncio.gather(one.once(), other.once())) == [False, True]
    assert len(await portal.calls("TraCuuHoSo")) == 59


async def test_what_cannot_be_checked_is_named(portal: Rig) -> None:
    codes = [code_of(number) for number in range(1, 6)]
    await told(portal, codes)
    doubled, unclear = codes[0], codes[1]
    await portal.rows(
        "UPDATE portal_dossier SET steps = 2, maybe_doubled = '{2,1}' WHERE code = :code",
        code=doubled,
    )
    portal.fault("TraCuuHoSo", "wrong_code", match={"MaHoSo": unclear})
    told_ = await reconciled(portal, reconciliation(portal))
    found = {one["code"]: one for one in told_["differences"]}
    assert set(found) == {doubled, unclear}
    assert {one["kind"] for one in found.values()} == {"not-checkable"}
    assert found[doubled]["fields"] == ["step 1", "step 2"]
    assert told_["not_checkable"]["dossiers_with_steps"] == 1
    assert told_["healed"] == 0


async def test_a_held_dossier_is_not_sent_again(portal: Rig) -> None:
    held, fine = code_of(1), code_of(2)
    await told(portal, [held, fine])
    portal.fault("DongBoHoSoMC", "wrong_code", match={"MaHoSo": held})
    await portal.take(envelope(fact(held, 2, DossierReceived, "4", official=None), held, 2))
    await portal.deliverer.once()
    assert (await portal.rows("SELECT state FROM delivery"))[0].state == "held"
    lose(portal, held)
    lose(portal, fine)
    told_ = await reconciled(portal, reconciliation(portal))
    assert {one["code"]: one["healing"] for one in told_["differences"]} == {
        held: "held",
        fine: "queued",
    }
    states = {row.key: row.state for row in await portal.rows("SELECT key, state FROM delivery")}
    assert states == {held: "held", fine: "due"}


async def test_what_is_on_its_way_is_no_difference(portal: Rig) -> None:
    code = code_of(1)
    await told(portal, [code])
    await portal.take(envelope(fact(code, 2, DossierReceived, "4", official=None), code, 2))
    limits = Limits(per_second=100_000, patience_seconds=0)
    told_ = await reconciled(portal, reconciliation(portal, limits))
    assert (told_["on_the_way"], told_["differences"]) == (1, [])


async def test_an_old_state_is_never_sent_after_a_newer_one(portal: Rig) -> None:
    code = code_of(1)
    await told(portal, [code])
    one = reconciliation(portal)
    lose(portal, code)
    seen = one._asked_about

    async def meanwhile(*values: Any, **named: Any) -> Any:
        answer = await seen(*values, **named)
        await told(portal, [code], "4", 2)
        return answer

    one._asked_about = meanwhile  # type: ignore[method-assign]
    told_ = await reconciled(portal, one)
    assert (told_["on_the_way"], told_["differences"]) == (1, [])
    assert await portal.rows("SELECT 1 FROM delivery") == []
    books = await portal.books(code)
    assert books is not None
    assert books["statuses"] == ["4"]


async def test_a_snapshot_is_taken_back_where_a_newer_one_went_out_meanwhile(portal: Rig) -> None:
    code = code_of(1)
    await told(portal, [code])
    run = await ask(portal)
    async with portal.database.reading() as connection:
        (row,) = await store.page(connection, AGENCY, DAY, "", 10)
    await told(portal, [code], "4", 2)
    gone = Difference(code, Kind.MISSING_THERE)
    async with portal.database.transaction() as connection:
        assert await healed_of(connection, run, [(gone, row)], 10) == [(gone, Healing.SUPERSEDED)]
    assert await portal.rows("SELECT 1 FROM delivery") == []
    assert await portal.rows("SELECT 1 FROM reconciliation_healing") == []


async def test_healing_is_bounded_and_given_up_where_it_does_not_help(portal: Rig) -> None:
    codes = [code_of(number) for number in range(1, 21)]
    await told(portal, codes)
    one = reconciliation(portal, Limits(per_second=100_000, heal_most=5))
    for code in codes:
        lose(portal, code)
    told_ = await reconciled(portal, one)
    assert Counter(d["healing"] for d in told_["differences"]) == {"queued": 5, "limit": 15}
    await portal.drain()
    stubborn = reconciliation(portal)
    for _ in range(4):
        for code in codes:
            if code in portal.portal.dossiers:
                lose(portal, code)
        told_ = await reconciled(portal, stubborn)
        await portal.drain()
    assert {d["healing"] for d in told_["differences"]} == {"given-up"}


async def test_a_portal_that_is_away_puts_the_run_off(portal: Rig) -> None:
    await told(portal, [code_of(1), code_of(2)])
    portal.fault("TraCuuHoSo", "status", code=502)
    run = await ask(portal)
    one = reconciliation(portal)
    assert await one.once()
    assert not await one.once()
    told_ = await reported(portal, run)
    assert (told_["state"], told_["checked"]) == ("running", 0)
    (row,) = await portal.rows(
        "SELECT error, failures, next_at > now() AS later FROM reconciliation"
    )
    assert (row.error, row.failures, row.later) == ("HTTP 502", 1, True)
    portal.portal.faults.clear()
    await portal.rows("UPDATE reconciliation SET next_at = now()")
    assert await one.once()
    assert (await reported(portal, run))["agreed"] == 2


async def test_live_items_go_before_reconciliation(portal: Rig) -> None:
    codes = [code_of(number) for number in range(1, 31)]
    await told(portal, codes)
    fresh = code_of(500)
    await portal.take(envelope(fact(fresh, 1, DossierReceived, "2", official=None), fresh, 1))
    await ask(portal)
    one = reconciliation(portal, Limits(per_second=100_000, patience_seconds=30))
    task = asyncio.create_task(one.once())
    await asyncio.sleep(0.4)
    assert await portal.calls("TraCuuHoSo") == []
    await portal.drain()
    async with asyncio.timeout(20):
        assert await task
    assert len(await portal.calls("TraCuuHoSo")) == 31


async def test_nightly_runs_are_asked_for_once(portal: Rig) -> None:
    codes = [code_of(1), code_of(2), code_of(3, "H56.14")]
    await told(portal, codes)
    one = reconciliation(portal, Limits(per_second=100_000, hour=2, days_back=(1, 2)))
    at = datetime(2026, 11, 3, 1, 59, tzinfo=VIETNAM)
    one._now = lambda: at
    assert await one.schedule() == 0
    at += timedelta(minutes=2)
    assert await one.schedule() == 2
    assert await one.schedule() == 0
    rows = await portal.rows("SELECT agency, day, asked_by FROM reconciliation ORDER BY agency")
    assert [(row.agency, row.day, row.asked_by) for row in rows] == [
        ("H10.15", DAY, "schedule"),
        ("H56.14", DAY, "schedule"),
    ]


async def test_the_report_carries_its_hash_and_so_does_every_line_of_the_csv(portal: Rig) -> None:
    codes = [code_of(number) for number in range(1, 10)]
    await told(portal, codes)
    lose(portal, codes[0])
    change(portal, codes[1], TrangThaiHoSo="4")
    told_ = await reconciled(portal, reconciliation(portal))
    assert told_["sha256"] == report_hash(told_)
    lines = list(csv.DictReader(io.StringIO(as_csv(told_))))
    assert [(line["code"], line["kind"]) for line in lines] == [
        (codes[0], "missing-there"),
        (codes[1], "different-status"),
    ]
    assert {line["report_sha256"] for line in lines} == {told_["sha256"]}
    assert (lines[1]["expected_status"], lines[1]["found_status"]) == ("2", "4")
    told_["differences"].pop()
    assert told_["sha256"] != report_hash(told_)
