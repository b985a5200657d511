"""The conformance report: portals that really listen, exchanges that were told, a real database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog.domain.channels import Finding
from catalog.use_cases import checks
from catalog.use_cases.checks import Checks
from tests.support.conformance import (
    AGENCY,
    CLOSED,
    ENGLISH,
    HOST,
    OTHER,
    UNKNOWN,
    Catalogue,
    catalogue_database,
    observed,
    running_catalogue,
)
from tests.support.portals import Authority, Names, Portal

HERE = {"probe_networks": ("::1/128", "127.0.0.0/8"), "probe_http_port": 9}
BOTH = {HOST: ["::1"], ENGLISH: ["::1"]}
EN = {"kind": "portal-en", "host": ENGLISH}
CHECK = f"/v1/conformance/{AGENCY}/check"


@asynccontextmanager
async def around(
    url: str, folder: Path, names: Names, *, days: int = 90, address: str = "::1"
) -> AsyncIterator[tuple[Catalogue, Portal]]:
    """A catalogue that may look at this machine, and one server for its agency's portal."""
    authority = Authority(folder)
    async with AsyncExitStack() as stack:
        portal = await stack.enter_async_context(
            Portal().serving(address, authority.context(HOST, days=days))
        )
        settings: dict[str, Any] = {
            "probe_trust": authority.bundle,
            "probe_https_port": portal.port,
            **HERE,
        }
        yield await stack.enter_async_context(running_catalogue(url, names, **settings)), portal


@pytest.fixture
async def catalogue(databases) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await catalogue_database(databases)) as running:
        yield running


@pytest.fixture
async def idle(databases, monkeypatch) -> AsyncIterator[Catalogue]:
    """A catalogue whose own worker looks once and leaves the rest to the test."""
    monkeypatch.setattr(checks, "_LOOK_SECONDS", 3600.0)
    async with running_catalogue(await catalogue_database(databases)) as running:
        yield running


@pytest.fixture
async def url(databases) -> str:
    return await catalogue_database(databases)


def states(report: dict[str, Any]) -> dict[str, str]:
    return {point["id"]: point["state"] for point in report["points"]}


async def test_where_nothing_is_registered_everything_is_unknown(catalogue):
    report = await catalogue.report()
    assert states(report) == dict.fromkeys(("a", "b", "c", "d", "dd", "e"), "unknown")
    assert report["agency"] == {"code": AGENCY, "name": f"Cơ quan {AGENCY}", "active": True}
    assert report["rules"]["instrument"] == "Nghị định 42/2022/NĐ-CP"
    assert [one["confidence"] for one in report["notices"]] == ["low"]


async def test_a_portal_is_checked_soon_after_it_was_registered(url, tmp_path):
    names = Names(ipv6=BOTH)
    async with around(url, tmp_path, names) as (catalogue, portal):
        await catalogue.register()
        await catalogue.checked(3)
        part = await catalogue.part("a.ipv6")
        assert part["state"] == "met"
        assert [one["what"] for one in part["evidence"]] == ["aaaa", "ipv6-answer"]
        assert part["evidence"][1]["facts"]["status"] == 200
        assert abs(datetime.fromisoformat(part["at"]) - datetime.now(UTC)) < timedelta(minutes=1)
        assert (await catalogue.part("a.tls"))["state"] == "met"
        assert len(portal.requests) == 1
        # The English domain has the form; its certificate is for another host.
        await catalogue.register("en", EN)
        await catalogue.checked(6)
        assert states(await catalogue.report())["a"] == "met"
        tls = await catalogue.part("a.tls")
        assert (tls["state"], tls["reason"]) == (
            "not-met",
            "Chứng thư không cấp cho tên miền này",
        )
        (due,) = await catalogue.rows(
            "SELECT min(next_check_at) - now() AS soonest, max(next_check_at) - now() AS latest "
            "FROM channel"
        )
        assert timedelta(hours=19) < due.soonest < due.latest < timedelta(hours=29)


async def test_an_agency_without_aaaa_record_is_told_not_met_with_evidence(url, tmp_path):
    names = Names(ipv4={HOST: ["127.0.0.1"]})
    async with around(url, tmp_path, names, address="127.0.0.1") as (catalogue, _):
        await catalogue.register()
        await catalogue.checked(3)
        assert states(await catalogue.report())["a"] == "not-met"
        part = await catalogue.part("a.ipv6")
        assert (part["state"], part["reason_en"]) == ("not-met", "There is no AAAA record")
        assert part["evidence"][0]["target"] == HOST
        assert part["evidence"][0]["facts"] == {"aaaa": [], "a_records": 1}


async def test_an_expired_certificate_is_told_with_its_last_day(url, tmp_path):
    async with around(url, tmp_path, Names(ipv6=BOTH), days=-2) as (catalogue, _):
        await catalogue.register()
        await catalogue.checked(3)
        part = await catalogue.part("a.tls")
        assert (part["state"], part["reason"]) == ("not-met", "Chứng thư đã hết hạn")
        assert part["evidence"][0]["facts"]["days_left"] == -2
        assert (await catalogue.part("a.ipv6"))["state"] == "met"


