"""Exchanges with outside systems, counted for each agency and told by the services themselves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common.contracts.exchange import ExchangeObserved
from common.database import Database, DatabaseAway
from common.delivery import Claimed, Outcome, Result
from common.envelope import decode
from common.exchanges import Exchanges
from common.outbox import Outbox, Unit
from tests.support.messaging import _prepare, connect


@pytest.fixture
async def database(database_url) -> AsyncIterator[Database]:
    url = await database_url("exchanges")
    await _prepare(url)
    opened = connect(url)
    yield opened
    await opened.close()


async def told(database: Database) -> list[ExchangeObserved]:
    async with database.reading() as connection:
        rows = await connection.execute(
            text("SELECT body FROM event_log WHERE type = 'exchange.observed.v1' ORDER BY event_id")
        )
        events = [decode(row.body).event for row in rows]
    return [event for event in events if isinstance(event, ExchangeObserved)]


def exchanges(database: Database, **changed: Any) -> Exchanges:
    outbox = Outbox(database, "national-portal-sync")
    return Exchanges("national-portal", outbox, **{"seconds": 3600.0, **changed})


def claimed(agency: str) -> Claimed:
    return Claimed(1, agency, "s", "k", "1", 1, b"", None, 1, False, None, False)


async def test_an_interval_is_told_once_for_each_agency_that_exchanged(database):
    counting = exchanges(database)
    noon = datetime.now(UTC)
    counting.succeeded("H56.14", 3, noon)
    counting.succeeded("H56.14", 1, noon - timedelta(seconds=5))
    counting.failed("H56.14")
    counting.failed("H10", 2)
    await counting.tell()
    await counting.tell()
    found = {event.agency: event for event in await told(database)}
    assert len(await told(database)) == 2
    both = found["H56.14"]
    assert (both.succeeded, both.failed, both.last_success_at) == (4, 1, noon)
    assert (found["H10"].succeeded, found["H10"].failed) == (0, 2)
    assert found["H10"].last_success_at is None
    assert both.started_at <= both.ended_at
    counting.succeeded("H10")
    await counting.tell()
    last = max(await told(database), key=lambda event: event.ended_at)
    assert (last.agency, last.succeeded) == ("H10", 1)
    assert last.started_at >= both.ended_at


async def test_what_became_of_deliveries_counts_where_a_call_was_made(database):
    counting = exchanges(database)
    counting.settled(
        [
            (claimed("H1"), Outcome(Result.DONE)),
            (claimed("H1"), Outcome(Result.UNKNOWN, "no answer", partner_down=True)),
            (claimed("H1"), Outcome(Result.RETRY, "busy", pause=30.0)),
            (claimed("H1"), Outcome(Result.REFUSED, "never")),
            (claimed("H2"), Outcome(Result.RETRY, pause=0.0)),  # it never got to a call
            (claimed("H2"), Outcome(Result.AGAIN)),
            (claimed("H2"), Outcome(Result.NOT_THERE)),
            (claimed("H2"), Outcome(Result.WHOLE)),
        ]
    )
    await counting.tell()
    (event,) = await told(database)
    assert (event.agency, event.succeeded, event.failed) == ("H1", 1, 3)


async def test_more_agencies_than_are_counted_on_their_own_count_for_their_province(database):
    counting = exchanges(database, most=2)
    for number in range(50):
        counting.succeeded(f"H56.{number}")
    await counting.tell()
    found = {event.agency: event.succeeded for event in await told(database)}
    assert found == {"H56.0": 1, "H56.1": 1, "H56": 48}


async def test_what_could_not_be_told_is_told_later_with_nothing_lost_or_doubled(
    database, monkeypatch
):
    counting = exchanges(database)
    write = Outbox._write
    failures = Counter[str]()

    async def failing(self: Outbox, unit: Unit) -> None:
        failures["before"] += 1
        raise DatabaseAway("told to fail")

    counting.succeeded("H1", 2)
    monkeypatch.setattr(Outbox, "_write", failing)
    with pytest.raises(DatabaseAway):
        await counting.tell()
    counting.succeeded("H1", 5)
    monkeypatch.setattr(Outbox, "_write", write)
    await counting.tell()
    await counting.tell()
    assert sorted(event.succeeded for event in await told(database)) == [2, 5]
    assert failures == {"before": 1}


async def test_an_event_that_was_written_though_nobody_heard_so_is_not_told_twice(
    database, monkeypatch
):
    counting = exchanges(database)
    transaction = Outbox.transaction

    @asynccontextmanager
    async def cut(self: Outbox) -> AsyncIterator[Unit]:
        async with transaction(self) as unit:
            yield unit
        raise ConnectionError("told to break")  # after the commit

    counting.succeeded("H1", 2)
    monkeypatch.setattr(Outbox, "transaction", cut)
    with pytest.raises(ConnectionError):
        await counting.tell()
    monkeypatch.setattr(Outbox, "transaction", transaction)
    counting.succeeded("H1", 3)
    await counting.tell()
    await counting.tell()
    assert sorted(event.succeeded for event in await told(database)) == [2, 3]


async def test_what_is_left_is_told_at_the_end_and_the_worker_tells_in_between(database):
    async with exchanges(database, seconds=0.05) as counting:
        counting.succeeded("H1")
        worker = asyncio.create_task(counting.run())
        async with asyncio.timeout(10):
            while not await told(database):
                await asyncio.sleep(0.02)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        counting.succeeded("H2")
    assert [event.agency for event in await told(database)] == ["H1", "H2"]


async def observed(url: str) -> list[ExchangeObserved]:
    """What a service had told when it had ended."""
    database = connect(url)
    try:
        return await told(database)
    finally:
        await database.close()


async def test_the_national_portal_sync_tells_of_its_calls(databases):
    from simulators.national_portal import NationalPortal as Simulator
    from tests.integration import test_portal_service as of
    from tests.support.portal import life, serving

    portal = Simulator()
    async with serving(portal) as at, of.running(databases, at, portal) as service:
        await service.tell(*life(of.FINE))
        await service.until(f"/v1/sync/{of.FINE}", waiting=[], steps_sent=5)
        url = databases._address(databases._made[-1])
    (event,) = await observed(url)
    assert (event.system, event.agency, event.failed) == ("national-portal", "H10.15", 0)
    assert event.succeeded >= 6  # its steps and its newest state
    assert event.last_success_at is not None


async def test_the_exporter_tells_of_its_calls_to_the_monitoring_system(databases):
    from tests.integration import test_metrics_exporter as of

    url = await databases.create("metrics")
    async with of.Monitor().open() as monitor:
        monitor.fault(on="TrackingMCDT", kind="status", code=503, times=1)
        async with of.exporting(url, monitor) as exporter:
            await exporter.hear(*of.a_life(1))
            await of.until(lambda: len(monitor.records) == 6)
            await of.until(lambda: of.settled(exporter))
    (event,) = await observed(url)
    assert (event.system, event.agency, event.succeeded) == ("monitoring", "H10.15", 6)


async def test_the_connector_tells_of_its_calls_to_the_signing_gateway(databases, tmp_path):
    from tests.support import signature_connector as of
    from tests.support.signing_services import signing_gateway

    url = await of.connector_database(databases)
    with signing_gateway(tmp_path) as gateway:
        async with of.running_connector(of.settings(url, tmp_path, gateway)) as connector:
            request_id = await connector.asked()
            await connector.facts(request_id)
    (event,) = await observed(url)
    assert (event.system, event.agency) == ("signing-gateway", of.AGENCY)
    assert (event.succeeded, event.failed) == (2, 0)  # certificates, and the signature
