"""Due dates that approach or pass are told once, whatever happens meanwhile."""

import asyncio
import importlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from common.contracts.dossier import DeadlineApproaching, DeadlineNotice, DossierOverdue
from common.outbox import Outbox
from common.settings import TelemetrySettings
from common.telemetry import Telemetry
from dossier.store import deadlines as store
from dossier.use_cases import deadlines as use_cases
from dossier.use_cases.deadlines import Watch
from tests.support.dossier_service import dossier_database, dossier_service
from tests.support.dossiers import AGENCY, code, command, envelope, submission

PROCEDURE = {
    "code": "1.000016",
    "name": "Cấp phép",
    "field": {"code": "G05", "name": "Đầu tư"},
    "time": {"quantity": 10, "unit": "working-day"},
}


def at(day: str, time: str = "09:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{time}+07:00")


RECEIVED, WARNED, DUE = at("2026-03-02"), at("2026-03-12"), at("2026-03-16")


@pytest.fixture
async def service(databases):
    async with dossier_service(await dossier_database(databases)) as made:
        yield made


class Desk:
    """Sends commands, watches at chosen times, and reads what was told."""

    def __init__(self, service):
        self.service = service
        self.sent: dict[str, int] = {}
        self.now = RECEIVED

    async def do(self, dossier: str, *commands):
        batch = []
        for one in commands:
            self.sent[dossier] = self.sent.get(dossier, 0) + 1
            event = submission(dossier, one)
            batch.append(envelope(event, self.sent[dossier], aggregate=dossier))
        await self.service.submissions.take(batch)

    async def open(self, dossier: str, **fields):
        begun = command("submit", procedure=PROCEDURE, at=RECEIVED)
        await self.do(dossier, begun, command("receive", at=RECEIVED, **fields))

    def watch(self) -> Watch:
        """A worker as a new process would have it."""
        database = self.service.database
        telemetry = Telemetry("dossier", TelemetrySettings())
        return Watch(Outbox(database, "dossier"), database, telemetry, lambda: self.now)

    async def at(self, now: datetime) -> list[tuple[str, str]]:
        """Which notices of which dossiers are told at a moment."""
        self.now = now
        known = len(await self.notices())
        watch = self.watch()
        while await watch.step(now) == use_cases.BATCH:
            pass
        return sorted((one.dossier_code, kind(one)) for one in (await self.notices())[known:])

    async def notices(self) -> list[DeadlineNotice]:
        told = await self.service.told()
        return [one.event for one in told if isinstance(one.event, DeadlineNotice)]


def kind(notice: DeadlineNotice) -> str:
    return {DeadlineApproaching: "approaching", DossierOverdue: "overdue"}[type(notice)]


@pytest.fixture
def desk(service):
    return Desk(service)


A, B = code(1), code(2)


async def test_each_notice_is_told_once_and_at_its_time(desk):
    await desk.open(A)
    assert await desk.at(WARNED - timedelta(seconds=1)) == []
    assert await desk.at(WARNED) == [(A, "approaching")]
    assert await desk.at(WARNED + timedelta(hours=1)) == []
    assert await desk.at(DUE - timedelta(seconds=1)) == []
    assert await desk.at(DUE) == [(A, "overdue")]
    assert await desk.at(DUE + timedelta(days=365)) == []


async def test_a_notice_says_of_what_and_since_when(desk):
    await desk.open(A)
    await desk.at(WARNED + timedelta(minutes=7))
    await desk.do(A, command("progress", at=WARNED))
    await desk.at(DUE + timedelta(minutes=7))
    approaching, overdue = await desk.notices()
    assert approaching == DeadlineApproaching(
        dossier_code=A,
        agency=AGENCY,
        procedure_code="1.000016",
        status="2",
        due_at=DUE,
        at=WARNED,
    )
    assert (overdue.status, overdue.due_at, overdue.at) == ("4", DUE, DUE)


async def test_a_notice_stands_outside_the_order_of_the_dossier(desk):
    await desk.open(A)
    await desk.at(DUE)
    last = (await desk.service.told())[-1]
    assert (last.sequence, last.subject) == (None, A)


async def test_after_a_long_standstill_only_what_is_still_true_is_told(desk):
    await desk.open(A)
    assert await desk.at(DUE + timedelta(days=3)) == [(A, "overdue")]
    assert await desk.at(DUE + timedelta(days=4)) == []


async def test_a_clock_that_is_set_back_repeats_nothing(desk):
    await desk.open(A)
    assert await desk.at(DUE) == [(A, "overdue")]
    assert await desk.at(WARNED) == []
    assert await desk.at(DUE) == []


async def test_two_workers_at_the_same_time_tell_each_notice_once(desk):
    codes = [code(n) for n in range(120)]
    for one in codes:
        await desk.open(one)
    first, second = desk.watch(), desk.watch()
    store_batch, use_cases.BATCH = use_cases.BATCH, 7
    try:

        async def work(watch):
            while await watch.step(DUE):
                await asyncio.sleep(0)

        await asyncio.gather(work(first), work(second), work(desk.watch()))
    finally:
        use_cases.BATCH = store_batch
    told = [one.dossier_code for one in await desk.notices()]
    assert sorted(told) == sorted(codes)


