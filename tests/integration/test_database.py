"""The pool of connections under cancellation and loss, migrations, and partitions by month."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common import database as database_module
from common.database import (
    Database,
    DatabaseAway,
    database_is_away,
    ensure_partitions,
    rolled_back,
    sqlstate,
)
from common.identifiers import lowest_id_at, new_id
from tests.support.databases import Databases
from tests.support.messaging import Opened, address, connect, rows, run_sql


@pytest.fixture
async def opened(databases: Databases) -> AsyncIterator[Opened]:
    made = Opened(databases)
    yield made
    await made.close()


async def failure(database: Database, *statements: str) -> Exception:
    """What a transaction of these statements raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - it is what is asked for
        await all_of(database, *statements)
    assert isinstance(raised.value, Exception)
    return raised.value


async def all_of(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_cancelled_tasks_leave_no_connection_in_a_bad_state(opened: Opened) -> None:
    """Requests are cut off at any moment; neither work nor connections may be left behind."""
    database, chance = await opened(pool=3), random.Random(7)
    await run_sql(database, "CREATE TABLE pair (a int, b int)")

    async def work(number: int) -> None:
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO pair (a) VALUES (:a)"), {"a": number})
            await connection.execute(text("SELECT pg_sleep(0.002)"))
            await connection.execute(text("UPDATE pair SET b = a WHERE a = :a"), {"a": number})

    for start in range(0, 150, 5):
        tasks = [asyncio.create_task(work(start + place)) for place in range(5)]
        await asyncio.sleep(chance.random() / 80)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tasks[0].cancelled()
    assert await rows(database, "SELECT count(*) FROM pair WHERE b IS NULL") == [(0,)]
    done = await rows(database, "SELECT a FROM pair WHERE a % 5 = 0")
    assert len(done) == 30
    async with database.transaction(), database.transaction(), database.transaction():
        pass  # all of the pool is there
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE"
    assert await rows(database, f"{idle} 'idle in transaction%'") == [(0,)]


async def test_a_failed_block_is_rolled_back(opened: Opened) -> None:
    database = await opened()
    error = await failure(
        database, "INSERT INTO position VALUES ('c', 's', 1)", "INSERT INTO position VALUES (NULL)"
    )
    assert sqlstate(error) == "23502"
    assert not database_is_away(error)
    assert await rows(database, "SELECT 1 FROM position") == []


async def test_errors_do_not_tell_the_values_that_were_written(opened: Opened) -> None:
    database = await opened()
    with pytest.raises(DBAPIError) as raised:
        await run_sql(database, "SELECT CAST(:secret AS text) / 1", secret="012345678901")
    assert "012345678901" not in f"{raised.value} {raised.value!r}"


async def test_what_says_that_the_database_is_away(opened: Opened) -> None:
    database = await opened(pool=1)
    raising = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"
    for code in ("08006", "53300", "57P01", "40P01", "40001"):
        error = await failure(database, raising.format(code))
        assert database_is_away(error), code
        assert rolled_back(error) == code.startswith("40")
    for code in ("23505", "22001", "P0001"):
        assert not database_is_away(await failure(database, raising.format(code))), code
    killed = await failure(database, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert database_is_away(killed)
    await database.check()  # the pool has a new one
    for error in (TimeoutError(), OSError(), RuntimeError(), KeyError()):
        assert not database_is_away(error)


async def test_a_database_that_cannot_be_reached_is_away() -> None:
    database = connect("postgresql+asyncpg://nobody:secret@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseAway) as raised:
        await database.check()
    assert "secret" not in str(raised.value)
    with pytest.raises(DatabaseAway):
        await all_of(database, "SELECT 1")
    await database.close()


async def test_a_pool_that_is_used_up_is_away(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await opened(pool=1)
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.1)
    async with database.transaction():
        with pytest.raises(DatabaseAway):
            await database.check()
    await database.check()


async def test_a_session_that_idles_in_a_transaction_is_ended(opened: Opened) -> None:
    """A process that is frozen in the middle of a window must not hold its locks for ever."""
    database = await opened()
    setting = "SELECT current_setting('idle_in_transaction_session_timeout')"
    assert await rows(database, setting) == [("1min",)]


async def test_partitions_are_there_for_the_months_to_come(opened: Opened) -> None:
    database = await opened()
    now = datetime.now(UTC)
    for table in ("event_log", "inbox"):
        names = [
            name
            for (name,) in await rows(
                database,
                "SELECT inhrelid::regclass::text FROM pg_inherits "
                "WHERE inhparent = CAST(:table AS regclass) ORDER BY 1",
                table=table,
            )
        ]
        assert len(names) == 5
        assert f"{table}_{now:%Y_%m}" in names
        assert f"{table}_other" in names
    await run_sql(database, "INSERT INTO inbox VALUES ('c', :id)", id=new_id())
    assert await rows(database, "SELECT tableoid::regclass::text FROM inbox") == [
        (f"inbox_{now:%Y_%m}",)
    ]


@pytest.mark.parametrize("month", [1, 12])
async def test_a_new_month_is_added_also_when_its_first_rows_were_there_before_it(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, month: int
) -> None:
    """A service that was down for months, or an id from a clock that runs ahead."""
    database = await opened()
    later = datetime(2031, month, 15, tzinfo=UTC)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return later

    def id_at(moment: datetime) -> UUID:
        return UUID(int=lowest_id_at(moment).int + 7)

    first = datetime(2031, month, 1, tzinfo=UTC)
    inside = [id_at(first), id_at(later)]
    outside = [id_at(first - timedelta(milliseconds=1)), id_at(datetime(2040, 1, 1, tzinfo=UTC))]
    for identifier in (*inside, *outside):
        await run_sql(database, "INSERT INTO inbox VALUES ('c', :id)", id=identifier)
        await run_sql(
            database,
            "INSERT INTO event_log (event_id, type, stream, epoch, sequence, body) "
            "VALUES (:id, 't', 's', 1, 1, 'x')",
            id=identifier,
        )
    monkeypatch.setattr(database_module, "datetime", Later)
    await ensure_partitions(database)
    await ensure_partitions(database)
    for table in ("inbox", "event_log"):
        found = await rows(
            database, f"SELECT tableoid::regclass::text, event_id FROM {table} ORDER BY 2"
        )
        named = {identifier: str(name) for name, identifier in found}
        assert {named[one] for one in inside} == {f"{table}_2031_{month:02}"}
        assert {named[one] for one in outside} == {f"{table}_other"}
    with pytest.raises(DBAPIError):  # the key holds in the new partition too
        await run_sql(database, "INSERT INTO inbox VALUES ('c', :id)", id=inside[0])


async def test_services_that_start_together_add_partitions_once(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await opened()
    others = [opened.again(address(first), pool=2) for _ in range(3)]
    monkeypatch.setattr(database_module, "_MONTHS_AHEAD", 6)
    await asyncio.gather(*(ensure_partitions(database) for database in (first, *others)))
    ((count,),) = await rows(
        first, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'inbox'::regclass"
    )
    assert count == 1 + 7
