"""Measurements on their way to the monitoring system: real PostgreSQL, a simulated EMC."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import orjson
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm
from sqlalchemy import text

from common.auth import TokenKeys
from common.contracts.base import Event
from common.contracts.dossier import DossierProgressed, DossierState, StepTaken
from common.contracts.usage import Count, UsageMeasured
from common.database import Database, migrate
from common.delivery import deliverer
from common.envelope import Draft, encode
from common.identifiers import new_id
from common.service import Shared
from common.settings import DatabaseSettings
from common.transport.base import Message
from common.transport.local import LocalTransport
from metrics_exporter.main import create_app
from metrics_exporter.settings import Settings
from simulators.emc import Emc

KEY = ec.generate_private_key(ec.SECP256R1())
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIFE = ("1", "2", "4", "4", "9", "10")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Monitor:
    """The simulated monitoring system, with its books and its faults."""

    def __init__(self) -> None:
        self.program = Emc()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Monitor"]:
        config = uvicorn.Config(
            self.program,
            port=self.port,
            http="httptools",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve())
        try:
            yield self
        finally:
            server.should_exit = True
            await task

    def fault(self, **rule: Any) -> None:
        self.program.faults.post([rule])

    @property
    def records(self) -> list[tuple[str, int]]:
        """Key and number of arrivals of each record, by first arrival."""
        return [(row.key[2], row.times) for row in self.program.records.rows]

    @property
    def counts(self) -> list[tuple[str, int]]:
        return [(row.key, row.times) for row in self.program.tracked.rows]


class Exporter:
    """The service, and the other services' side of its transport."""

    def __init__(self, app: FastAPI, transport: LocalTransport, http: httpx.AsyncClient) -> None:
        self.app = app
        self.transport = transport
        self.http = http

    async def hear(self, *told: tuple[Event, str, int | None], producer: str = "dossier") -> None:
        """Publish events; each with its aggregate and its place in the stream."""
        messages = []
        for event, aggregate, sequence in told:
            identifier = new_id()
            draft = Draft(identifier, event, aggregate, "H10", None, None, "c", None)
            body = encode(draft, producer=producer, epoch=1, sequence=sequence)
            messages.append(Message(event.TYPE, str(identifier), body))
        assert all(await self.transport.publish(messages))

    async def summary(self) -> dict[str, Any]:
        answer = await self.http.get("/v1/measurements/summary", headers=bearer("operations"))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.app.state.core.database.transaction() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []


def bearer(scope: str) -> dict[str, str]:
    now = datetime.now(UTC)
    claims = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "client_id": "operator",
        "sub": "operator",
        "scope": scope,
        "agencies": ["*"],
        "procedures": ["*"],
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, KEY, 'ES256', headers={'kid': 'k'})}"}


async def _keys() -> dict[str, Any]:
    return {"keys": [{**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}]}


@asynccontextmanager
async def exporting(url: str, monitor: Monitor, **changed: Any) -> AsyncIterator[Exporter]:
    transport = LocalTransport()
    settings = Settings(
        database_url=url,
        emc_url=monitor.url,
        tracker_url=monitor.url,
        site_id=7,
        pseudonym_key="a key of chance, forty characters long..",
        usage_seconds=3600,
        **{"call_seconds": 2, **changed},
    )
    app = create_app(settings, Shared(transport=transport, token_keys=TokenKeys(_keys)))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://exporter")
    async with app.router.lifespan_context(app), client as http:
        yield Exporter(app, transport, http)


def a_fact(code: str, number: int, status: str, name: str = "Cấp phép xây dựng") -> Event:
    dossier = DossierState(
        code=code,
        agency="H10.15",
        procedure={"code": "1.000123", "name": name, "field": {"code": None, "name": "Xây dựng"}},
        channel="2",
        applicant_kind="1",
        sealed="v1.k.sealed",
        summary="Hồ sơ",
        status=status,
        submitted_at=NOON,
    )
    return DossierProgressed(
        dossier=dossier, step=StepTaken(number=number, kind="progress", status=status, at=NOON)
    )


def a_life(number: int) -> list[tuple[Event, str, int | None]]:
    code = f"000.00.15.H10-260101-{number:04}"
    return [(a_fact(code, step, status), code, step) for step, status in enumerate(LIFE, 1)]


def measured(interval: int, *counts: tuple[str, int], boot: str = "b1") -> UsageMeasured:
    return UsageMeasured(
        service="gateway",
        instance="host:1",
        boot=boot,
        interval=interval,
        started_at=NOON,
        ended_at=datetime.now(UTC),
        counts=tuple(Count(name=name, value=value) for name, value in counts),
    )


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if asyncio.iscoroutine(met):
                met = await met
            if met:
                return
            await asyncio.sleep(0.02)


async def settled(exporter: Exporter) -> bool:
    """Whether nothing is left to send."""
    summary = await exporter.summary()
    return (summary["records"]["waiting"], summary["usage"]["waiting"]) == (0, 0)


@pytest.fixture
async def monitor() -> AsyncIterator[Monitor]:
    async with Monitor().open() as opened:
        yield opened


