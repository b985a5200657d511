"""Who is far behind holds up nobody: seen in the order of the calls that the portal gets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import pytest

from common.contracts.dossier import DossierImported, DossierProgressed
from common.delivery import queue
from common.envelope import decode
from national_portal_sync.consumers import items_of
from national_portal_sync.domain.keys import PARTNER
from tests.support.databases import Databases
from tests.support.messaging import run_sql
from tests.support.portal import Rig, code_of, envelope, fact, life, overheard, prepared, rig

NEW = code_of(1, "H56")


def imported(code: str, *, tell: bool = True) -> bytes:
    """An old dossier that enters."""
    told = fact(code, 1, DossierProgressed, "9")
    return envelope(DossierImported(**dict(told), tell_portal=tell), code, 1)


async def seed(at_work: Rig, bodies: Iterable[bytes]) -> None:
    """Queue what events lead to, without the consumer."""
    items = [item for body in bodies for item in items_of(decode(body))]
    async with at_work.database.transaction() as connection:
        await queue(connection, PARTNER, items)


async def multiply(at_work: Rig, times: int) -> None:
    """Behind what waits, the same so many times more, under other names."""
    await run_sql(
        at_work.database,
        """
        INSERT INTO delivery (partner, lane, agency, subject, kind, key, version, body, waits)
        SELECT partner, lane, agency, subject || '.' || n, kind,
               replace(key, subject, subject || '.' || n), version, body, waits
        FROM delivery CROSS JOIN generate_series(1, :times) AS n ORDER BY n, id
        """,
        times=times,
    )


@contextlib.asynccontextmanager
async def busy(databases: Databases, **parameters: int) -> AsyncIterator[Rig]:
    template = await databases.template("portal", prepared)
    url = await databases.create("portal", template=template)
    async with rig(url, **parameters) as at_work:
        at_work.fault("*", "delay", ms=10)
        yield at_work


@contextlib.asynccontextmanager
async def delivering(at_work: Rig) -> AsyncIterator[list[tuple[str, str, list[str]]]]:
    """The worker at work; the calls so far."""
    calls = overheard(at_work.portal)
    running = asyncio.create_task(at_work.deliverer.run())
    yield calls
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def reached(calls: list[tuple[str, str, list[str]]], number: int) -> None:
    async with asyncio.timeout(60):
        while len(calls) < number:
            await asyncio.sleep(0.002)


async def place_of(calls: list[tuple[str, str, list[str]]], code: str) -> int:
    """The number of the call that first tells of a dossier, once there is one."""
    async with asyncio.timeout(60):
        while True:
            for place, (_, _, codes) in enumerate(calls):
                if code in codes:
                    return place
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(("steps", "times"), [(10, 24), (100, 0)])
async def test_a_new_dossier_is_in_the_next_call_or_the_one_after_whatever_waits_of_another_agency(
    databases: Databases, steps: int, times: int
) -> None:
    async with busy(databases, parallel=1, batch=50, steps=steps) as at_work:
        await seed(at_work, (body for n in range(1000) for body in life(code_of(n), 1, 3)))
        await multiply(at_work, times)
        async with delivering(at_work) as calls:
            for number in range(1, 6):
                await reached(calls, 5 * number)
                new = code_of(number, f"H{50 + number}")
                before = len(calls)  # the last of them is under way
                await seed(at_work, life(new, 1, 2))
                at_work.deliverer.wake()
                assert await place_of(calls, new) <= before + 1
        left = await at_work.rows("SELECT count(*) AS n FROM delivery WHERE agency = 'H10.15'")
        assert left[0].n > (95_000 if times else 1000), "the other one is still far behind"


async def test_with_calls_side_by_side_it_is_in_one_of_the_next_that_start(
    databases: Databases,
) -> None:
    async with busy(databases, parallel=4, batch=50, steps=10) as at_work:
        await seed(at_work, (body for n in range(1000) for body in life(code_of(n), 1, 3)))
        async with delivering(at_work) as calls:
            await reached(calls, 12)
            before = len(calls)
            await seed(at_work, life(NEW, 1, 1))
            at_work.deliverer.wake()
            assert await place_of(calls, NEW) <= before + 4


async def test_what_is_live_goes_before_a_mass_of_old_dossiers(databases: Databases) -> None:
    async with busy(databases, parallel=1, batch=50) as at_work:
        await seed(at_work, (imported(code_of(n)) for n in range(1000)))
        async with delivering(at_work) as calls:
            await reached(calls, 4)
            before = len(calls)
            same = code_of(5000)  # of the agency that has the mass
            await seed(at_work, [*life(NEW, 1, 1), *life(same, 1, 1)])
            at_work.deliverer.wake()
            for code in (NEW, same):
                assert await place_of(calls, code) <= before + 1
            for _, _, codes in calls:
                assert not {NEW, same} & set(codes) or len(codes) <= 2, "lanes share no call"


async def test_a_mass_of_old_dossiers_gets_its_part_while_much_is_live(
    databases: Databases,
) -> None:
    async with busy(databases, parallel=1, batch=20) as at_work:
        old = {code_of(n, "H90") for n in range(60)}
        await seed(at_work, map(imported, sorted(old)))
        await seed(at_work, (life(code_of(n), 1, 1)[0] for n in range(800)))
        async with delivering(at_work) as calls:
            await reached(calls, 34)
            of_old = [place for place, (*_, codes) in enumerate(calls[:34]) if old & set(codes)]
        assert 3 <= len(of_old) <= 6
        assert all(place >= 5 for place in of_old)


async def test_old_dossiers_are_told_only_where_it_is_wished(databases: Databases) -> None:
    async with busy(databases) as at_work:
        told, untold = code_of(1), code_of(2)
        await at_work.take(imported(told), imported(untold, tell=False))
        rows = await at_work.rows("SELECT DISTINCT subject, lane FROM delivery")
        assert [tuple(row) for row in rows] == [(told, "bulk")]
        await at_work.drain()
        assert untold not in at_work.portal.dossiers


async def test_an_old_dossier_that_goes_on_is_live_from_then_on_and_keeps_its_order(
    databases: Databases,
) -> None:
    async with busy(databases) as at_work:
        code = code_of(1)
        await at_work.take(imported(code))
        await at_work.take(envelope(fact(code, 2, DossierProgressed, "4"), code, 2))
        rows = await at_work.rows("SELECT lane FROM delivery")
        assert {row.lane for row in rows} == {"live"}
        await at_work.drain()
        kept = await at_work.books(code)
        assert kept is not None
        assert [row["step"]["NoiDungXuLy"] for row in kept["steps"]] == ["bước 1", "bước 2"]


async def test_what_was_claimed_and_not_sent_is_given_back_without_a_doubt(
    databases: Databases,
) -> None:
    async with busy(databases, parallel=1, batch=100, steps=5) as at_work:
        await seed(at_work, (body for n in range(100) for body in life(code_of(n), 1, 3)))
        async with delivering(at_work) as calls:
            await reached(calls, 4)
        left = await at_work.rows(
            "SELECT state, maybe_doubled, worker FROM delivery WHERE state <> 'held'"
        )
        assert len(left) > 200
        assert {tuple(row) for row in left} == {("due", False, None)}
