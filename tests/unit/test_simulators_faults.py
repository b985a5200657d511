"""Misbehaviour on request, seen from the other end of a real connection where it matters."""

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from simulators.emc import Emc

RECORD = {
    "CodeProfile": "H10-260101-0001",
    "SiteId": 7,
    "CodeTTHC": "1.000123",
    "NameTTHC": "Cấp giấy phép xây dựng",
    "MaHoSo": "H10-260101-0001",
    "Status": "1",
    "FormsReception": "1",
    "FormsPayments": "0",
    "Level": "4",
    "IsFromDVCQG": "0",
    "IsDVCBC": "0",
    "Data": "",
    "User": '{"ID_local":"k","ID_QG":"k","TYPE":"2","LOCATION":"H10"}',
}


class Line:
    """A connection to a running program."""

    def __init__(self, client: httpx.AsyncClient, program: Emc) -> None:
        self.client = client
        self.program = program

    async def fault(self, kind: str, **rule: Any) -> None:
        body = {"on": "TrackingMCDT", "kind": kind, **rule}
        (await self.client.post("/_faults", json=body)).raise_for_status()

    async def track(self, **changed: str) -> httpx.Response:
        return await self.client.post("/TrackingMCDT", json={**RECORD, **changed})

    def ends(self) -> list[tuple[str, str]]:
        return [(entry.outcome, entry.end) for entry in self.program.books.calls]

    def kept(self) -> int:
        return sum(row.times for row in self.program.records.rows)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A program behind a real socket, as it runs outside of tests."""
    program = Emc(seed=7)
    config = uvicorn.Config(
        program, port=0, http="httptools", ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
        yield Line(client, program)
    server.should_exit = server.force_exit = True
    await serving


@pytest.fixture
async def inside() -> AsyncIterator[Line]:
    """A program without a socket."""
    program = Emc(seed=7)
    transport = httpx.ASGITransport(app=program)
    async with httpx.AsyncClient(transport=transport, base_url="http://emc") as client:
        yield Line(client, program)


@pytest.mark.parametrize(
    ("kind", "kept", "outcome"), [("drop_before", 0, "not_done"), ("drop_after", 1, "accepted")]
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_dropped_call_ends_in_a_lost_connection(
    line: Line, kind: str, kept: int, outcome: str, reset: bool
) -> None:
    await line.fault(kind, times=1, reset=reset)
    lost = httpx.ReadError if reset else httpx.RemoteProtocolError
    with pytest.raises(lost):
        await line.track()
    assert (line.kept(), line.ends()) == (kept, [(outcome, "dropped")])
    assert (await line.track()).status_code == 200


async def test_a_half_open_call_is_done_and_never_answered(line: Line) -> None:
    await line.fault("half_open", times=1)
    with pytest.raises(httpx.ReadTimeout):
        await line.client.post("/TrackingMCDT", json=RECORD, timeout=0.2)
    for _ in range(100):
        if line.ends() == [("accepted", "silent")]:
            break
        await asyncio.sleep(0.01)
    assert (line.kept(), line.ends()) == (1, [("accepted", "silent")])


async def test_a_caller_that_left_is_seen_to_be_gone(line: Line) -> None:
    await line.fault("delay", ms=200, times=1)
    with pytest.raises(httpx.ReadTimeout):
        await line.client.post("/TrackingMCDT", json=RECORD, timeout=0.05)
    await asyncio.sleep(0.3)
    assert (line.kept(), line.ends()) == (1, [("accepted", "gone")])


async def test_a_slow_drip_arrives_whole_and_late(line: Line) -> None:
    await line.fault("slow_drip", ms=5, times=1)
    started = time.monotonic()
    reply = await line.track()
    assert reply.json() == {"status": "ok"}
    # The last byte needs no wait after it, and timers may fire a little early.
    assert time.monotonic() - started > (len(reply.content) - 1) * 0.005 * 0.9
    await line.fault("slow_drip", ms=500)
    with pytest.raises(httpx.ReadTimeout):
        await line.client.post("/TrackingMCDT", json=RECORD, timeout=0.1)


async def test_a_status_may_come_with_retry_after(inside: Line) -> None:
    await inside.fault("status", code=429, retry_after=7, times=1)
    reply = await inside.track()
    assert (reply.status_code, reply.headers["retry-after"], inside.kept()) == (429, "7", 0)
    await inside.fault("status", code=503, retry_after=60, as_date=True, times=1)
    told = parsedate_to_datetime((await inside.track()).headers["retry-after"]).timestamp()
    assert told == pytest.approx(time.time() + 60, abs=3)
    await inside.fault("status", code=502, work=True, times=1)
    reply = await inside.track()
    assert (reply.status_code, "retry-after" in reply.headers, inside.kept()) == (502, False, 1)


async def test_garbage_is_no_json_and_the_work_is_done(inside: Line) -> None:
    await inside.fault("garbage", times=1)
    reply = await inside.track()
    assert reply.status_code == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(reply.content)
    assert inside.kept() == 1


async def test_a_delay_may_come_before_or_after_the_work(inside: Line) -> None:
    for after_work, kept in ((False, 0), (True, 1)):
        await inside.fault("delay", ms=60_000, after_work=after_work, times=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inside.track(), 0.05)
        assert inside.kept() == kept
    assert inside.ends() == [("not_done", "dropped"), ("accepted", "dropped")]


async def test_rules_strike_after_so_many_calls_so_often(inside: Line) -> None:
    await inside.fault("status", code=500, after=2, times=2)
    statuses = [(await inside.track()).status_code for _ in range(6)]
    assert statuses == [200, 200, 500, 500, 200, 200]
    (rule,) = (await inside.client.get("/_faults")).json()
    assert (rule["seen"], rule["struck"], rule["code"]) == (6, 2, 500)
    assert (await inside.client.delete("/_faults")).json() == []


async def test_a_share_is_drawn_by_the_seed() -> None:
    async def drawn(seed: int) -> list[int]:
        transport = httpx.ASGITransport(app=Emc(seed=seed))
        async with httpx.AsyncClient(transport=transport, base_url="http://emc") as client:
            rule = {"on": "*", "kind": "status", "code": 500, "share": 0.5}
            await client.post("/_faults", json=rule)
            return [
                (await client.post("/TrackingMCDT", json=RECORD)).status_code for _ in range(60)
            ]

    first, again, other = await drawn(1), await drawn(1), await drawn(2)
    assert first == again != other
    assert 15 < first.count(500) < 45


async def test_rules_nest_in_the_order_they_were_posted(inside: Line) -> None:
    await inside.fault("status", code=500, work=True, times=1)
    await inside.fault("wrong_code", code="77", times=1)
    assert (await inside.track()).status_code == 500
    rules = (await inside.client.get("/_faults")).json()
    assert [rule["struck"] for rule in rules] == [1, 1]
    assert inside.kept() == 0


async def test_rules_choose_calls_by_path_by_service_and_by_facts(inside: Line) -> None:
    await inside.fault("status", code=500, match={"MaHoSo": "H10-*", "Status": "2"})
    await inside.fault("status", code=501, on="/matomo.php")
    assert (await inside.track()).status_code == 200
    assert (await inside.track(Status="2")).status_code == 500
    assert (await inside.client.post("/matomo.php", json={})).status_code == 501


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "status", "colour": 500},
        {"kind": "status", "code": "500"},
        {"kind": "delay", "ms": -1},
        {"kind": "delay", "after_work": 1},
        {"kind": "status", "times": -1},
        {"kind": "status", "times": True},
        {"kind": "status", "share": 2},
        {"kind": "status", "match": ["x"]},
        {"kind": ["status"]},
        "status",
    ],
)
async def test_a_malformed_rule_is_refused_and_none_of_its_list_is_kept(
    inside: Line, wrong: Any
) -> None:
    reply = await inside.client.post("/_faults", json=[{"on": "*", "kind": "status"}, wrong])
    assert (reply.status_code, list(reply.json())) == (400, ["error"])
    assert (await inside.client.get("/_faults")).json() == []
