"""The event log and the inbox fall by month, never before their days, and never unpublished."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from common.identifiers import lowest_id_at
from common.outbox import Outbox
from common.retention import drop_old
from common.transport.base import Queue
from common.transport.local import LocalTransport
from tests.support.databases import Databases
from tests.support.messaging import Opened, rows, run_sql

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
async def opened(databases: Databases) -> AsyncIterator[Opened]:
    made = Opened(databases)
    yield made
    await made.close()


def at(moment: datetime) -> str:
    """An id of this moment."""
    return str(lowest_id_at(moment))


async def month(database, table, year, number):
    """A partition, as it was made when its month was to come."""
    start = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    await run_sql(
        database,
        f"CREATE TABLE {table}_{year}_{number:02} PARTITION OF {table} "
        f"FOR VALUES FROM ('{at(start)}') TO ('{at(end)}')",
    )


async def told(database, moment, *, waits=False):
    await run_sql(
        database,
        f"INSERT INTO event_log (event_id, type, body) VALUES ('{at(moment)}', 't', 'x')",
    )
    if waits:
        await run_sql(database, f"INSERT INTO outbox (part, event_id) VALUES (1, '{at(moment)}')")


async def heard(database, moment):
    await run_sql(database, f"INSERT INTO inbox VALUES ('c', '{at(moment)}')")


async def partitions(database, table):
    found = await rows(
        database,
        "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
        f"WHERE inhparent = '{table}'::regclass",
    )
    return {row[0] for row in found}


async def dropped(database, log_days=400, inbox_days=800, now=NOW):
    return await drop_old(database, log_days=log_days, inbox_days=inbox_days, now=now)


async def test_a_month_falls_when_all_of_it_is_older_than_its_days(opened: Opened) -> None:
    database = await opened()
    for number in (8, 9, 10):
        await month(database, "event_log", 2025, number)
        await told(database, datetime(2025, number, 2, tzinfo=UTC))
    # 400 days before are 2025-10-17: of October one part is younger.
    assert await dropped(database) == ["event_log_2025_08", "event_log_2025_09"]
    assert "event_log_2025_10" in await partitions(database, "event_log")
    assert await rows(database, "SELECT count(*) FROM event_log") == [(1,)]
    assert await dropped(database) == []
    last = datetime(2025, 11, 1, tzinfo=UTC) + timedelta(days=400)
    assert await dropped(database, now=last - timedelta(seconds=1)) == []
    assert await dropped(database, now=last) == ["event_log_2025_10"]


async def test_what_is_still_to_be_published_stays_with_its_month(opened: Opened) -> None:
    database = await opened()
    for number in (5, 6):
        await month(database, "event_log", 2025, number)
    await told(database, datetime(2025, 5, 2, tzinfo=UTC))
    await told(database, datetime(2025, 5, 3, tzinfo=UTC), waits=True)
    await told(database, datetime(2025, 6, 2, tzinfo=UTC))
    assert await dropped(database) == ["event_log_2025_06"]
    assert await rows(database, "SELECT count(*) FROM event_log") == [(2,)]
    # Once it is published the month falls.
    transport = LocalTransport()
    got = []

    async def take(bodies):
        got.extend(bodies)

    async def fine():
        pass

    transport.consume(Queue("s", "p", ("#",)), take, check=fine, batch=10)
    await transport.start()
    assert await Outbox(database, "test").publish_once(transport) == 1
    assert await dropped(database) == ["event_log_2025_05"]
    await transport.close()


async def test_what_strayed_into_the_default_partition_falls_row_by_row(
    opened: Opened, monkeypatch
) -> None:
    monkeypatch.setattr("common.retention.BATCH", 2)
    database = await opened()
    old, young = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)
    for day in range(5):
        await told(database, old + timedelta(days=day))
        await heard(database, old + timedelta(days=day))
    await told(database, old + timedelta(days=9), waits=True)
    await told(database, young)
    await heard(database, young)
    await heard(database, NOW - timedelta(days=500))
    assert await dropped(database) == []
    left = await rows(database, "SELECT event_id::text FROM event_log_other ORDER BY 1")
    assert [row[0] for row in left] == [at(old + timedelta(days=9)), at(young)]
    left = await rows(database, "SELECT event_id::text FROM inbox_other ORDER BY 1")
    assert [row[0] for row in left] == [at(NOW - timedelta(days=500)), at(young)]


async def test_what_was_done_is_remembered_longer_than_what_was_told(opened: Opened) -> None:
    database = await opened()
    for table in ("event_log", "inbox"):
        await month(database, table, 2025, 3)
        await month(database, table, 2024, 3)
    assert await dropped(database) == ["event_log_2024_03", "event_log_2025_03", "inbox_2024_03"]


async def test_a_month_that_is_in_use_is_tried_again_later(opened: Opened, monkeypatch) -> None:
    monkeypatch.setattr("common.retention._LOCK_SECONDS", 0.2)
    database = await opened()
    await month(database, "event_log", 2025, 3)
    await month(database, "event_log", 2025, 4)
    held, free = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT * FROM event_log_2025_03"))
            held.set()
            await free.wait()

    reader = asyncio.create_task(read())
    await held.wait()
    assert await dropped(database) == ["event_log_2025_04"]
    free.set()
    await reader
    assert await dropped(database) == ["event_log_2025_03"]


async def test_bytes_that_nobody_could_read_do_not_stay_for_ever(opened: Opened) -> None:
    database = await opened()
    for reason, parked_at in (
        ("undecodable", NOW - timedelta(days=401)),
        ("undecodable", NOW - timedelta(days=399)),
        ("failed", NOW - timedelta(days=900)),
    ):
        await run_sql(
            database,
            "INSERT INTO parked (consumer, event_id, body, reason, parked_at) VALUES "
            f"('c', gen_random_uuid(), 'x', '{reason}', '{parked_at.isoformat()}')",
        )
    await dropped(database)
    left = await rows(database, "SELECT reason, parked_at FROM parked ORDER BY id")
    assert [row[0] for row in left] == ["undecodable", "failed"]