async def test_a_row_that_another_worker_has_in_hand_is_passed_over(desk):
    await desk.open(A)
    await desk.open(B)
    async with desk.service.database.transaction() as connection:
        (held, *_) = await store.take(connection, DUE, 1)
        async with asyncio.timeout(5):
            assert await desk.watch().step(DUE) == 1
    (told,) = await desk.notices()
    assert {held.code, told.dossier_code} == {A, B}
    assert await desk.at(DUE) == [(held.code, "overdue")]


async def test_a_crash_before_the_commit_loses_nothing(desk, monkeypatch):
    await desk.open(A)

    async def crash(*_):
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(store, "mark", crash)
        with pytest.raises(RuntimeError):
            await desk.watch().step(WARNED)
    assert await desk.notices() == []
    assert await desk.at(WARNED) == [(A, "approaching")]


async def test_a_crash_after_the_commit_repeats_nothing(desk):
    await desk.open(A)
    await desk.watch().step(WARNED)  # and that worker is never heard of again
    assert await desk.at(WARNED) == []
    assert [kind(one) for one in await desk.notices()] == ["approaching"]


async def test_a_due_date_that_is_put_off_is_told_anew(desk):
    await desk.open(A)
    assert await desk.at(DUE) == [(A, "overdue")]
    later = at("2026-04-01", "17:00")
    await desk.do(A, command("extend", at=DUE, due_at=later, reason="Cần thẩm định thêm"))
    assert await desk.at(DUE + timedelta(days=1)) == []
    assert await desk.at(at("2026-03-30", "17:00")) == [(A, "approaching")]
    assert await desk.at(later) == [(A, "overdue")]
    assert [one.due_at for one in await desk.notices()] == [DUE, later, later]


async def test_a_due_date_that_was_put_off_stays_armed_through_an_interruption(desk):
    await desk.open(A)
    assert await desk.at(DUE) == [(A, "overdue")]
    later = at("2026-04-01", "17:00")
    await desk.do(A, command("extend", at=DUE, due_at=later, reason="Cần thẩm định thêm"))
    await desk.do(A, command("complete", at=DUE))
    await desk.do(A, command("progress", at=DUE))
    assert await desk.at(later - timedelta(hours=1)) == [(A, "approaching")]
    assert await desk.at(later) == [(A, "overdue")]


async def test_a_due_date_that_comes_nearer_is_told_sooner(desk):
    await desk.open(A)
    sooner = at("2026-03-04", "17:00")
    await desk.do(A, command("receive", at=RECEIVED, due_at=sooner))
    assert await desk.at(sooner) == [(A, "overdue")]
    assert await desk.at(DUE) == []


async def test_a_step_that_does_not_change_the_due_date_arms_nothing_anew(desk):
    await desk.open(A)
    assert await desk.at(WARNED) == [(A, "approaching")]
    before = await desk.service.rows("SELECT xmin, * FROM deadline")
    await desk.do(A, command("progress", at=WARNED))
    assert await desk.service.rows("SELECT xmin, * FROM deadline") == before
    assert await desk.at(WARNED + timedelta(hours=1)) == []
    assert await desk.at(DUE) == [(A, "overdue")]


async def test_while_papers_are_waited_for_nothing_is_told(desk):
    await desk.open(A)
    await desk.do(A, command("request-supplement", at=at("2026-03-04")))
    assert await desk.at(DUE + timedelta(days=30)) == []
    await desk.do(A, command("give-supplement", at=at("2026-03-11")))
    moved = at("2026-03-23")
    assert await desk.at(at("2026-03-19") - timedelta(seconds=1)) == []
    assert await desk.at(at("2026-03-19")) == [(A, "approaching")]
    assert await desk.at(moved) == [(A, "overdue")]


async def test_papers_that_come_at_once_repeat_nothing(desk):
    await desk.open(A)
    assert await desk.at(WARNED) == [(A, "approaching")]
    asked = command("request-supplement", at=WARNED)
    await desk.do(A, asked)
    await desk.do(A, command("give-supplement", at=WARNED))
    assert await desk.at(WARNED + timedelta(hours=1)) == []
    assert await desk.at(DUE) == [(A, "overdue")]


@pytest.mark.parametrize("last", ["complete", "withdraw", "pause", "return"])
async def test_of_a_finished_dossier_nothing_is_told(desk, last):
    await desk.open(A)
    await desk.do(A, command(last, at=at("2026-03-10")))
    assert await desk.at(DUE) == []
    rows = await desk.service.rows("SELECT next_at, running FROM deadline")
    assert rows in ([], [(None, False)])