@pytest.fixture
async def url(databases) -> str:
    async def prepare(address: str) -> None:
        database = Database(DatabaseSettings(database_url=address), name="metrics-exporter")
        await migrate(database, "metrics_exporter")
        await database.close()

    template = await databases.template("metrics_exporter", prepare)
    made: str = await databases.create("metrics", template=template)
    return made


async def test_each_event_gives_exactly_one_record(url, monitor):
    lives = [a_life(number) for number in range(1, 31)]
    told = [event for step in zip(*lives, strict=True) for event in step]
    async with exporting(url, monitor) as exporter:
        for start in range(0, len(told), 50):
            await exporter.hear(*told[start : start + 50])
            await exporter.hear(*told[start : start + 50])  # at least once means also twice
        await until(lambda: len(monitor.records) == 180)
        await until(lambda: settled(exporter))
        summary = (await exporter.summary())["records"]
    assert {times for _, times in monitor.records} == {1}
    assert {key for key, _ in monitor.records} == {
        f"{code}/{sequence}" for _, code, sequence in told
    }
    for life in lives:
        code = life[0][1]
        mine = [key for key, _ in monitor.records if key.startswith(code)]
        assert mine == [f"{code}/{step}" for step in range(1, 7)]  # in the order of the steps
    totals = monitor.program.totals()
    assert totals["by_status"] == {"1": 60, "2": 60, "3": 60}
    assert totals["identifier_like"] == 0
    assert summary == {
        "sent": 180,
        "waiting": 0,
        "held": 0,
        "maybe_doubled": 0,
        "oldest_waiting_since": None,
    }


@pytest.mark.parametrize(
    "fault", [{"kind": "drop_after"}, {"kind": "half_open"}, {"kind": "status", "code": 500,
                                                             "work": True}]
)  # fmt: skip
async def test_a_record_without_an_answer_is_sent_again_and_marked_as_maybe_doubled(
    url, monitor, fault
):
    life = a_life(1)
    key = f"{life[0][1]}/2"
    monitor.fault(on="TrackingMCDT", after=1, times=1, **fault)
    async with exporting(url, monitor, call_seconds=0.5) as exporter:
        await exporter.hear(*life)
        await until(lambda: len(monitor.records) == 6)
        await until(lambda: settled(exporter))
        assert (await exporter.summary())["records"]["maybe_doubled"] == 1
        assert await exporter.rows("SELECT record FROM maybe_doubled") == [(key,)]
    assert dict(monitor.records) == {
        f"{life[0][1]}/{step}": 2 if step == 2 else 1 for step in range(1, 7)
    }
    assert [name.rsplit("/", 1)[1] for name, _ in monitor.records] == list("123456")


@pytest.mark.parametrize("code", [429, 503])
async def test_a_request_for_patience_is_honoured_and_costs_nothing(url, monitor, code):
    monitor.fault(on="TrackingMCDT", kind="status", code=code, retry_after=2, times=1)
    async with exporting(url, monitor) as exporter:
        await exporter.hear(*a_life(1))
        await until(lambda: len(monitor.records) == 6)
        await until(lambda: settled(exporter))
        assert (await exporter.summary())["records"]["maybe_doubled"] == 0
    calls = monitor.program.books.calls
    assert len(calls) == 7
    assert calls[1].time - calls[0].time >= 1.95


async def test_a_refused_record_is_held_and_other_dossiers_go_on(url, monitor):
    bad = "000.00.15.H10-260101-0001"
    async with exporting(url, monitor) as exporter:
        await exporter.hear((a_fact(bad, 1, "1", name=" "), bad, 1), *a_life(2))
        await until(lambda: len(monitor.records) == 6)
        await until(lambda: settled(exporter))
        assert (await exporter.summary())["records"]["held"] == 1
        ((error,),) = await exporter.rows("SELECT error FROM delivery")
    assert error.startswith("HTTP 400")
    assert "NameTTHC" in error
    assert not any(key.startswith(bad) for key, _ in monitor.records)


async def test_while_the_monitoring_system_is_away_everything_waits_undoubted(url):
    monitor = Monitor()
    async with exporting(url, monitor) as exporter:
        await exporter.hear(*a_life(1))
        await exporter.hear((measured(1, ("http", 3)), "gateway:b1", None), producer="gateway")
        await asyncio.sleep(0.5)
        summary = await exporter.summary()
        assert (summary["records"]["waiting"], summary["usage"]["waiting"]) == (6, 1)
        assert summary["records"]["oldest_waiting_since"] is not None
        async with monitor.open():
            await until(lambda: settled(exporter), 30)
            summary = await exporter.summary()
    assert (summary["records"]["sent"], summary["records"]["maybe_doubled"]) == (6, 0)
    assert (summary["usage"]["sent"], summary["usage"]["gaps"]) == (1, 0)
    assert [times for _, times in monitor.records + monitor.counts] == [1] * 7