async def test_a_portal_that_answers_over_ipv4_only_is_not_met(url, tmp_path):
    names = Names(ipv6=BOTH, ipv4={HOST: ["127.0.0.1"]})
    async with around(url, tmp_path, names, address="127.0.0.1") as (catalogue, _):
        await catalogue.register()
        await catalogue.checked(3)
        part = await catalogue.part("a.ipv6")
        assert [one["state"] for one in part["evidence"]] == ["met", "not-met"]
        assert part["reason"] == "Từ chối kết nối qua IPv6"


async def test_private_addresses_are_never_probed_by_default(url, tmp_path):
    async with Portal().serving() as portal:
        settings: dict[str, Any] = {"probe_https_port": portal.port, "probe_http_port": portal.port}
        async with running_catalogue(url, Names(ipv6=BOTH), **settings) as catalogue:
            await catalogue.register()
            await catalogue.checked(3)
            part = await catalogue.part("a.ipv6")
            assert [one["state"] for one in part["evidence"]] == ["not-met", "unknown"]
        assert portal.requests == []


async def test_an_operator_has_an_agency_checked_now_and_nobody_else_can(url, tmp_path):
    names = Names(ipv6=BOTH)
    async with around(url, tmp_path, names) as (catalogue, portal):
        await catalogue.register()
        await catalogue.checked(3)
        asked = await catalogue.http.post(CHECK, headers=catalogue.bearer("operations", "*"))
        assert (asked.status_code, asked.json()) == (202, {"agency": AGENCY, "channels": 1})
        assert asked.headers["location"] == f"/v1/conformance/{AGENCY}"
        await catalogue.checked(6)
        assert len(portal.requests) == 2
        assert (await catalogue.http.post(CHECK)).status_code == 401
        refused = await catalogue.http.post(CHECK, headers=catalogue.bearer())
        assert refused.status_code == 403
        unknown = CHECK.replace(AGENCY, UNKNOWN)
        none = await catalogue.http.post(unknown, headers=catalogue.bearer("operations", "*"))
        assert none.status_code == 404


class Probes:
    """Counts hosts under check, and holds them until they are let go."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.now = self.most = 0
        self.gate = asyncio.Event()

    async def __call__(self, host: str) -> Sequence[Finding]:
        self.hosts.append(host)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        return [Finding(check="aaaa", state="met", reason="has-aaaa")]


def worker(catalogue: Catalogue, probe: Any, parallel: int = 2) -> Checks:
    return Checks(catalogue.core.database, probe, hours=24, parallel=parallel, keep_days=30)


async def many_channels(catalogue: Catalogue, count: int) -> None:
    """Written past the service, with its own worker kept away by another one's turn."""
    await catalogue.run(
        "INSERT INTO check_turn (worker, until) VALUES (gen_random_uuid(), now() + '1 hour') "
        "ON CONFLICT (one) DO UPDATE SET worker = excluded.worker, until = excluded.until"
    )
    await catalogue.run(
        "INSERT INTO channel (agency, id, kind, host, registered_by) "
        "SELECT 'H56', 'c' || n, 'other', 'a' || n || '.gov.vn', 'x' "
        "FROM generate_series(1, :count) AS n",
        count=count,
    )


async def test_one_process_checks_at_a_time_a_few_hosts_at_once(idle):
    await many_channels(idle, 6)
    probes = Probes()
    first, second = worker(idle, probes), worker(idle, probes)
    assert await first.once() == 0  # somebody else has the turn
    await idle.run("UPDATE check_turn SET until = now() - interval '1 second'")
    checking = asyncio.create_task(first.once())
    while len(probes.hosts) < 2:
        await asyncio.sleep(0.01)
    assert await second.once() == 0
    probes.gate.set()
    assert await checking == 6
    assert (probes.most, len(probes.hosts)) == (2, 6)
    assert await second.once() == 0
    assert len(await idle.rows("SELECT 1 FROM channel WHERE next_check_at <= now()")) == 0


async def test_another_process_goes_on_where_one_ended(idle):
    await many_channels(idle, 4)
    await idle.run("UPDATE check_turn SET until = now() - interval '1 second'")
    done: list[str] = []

    async def dying(host: str) -> Sequence[Finding]:
        if len(done) == 2:
            await asyncio.Event().wait()
        done.append(host)
        return [Finding(check="aaaa", state="met", reason="has-aaaa")]

    task = asyncio.create_task(worker(idle, dying, parallel=1).once())
    while len(await idle.rows("SELECT 1 FROM channel_check")) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await idle.run("UPDATE check_turn SET until = now() - interval '1 second'")
    probes = Probes()
    probes.gate.set()
    assert await worker(idle, probes).once() == 2
    assert set(probes.hosts).isdisjoint(done)


async def test_a_check_that_fails_by_itself_says_nothing_and_is_tried_again_soon(idle):
    await many_channels(idle, 1)
    await idle.run("UPDATE check_turn SET until = now() - interval '1 second'")

    async def broken(host: str) -> Sequence[Finding]:
        raise RuntimeError(host)

    assert await worker(idle, broken).once() == 1
    assert await idle.rows("SELECT 1 FROM channel_check") == []
    (row,) = await idle.rows("SELECT next_check_at - now() AS pause FROM channel")
    assert timedelta(minutes=10) < row.pause <= timedelta(minutes=15)


