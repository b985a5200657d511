"""Providers that take an order and answer later: persons are waited for in rows."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from signature_connector.store import requests as store
from tests.support.databases import Databases
from tests.support.later_signers import Running, later_signers
from tests.support.signature_connector import DOSSIER, KEYS, USER
from tests.support.signing_bench import Bench, bench_of


@pytest.fixture(scope="module")
def the_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with later_signers(tmp_path_factory.mktemp("later")) as running:
        yield running


@pytest.fixture
async def bench(
    databases: Databases, tmp_path: Path, the_provider: Running
) -> AsyncIterator[Bench]:
    async with bench_of(databases, tmp_path, the_provider) as made:
        yield made


async def test_a_person_who_takes_time_is_waited_for_and_the_result_is_judged(
    bench: Bench,
) -> None:
    bench.provider.behave(after=4.0)
    request_id = await bench.asked()
    async with bench.workers():
        waiting = await bench.until(request_id, "awaiting-user")
        assert waiting.submission == "T1"
        assert waiting.deadline is not None
        done = await bench.until(request_id, "completed")
    assert done.sealed_certificate is None
    records = await bench.records(request_id)
    assert [one["to"] for one in records] == [
        "received", "prepared", "submitting", "awaiting-user", "signed-raw", "validated",
        "completed",
    ]  # fmt: skip
    assert records[5]["facts"]["report"]["accepted"] is True
    assert bench.provider.asked() == [1]
    (order,) = bench.provider.books()["orders"].values()
    assert 2 <= order["status"] <= 4  # asked now and then, and that leaves no trace above


async def test_a_refusal_is_an_outcome(bench: Bench) -> None:
    bench.provider.behave(decide="refuse")
    request_id = await bench.asked()
    async with bench.workers():
        await bench.until(request_id, "rejected-by-user")


async def test_who_never_answers_is_asked_about_once_more_at_the_end(bench: Bench) -> None:
    bench.provider.behave(decide="never")
    request_id = await bench.asked()
    async with bench.workers(person=5):
        await bench.until(request_id, "expired")
    calls = bench.provider.books()["calls"]
    (order,) = bench.provider.books()["orders"].values()
    assert calls[-1] - order["at"] >= 4.8
    records = await bench.records(request_id)
    assert "Hết thời gian" in records[-1]["reason"]


async def test_an_order_whose_answer_was_lost_is_asked_about_and_never_given_again(
    bench: Bench,
) -> None:
    bench.provider.behave(lose_answers=True)
    request_id = await bench.asked()
    async with bench.workers():
        await bench.until(request_id, "completed")
    records = await bench.records(request_id)
    assert [one["to"] for one in records][2:5] == ["submitting", "unknown", "signed-raw"]
    assert bench.provider.asked() == [1]


@pytest.mark.parametrize("confirms", ["accepted", "nothing"])
async def test_what_the_provider_cannot_tell_is_for_an_operator(
    bench: Bench, confirms: str
) -> None:
    bench.provider.behave(lose_answers=True)
    request_id = await bench.asked()
    async with bench.workers(confirms=confirms):
        await bench.until(request_id, "manual-review")
    assert bench.provider.asked() == [1]
    assert bench.provider.books()["calls"] == []


async def test_no_news_for_too_long_calls_an_operator(bench: Bench) -> None:
    bench.provider.behave(lose_answers=True, status=503)
    request_id = await bench.asked()
    async with bench.workers():
        await bench.until(request_id, "unknown")
        await bench.run_sql("UPDATE signing_request SET deadline = now() + interval '1 s'")
        await bench.until(request_id, "manual-review")
    assert bench.provider.asked() == [1]


async def test_a_result_that_comes_after_the_end_is_for_the_evidence_alone(bench: Bench) -> None:
    """Whoever had heard that it expired must not hear anything else later."""
    bench.provider.behave(decide="never")
    request_id = await bench.asked()
    async with bench.workers(person=5):
        await bench.until(request_id, "expired")
    told = await bench.facts()
    assert told == ["signature.failed.v1"]
    bench.provider.behave(decide="sign")
    async with bench.workers():
        # As a callback does: the provider is asked about it at once.
        await bench.run_sql("UPDATE signing_request SET ask_at = now()")
        async with asyncio.timeout(100):
            while "would_be" not in (last := (await bench.records(request_id))[-1])["facts"]:
                await asyncio.sleep(0.05)
    assert last["facts"]["would_be"] == "signed-raw"
    assert (last["from"], last["to"]) == ("expired", "expired")
    assert len(last["facts"]["returned_sha256"]) == 64
    after = await bench.request(request_id)
    assert (after.state, after.returned_file, after.result_file) == ("expired", None, None)
    assert await bench.facts() == told
    kept = bench.folder / "blobs"
    assert not list(kept.rglob(last["facts"]["returned_sha256"]))


async def test_two_replicas_share_the_budget(bench: Bench) -> None:
    bench.provider.behave(decide="never")
    first = await bench.asked(dossier_code=DOSSIER, sealed_user=KEYS.seal(USER, DOSSIER))
    async with bench.workers():
        await bench.until(first, "awaiting-user")
    await _copies(bench, first, 600)
    async with bench.workers(status_calls=50), bench.workers(status_calls=50):
        await asyncio.sleep(5)
    calls = sorted(bench.provider.books()["calls"])
    most = max(sum(1 for other in calls if at <= other < at + 1) for at in calls)
    assert 25 <= most <= 55
    assert len(calls) >= 100


async def _copies(bench: Bench, request_id: UUID, many: int) -> None:
    """The same request many times over, all of them due."""
    names = [name for name in store.COLUMNS.split(", ") if name not in ("request_id", "order_id")]
    kept = ", ".join(names)
    await bench.run_sql(
        f"INSERT INTO signing_request (request_id, order_id, {kept}, ask_at) "
        f"SELECT gen_random_uuid(), gen_random_uuid(), {kept}, now() "
        "FROM signing_request, generate_series(1, :many) WHERE request_id = :id",
        many=many,
        id=request_id,
    )
