"""Providers that take an order and answer later: persons are waited for in rows, and any worker
goes on from any point."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from backbone.leash import Leashed
from common.database import Database
from common.identifiers import new_id
from common.outbox import Outbox
from common.settings import DatabaseSettings
from signature_connector.domain.evidence import first_break
from signature_connector.domain.requests import Request
from signature_connector.store import requests as store
from signature_connector.use_cases.requests import take_in
from tests.support.databases import Databases
from tests.support.later_signers import Running, later_signers
from tests.support.signature_connector import (
    AGENCY,
    DOSSIER,
    KEYS,
    USER,
    connector_database,
)
from tests.support.signing import pdf
from tests.support.signing_worker import assembled


@pytest.fixture(scope="module")
def the_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with later_signers(tmp_path_factory.mktemp("later")) as running:
        yield running


@dataclass
class Bench:
    """A database, a file store, a provider; workers are started as they are needed."""

    url: str
    folder: Path
    provider: Running
    database: Database

    def told(self, **more: Any) -> dict[str, Any]:
        return {
            "url": self.url,
            "provider": self.provider.url,
            "roots": str(self.provider.root),
            "blobs": f"file://{self.folder / 'blobs'}",
            **more,
        }

    async def asked(self, **changed: Any) -> UUID:
        content = await asyncio.to_thread(pdf, f"{new_id()}")
        digest = sha256(content).hexdigest()
        place = self.folder / "blobs" / digest[:2] / digest
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        request_id = new_id()
        given: dict[str, Any] = {
            "request_id": request_id,
            "client": "one-stop",
            "dossier_code": None,
            "agency": AGENCY,
            "document_id": "KQ1",
            "document_name": "Giấy phép",
            "file": digest,
            "ca_name": "VNPT-CA",
            "sealed_user": KEYS.seal(USER, str(request_id)),
            "created_at": datetime.now(UTC),
            "waits": False,
        }
        async with Outbox(self.database, "signature-connector").transaction() as unit:
            await take_in(unit, KEYS, [Request(**{**given, **changed})])
        return request_id

    async def request(self, request_id: UUID) -> Request:
        async with self.database.reading() as connection:
            return (await store.find(connection, [request_id]))[request_id]

    async def until(self, request_id: UUID, *states: str, seconds: float = 100.0) -> Request:
        async with asyncio.timeout(seconds):
            while (found := await self.request(request_id)).state not in states:
                await asyncio.sleep(0.05)
        return found

    async def run_sql(self, statement: str, **values: Any) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def records(self, request_id: UUID) -> list[dict[str, Any]]:
        """The evidence, after its chain was found whole."""
        request = await self.request(request_id)
        async with self.database.reading() as connection:
            records = await store.evidence_of(connection, request_id)
        assert first_break(records, request.evidence_count, request.evidence_head) is None
        return [json.loads(one.body) for one in records]

    async def facts(self) -> list[str]:
        """Types of the facts that were told, in their order."""
        async with self.database.reading() as connection:
            rows = await connection.execute(text("SELECT type FROM event_log ORDER BY event_id"))
            return [one.type for one in rows if one.type.startswith("signature.")]

    @asynccontextmanager
    async def workers(self, **more: Any) -> AsyncIterator[Any]:
        """Workers in this process."""
        made = assembled(self.told(**more), self.database)
        tasks = [asyncio.create_task(run()) for run in made.workers.runs]
        try:
            yield made.workers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await made.close()

    async def killed(self, state: str, when: str, **more: Any) -> None:
        """Workers in a process of their own, until it dies at a step as it was told to."""
        program = [sys.executable, "-m", "tests.support.signing_worker"]
        log = self.folder / "doomed.log"
        doomed = Leashed([*program, json.dumps(self.told(die=[state, when], **more))], log=log)
        try:
            async with asyncio.timeout(150):
                while doomed.running:
                    await asyncio.sleep(0.05)
        finally:
            assert doomed.stop() == -signal.SIGKILL, log.read_text()


@pytest.fixture
async def bench(
    databases: Databases, tmp_path: Path, the_provider: Running
) -> AsyncIterator[Bench]:
    the_provider.reset()
    url = await connector_database(databases)
    database = Database(DatabaseSettings(database_url=SecretStr(url)), name="test")
    yield Bench(url, tmp_path, the_provider, database)
    await database.close()


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


STEPS = [
    "prepared", "submitting", "awaiting-user", "signed-raw", "validated", "completed"
]  # fmt: skip


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", STEPS)
async def test_a_process_that_is_killed_at_any_step_is_followed_by_one_that_goes_on(
    bench: Bench, state: str, when: str
) -> None:
    request_id = await bench.asked()
    await bench.killed(state, when)
    never_left = (state, when) == ("submitting", "after")
    async with bench.workers(news=4):
        done = await bench.until(request_id, "manual-review" if never_left else "completed")
    states = [one["to"] for one in await bench.records(request_id)]
    assert ("unknown" in states) == (never_left or (state, when) == ("awaiting-user", "before"))
    assert bench.provider.asked() == ([] if never_left else [1])
    assert done.submissions == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", ["assembled", "signed-raw", "validated"])
async def test_a_process_that_is_killed_over_an_assembled_document_is_followed_by_another(
    bench: Bench, state: str, when: str
) -> None:
    """What one process prepared another finishes, by what the row and the file store hold."""
    request_id = await bench.asked()
    await bench.killed(state, when, signs="hashes")
    left = await bench.request(request_id)
    assert (left.state == state) == (when == "after")
    assert left.sealed_preparation is not None
    async with bench.workers(signs="hashes"):
        done = await bench.until(request_id, "completed")
    states = [one["to"] for one in await bench.records(request_id)]
    assert states[-4:] == ["signed-raw", "assembled", "validated", "completed"]
    assert states.count("assembled") == 1
    assert bench.provider.asked() == [1]
    assert (done.submissions, done.level) == (1, "b-b")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_is_killed_over_an_unknown_fate_is_followed_by_one_that_asks(
    bench: Bench, when: str
) -> None:
    bench.provider.behave(lose_answers=True)
    request_id = await bench.asked()
    await bench.killed("unknown", when)
    left = await bench.request(request_id)
    assert left.state == ("unknown" if when == "after" else "submitting")
    async with bench.workers():
        done = await bench.until(request_id, "completed")
    states = [one["to"] for one in await bench.records(request_id)]
    assert states[2:] == ["submitting", "unknown", "signed-raw", "validated", "completed"]
    assert bench.provider.asked() == [1]
    assert done.submissions == 1


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


@pytest.mark.parametrize("confirms", ["accepted", "nothing"])
async def test_a_process_killed_over_an_order_that_cannot_be_asked_about_leaves_it_to_an_operator(
    bench: Bench, confirms: str
) -> None:
    request_id = await bench.asked()
    # What was accepted by one that tells nothing cannot be followed either.
    step = "awaiting-user" if confirms == "accepted" else "manual-review"
    await bench.killed(step, "before", confirms=confirms)
    async with bench.workers(confirms=confirms):
        await bench.until(request_id, "manual-review")
    assert bench.provider.asked() == [1]


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