async def test_usage_is_sent_once_however_often_it_is_heard(url, monitor):
    one = measured(1, ("http.GET /v1/dossiers 2xx", 12), ("events.x", 3))
    async with exporting(url, monitor) as exporter:
        for _ in range(3):
            # Each time under another event id: what counts is the interval it is about.
            await exporter.hear((one, "gateway:b1", None), producer="gateway")
        await exporter.hear((measured(2), "gateway:b1", None), producer="gateway")
        await exporter.hear((measured(4, ("http", 1)), "gateway:b1", None), producer="gateway")
        await until(lambda: len(monitor.counts) == 3)
        await until(lambda: settled(exporter))
        summary = (await exporter.summary())["usage"]
    assert {times for _, times in monitor.counts} == {1}
    assert summary == {
        "sent": 2,
        "empty": 1,
        "waiting": 0,
        "held": 0,
        "gaps": 0,
        "missing_intervals": 1,
    }


@pytest.mark.parametrize(
    "fault", [{"kind": "drop_after"}, {"kind": "half_open"}, {"kind": "status", "code": 500,
                                                             "work": True}]
)  # fmt: skip
async def test_usage_with_a_lost_answer_is_not_sent_again_and_the_gap_is_seen(url, monitor, fault):
    monitor.fault(on="matomo.php", times=1, **fault)
    async with exporting(url, monitor, call_seconds=0.5) as exporter:
        await exporter.hear((measured(1, ("http", 3)), "gateway:b1", None), producer="gateway")
        await until(lambda: settled(exporter))
        await exporter.hear((measured(2, ("http", 4)), "gateway:b1", None), producer="gateway")
        await until(lambda: len(monitor.counts) == 2)
        await until(lambda: settled(exporter))
        summary = (await exporter.summary())["usage"]
        assert (summary["sent"], summary["gaps"]) == (1, 1)
        ((number, cause),) = await exporter.rows(
            "SELECT number, cause FROM measurement WHERE state = 'gap'"
        )
        assert number == 1
        assert cause
        metrics = (await exporter.http.get("/metrics")).text
        assert "usage_gaps_total 1.0" in metrics
    assert [times for _, times in monitor.counts] == [1, 1]


async def test_usage_that_was_certainly_not_taken_is_sent_again(url, monitor):
    monitor.fault(on="matomo.php", kind="status", code=503, retry_after=1, times=1)
    async with exporting(url, monitor) as exporter:
        await exporter.hear((measured(1, ("http", 3)), "gateway:b1", None), producer="gateway")
        await until(lambda: len(monitor.counts) == 1)
        await until(lambda: settled(exporter))
        summary = (await exporter.summary())["usage"]
    assert (summary["sent"], summary["gaps"]) == (1, 0)
    assert [times for _, times in monitor.counts] == [1]


async def test_a_process_that_ends_in_the_middle_of_a_call_leaves_doubt_and_a_gap(
    url, monitor, monkeypatch
):
    monkeypatch.setattr(deliverer, "GRACE_SECONDS", 0.1)
    monitor.fault(on="*", kind="half_open", times=2)
    async with exporting(url, monitor, call_seconds=60, shutdown_seconds=1) as exporter:
        await exporter.hear(a_life(1)[0])
        await exporter.hear((measured(1, ("http", 3)), "gateway:b1", None), producer="gateway")
        await until(lambda: len(monitor.records) == len(monitor.counts) == 1)
    async with exporting(url, monitor) as exporter:
        await until(lambda: settled(exporter))
        summary = await exporter.summary()
    assert [times for _, times in monitor.records] == [2]
    assert (summary["records"]["sent"], summary["records"]["maybe_doubled"]) == (1, 1)
    # The first process told of itself, too, before it ended.
    assert [times for request, times in monitor.counts if "e_c=gateway" in request] == [1]
    assert summary["usage"]["gaps"] == 1


async def test_what_was_dealt_with_long_ago_is_dropped(url, monitor):
    async with exporting(url, monitor) as exporter:
        await exporter.hear((measured(1, ("http", 3)), "gateway:b1", None), producer="gateway")
        await exporter.hear((measured(2, ("http", 3)), "gateway:b1", None), producer="gateway")
        await until(lambda: settled(exporter))
        await exporter.rows(
            "UPDATE measurement SET ended_at = now() - interval '31 days' WHERE number = 1"
        )
    async with exporting(url, monitor, keep_days=30) as exporter:

        async def kept() -> bool:
            return await exporter.rows("SELECT number FROM measurement") == [(2,)]

        await until(kept)


@pytest.mark.parametrize(
    ("scope", "status"), [(None, 401), ("dossiers:read", 403), ("operations", 200)]
)
async def test_the_summary_is_for_operators(url, scope, status):
    headers = bearer(scope) if scope else {}
    async with exporting(url, Monitor()) as exporter:
        answer = await exporter.http.get("/v1/measurements/summary", headers=headers)
        assert answer.status_code == status


async def test_no_personal_value_rests_in_the_database(url):
    async with exporting(url, Monitor()) as exporter:
        await exporter.hear(*a_life(1))
        rows = await exporter.rows("SELECT convert_from(body, 'UTF8') FROM delivery")
    assert len(rows) == 6
    for (body,) in rows:
        assert "sealed" not in body
        assert "Hồ sơ" not in body
        assert orjson.loads(body)["User"].startswith('{"ID_local":"p1.')