async def test_exchanges_of_all_below_count_for_their_agency_and_for_no_other(catalogue):
    now = datetime.now(UTC)
    await catalogue.hear(
        observed("national-portal", f"{AGENCY}.14.2", at=now - timedelta(hours=1), succeeded=3),
        observed("national-portal", f"{AGENCY}.14.2", at=now - timedelta(hours=2), failed=1),
        observed("monitoring", AGENCY, at=now - timedelta(days=8)),
        observed("signing-gateway", f"{AGENCY}.7", succeeded=0, failed=2),
        observed("signing-gateway", "H560"),
    )
    part = await catalogue.part("b.national-portal")
    facts = part["evidence"][0]["facts"]
    assert part["state"] == "met"
    assert (facts["succeeded"], facts["failed"]) == (4, 1)
    assert facts["last_success_of"] == f"{AGENCY}.14.2"
    assert datetime.fromisoformat(part["at"]) == now - timedelta(hours=1)
    late = await catalogue.part("c.monitoring")
    assert (late["state"], late["reason_en"]) == (
        "not-met",
        "The last successful exchange was too long ago",
    )
    assert (await catalogue.part("d.signing-gateway"))["state"] == "not-met"
    assert (await catalogue.part("d.signing-gateway", OTHER))["state"] == "unknown"
    below = await catalogue.part("b.national-portal", f"{AGENCY}.7")
    assert below["state"] == "unknown"  # its province's exchanges are not its own


async def test_an_event_heard_twice_counts_once_and_an_older_one_moves_nothing_back(catalogue):
    now = datetime.now(UTC)
    event = observed(at=now - timedelta(hours=1), succeeded=5)
    await catalogue.hear(event)
    await catalogue.hear(event, observed(at=now - timedelta(hours=3)))
    await catalogue.hear(observed(at=now + timedelta(days=40)))  # a clock that is wrong
    (row,) = await catalogue.rows("SELECT sum(succeeded) AS sum FROM exchange_day")
    assert row.sum == 7
    (seen,) = await catalogue.rows("SELECT last_success_at <= now() AS sane FROM exchange_seen")
    assert seen.sane


async def test_what_is_old_is_forgotten(idle):
    await many_channels(idle, 1)
    await idle.run(
        "INSERT INTO channel_check (agency, channel, what, target, state, reason, facts, "
        "checked_at) SELECT 'H56', 'c1', 'aaaa', 'a1.gov.vn', 'met', 'has-aaaa', '{}', "
        "now() - make_interval(days => days) FROM unnest(ARRAY[1, 29, 31]) AS days"
    )
    for days in (1, 29, 40):
        await idle.hear(observed(at=datetime.now(UTC) - timedelta(days=days)))
    await worker(idle, Probes())._forget()
    assert len(await idle.rows("SELECT 1 FROM channel_check")) == 2
    assert len(await idle.rows("SELECT 1 FROM exchange_day")) == 2
    assert len(await idle.rows("SELECT 1 FROM exchange_seen")) == 1


async def test_the_report_of_a_day_is_by_the_rules_of_that_day(catalogue):
    assert (await catalogue.report(on="2024-01-01"))["notices"] == []
    before = await catalogue.http.get(f"/v1/conformance/{AGENCY}", params={"on": "2022-08-14"})
    assert before.json()["type"].endswith(":no-rules")
    wrong = await catalogue.http.get(f"/v1/conformance/{AGENCY}", params={"on": "today"})
    assert wrong.status_code == 422
    unknown = await catalogue.http.get(f"/v1/conformance/{UNKNOWN}")
    assert unknown.json()["type"].endswith(":unknown-agency")
    closed = await catalogue.report(CLOSED)
    assert closed["agency"]["active"] is False


async def test_the_list_holds_every_agency_that_exists_once(catalogue):
    await catalogue.hear(observed("monitoring", "H56.7"))
    seen: list[tuple[str, str]] = []
    after: str | None = ""
    while after is not None:
        answer = await catalogue.http.get("/v1/conformance", params={"limit": 2, "after": after})
        page = answer.json()
        seen += [(one["agency"]["code"], one["states"]["c"]) for one in page["items"]]
        after = page["next"]
    assert seen == [("H10", "unknown"), ("H56", "met"), ("H56.7", "met")]


@pytest.mark.parametrize(
    ("path", "accept", "html"),
    [
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("", "application/json, text/html", False),
        ("", "*/*", False),
        (".html", "application/json", True),
    ],
)
async def test_the_report_is_a_page_for_who_asks_for_one(catalogue, path, accept, html):
    answer = await catalogue.http.get(f"/v1/conformance/{AGENCY}{path}", headers={"accept": accept})
    assert answer.status_code == 200
    if not html:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["agency"]["code"] == AGENCY
        return
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "13.2.đ" in answer.text
    assert f"Cơ quan {AGENCY}" in answer.text