async def test_a_dossier_that_was_finished_too_soon_goes_on_where_it_was(desk):
    await desk.open(A)
    assert await desk.at(WARNED) == [(A, "approaching")]
    await desk.do(A, command("complete", at=WARNED))
    assert await desk.at(WARNED + timedelta(hours=1)) == []
    await desk.do(A, command("progress", at=WARNED))
    assert await desk.at(WARNED + timedelta(hours=2)) == []
    assert await desk.at(DUE) == [(A, "overdue")]
    await desk.do(A, command("complete", at=DUE), command("progress", at=DUE))
    assert await desk.at(DUE + timedelta(days=1)) == []


async def test_of_a_closed_dossier_the_schedule_keeps_nothing(desk):
    await desk.open(A)
    await desk.do(A, command("return", at=at("2026-03-10")))
    assert await desk.service.rows("SELECT code FROM deadline") == []


async def test_of_a_dossier_without_due_date_nothing_is_kept(desk):
    begun = command("submit", procedure={**PROCEDURE, "time": None}, at=RECEIVED)
    await desk.do(A, begun, command("receive", at=RECEIVED))
    assert await desk.service.rows("SELECT code FROM deadline") == []


async def test_a_batch_that_fails_leaves_the_schedule_as_it_was(desk, monkeypatch):
    await desk.open(A)
    before = await desk.service.rows("TABLE deadline")
    later = command("extend", at=RECEIVED, due_at=at("2026-05-01"), reason="x")

    async def crash(*_):
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(store, "keep", crash)
        await desk.do(A, later)
    assert await desk.service.rows("TABLE deadline") == before
    rows = await desk.service.rows("SELECT version FROM dossier")
    assert rows == [(2,)], "neither is the step there without its due date"


async def test_a_due_date_that_is_being_changed_is_left_alone_until_that_is_done(desk):
    await desk.open(A)
    async with desk.service.database.transaction() as connection:
        later = at("2026-04-01")
        await connection.execute(
            text("UPDATE deadline SET due_at = :due, next_at = :due, told = 0"), {"due": later}
        )
        assert await desk.watch().step(DUE) == 0, "in the hands of another: passed over"
    assert await desk.watch().step(DUE) == 0
    assert await desk.notices() == []


async def test_dossiers_from_before_the_schedule_are_put_on_it(desk):
    asked, finished = command("request-supplement"), command("complete")
    fee = command("request-fee")
    for number, steps in enumerate(([], [asked], [asked, fee], [finished], [fee]), 1):
        await desk.open(code(number))
        await desk.do(code(number), *steps)
    await desk.open(code(6))
    await desk.do(code(6), command("withdraw"))
    names = "code, due_at, running, told"
    before = await desk.service.rows(f"SELECT {names} FROM deadline ORDER BY code")
    assert [row.running for row in before] == [True, False, False, False, True]
    migration = importlib.import_module("dossier.migrations.versions.0004_deadlines")
    async with desk.service.database.transaction() as connection:
        await connection.execute(text("DELETE FROM deadline"))
        await connection.exec_driver_sql(migration.FILL)
    assert await desk.service.rows(f"SELECT {names} FROM deadline ORDER BY code") == before
    assert await desk.at(DUE) == [(code(1), "overdue"), (code(5), "overdue")]


async def test_a_worker_sleeps_until_the_next_moment_and_half_a_minute_at_most(desk):
    watch = desk.watch()
    assert await watch.pause() == 30
    await desk.open(A)
    assert await watch.pause() == 30
    desk.now = WARNED - timedelta(seconds=12)
    assert await watch.pause() == 12
    desk.now = WARNED + timedelta(days=1)
    assert await watch.pause() == 1, "what another worker has in hand is not asked for all the time"


async def test_operators_see_how_many_dossiers_are_at_risk(desk):
    await desk.open(A)
    await desk.open(B, due_at=at("2026-03-17", "08:00"))
    await desk.open(code(3), due_at=at("2026-03-17", "10:00"))
    for number, last in enumerate(("complete", "request-supplement"), 4):
        await desk.open(code(number))
        await desk.do(code(number), command(last, at=RECEIVED))
    desk.now = DUE
    database = desk.service.database
    telemetry = Telemetry("dossier", TelemetrySettings())
    watch = Watch(Outbox(database, "dossier"), database, telemetry, lambda: desk.now)
    await watch.pause()
    shown = telemetry.metrics().decode()
    assert 'dossiers_at_risk{deadline="overdue"} 1.0' in shown
    assert 'dossiers_at_risk{deadline="within-a-day"} 1.0' in shown


async def test_the_worker_goes_on_by_itself(desk, monkeypatch):
    await desk.open(A)
    desk.now = WARNED
    slept: list[float] = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError
        desk.now = DUE if len(slept) == 1 else desk.now

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await desk.watch().run()
    assert [kind(one) for one in await desk.notices()] == ["approaching", "overdue"]
    assert slept == [30, 30, 30]


async def test_the_wall_clock_knows_its_offset():
    assert abs(use_cases.wall_clock() - datetime.now(UTC)) < timedelta(seconds=5)
