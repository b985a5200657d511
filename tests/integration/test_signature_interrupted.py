"""Processes die at every point of a request's way; nobody is asked twice, nothing is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common.database import DatabaseAway
from common.identifiers import new_id
from common.outbox import Outbox
from signature_connector.domain.evidence import first_break
from signature_connector.domain.provider import Order
from signature_connector.domain.requests import Request, State
from signature_connector.settings import Settings
from signature_connector.store import requests as store
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.requests import take_in
from tests.support import signature_fixtures
from tests.support.databases import Databases
from tests.support.signature_connector import (
    AGENCY,
    DOSSIER,
    KEYS,
    OTHER_AGENCY,
    USER,
    Workshop,
    connector_database,
    requested,
    running_connector,
    settings,
    workshop,
)
from tests.support.signing import pdf
from tests.support.signing_services import SigningGateway

the_gateway = signature_fixtures.gateway_process("--keys", "ecdsa")
gateway = signature_fixtures.gateway


@pytest.fixture
async def configured(databases: Databases, tmp_path, gateway: SigningGateway) -> Settings:
    return settings(await connector_database(databases), tmp_path, gateway)


@pytest.fixture
async def bench(configured: Settings) -> AsyncIterator[Workshop]:
    async with workshop(configured) as made:
        yield made


async def arrived(bench: Workshop, configured: Settings, **changed: Any) -> UUID:
    """A request that was taken in and that nobody has in hand."""
    blobs = Path(configured.blobs_url.removeprefix("file://"))
    content = await asyncio.to_thread(pdf, f"{new_id()}")
    request_id = new_id()
    wish = Request(
        request_id=request_id,
        client="dossier",
        dossier_code=DOSSIER,
        agency=changed.get("agency", AGENCY),
        document_id="KQ1",
        document_name="Giấy phép",
        file=_stored(blobs, content),
        ca_name="VNPT-CA",
        sealed_user=KEYS.seal(USER, DOSSIER),
        created_at=datetime.now(UTC),
    )
    async with Outbox(bench.database, "signature-connector").transaction() as unit:
        await take_in(unit, KEYS, [wish])
    return request_id


def _stored(folder: Path, content: bytes) -> str:
    digest = sha256(content).hexdigest()
    place = folder / digest[:2] / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return digest


async def left_in(bench: Workshop, request_id: UUID, state: State) -> tuple[Request, Order | None]:
    """A worker brings a request into a state, holds it, and shows no sign of life ever after."""
    (request,) = await bench.book.claim(bench.worker, 1)
    assert request.request_id == request_id
    order = None
    while request.state is not state:
        taken = await bench.steps.take(request, order)
        order = taken.order
        assert taken.step is not None
        moved = await bench.book.move(bench.worker, request, taken.step)
        assert moved is not None
        request = moved
    return request, order


@pytest.mark.parametrize(
    "state", [State.RECEIVED, State.PREPARED, State.SIGNED_RAW, State.VALIDATED]
)
async def test_what_a_dead_worker_had_in_hand_is_brought_to_its_end(
    bench: Workshop, configured: Settings, gateway: SigningGateway, state: State
) -> None:
    request_id = await arrived(bench, configured)
    await left_in(bench, request_id, state)
    async with running_connector(configured) as connector:
        assert (await connector.row(request_id)).worker == bench.worker
        await connector.until(request_id, "completed")
        assert len(await connector.facts(request_id)) == 1
    book = gateway.requests()[str(request_id)]
    assert (book["asked"], book["signed"]) == (1, 1)


@pytest.mark.parametrize("person", ["not-asked", "asked", "signed"])
async def test_a_worker_that_died_while_the_person_was_asked_leaves_it_to_an_operator(
    bench: Workshop, configured: Settings, gateway: SigningGateway, person: str
) -> None:
    """Whether the call had left or not: nobody can tell, so nobody is asked again."""
    request_id = await arrived(bench, configured)
    request, order = await left_in(bench, request_id, State.SUBMITTING)
    calling = None
    if person == "signed":
        await bench.steps.take(request, order)
    elif person == "asked":
        gateway.fault(on="sign_file", kind="slow", ms=60_000)
        calling = asyncio.create_task(bench.steps.take(request, order))
        await asyncio.sleep(0.5)
        calling.cancel()
    async with running_connector(configured) as connector:
        row = await connector.until(request_id, "manual-review")
        assert row.worker is None
        assert row.sealed_certificate.startswith("v1.k1.")  # an operator's file is judged by it
        (told,) = await connector.facts(request_id)
        assert told.type == "signature.held.v1"
        await asyncio.sleep(2 * configured.lease_seconds)
        assert (await connector.row(request_id)).state == "manual-review"
    asked = gateway.requests().get(str(request_id), {"asked": 0})["asked"]
    assert asked == (0 if person == "not-asked" else 1)


async def test_a_service_that_is_stopped_while_a_person_is_asked(
    configured: Settings, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", kind="slow", ms=60_000, times=1)
    async with running_connector(configured) as connector:
        request_id = await connector.asked()
        async with asyncio.timeout(60):
            while gateway.books()["asked"] == 0:
                await asyncio.sleep(0.02)
    async with running_connector(configured) as connector:
        row = await connector.row(request_id)
        assert (row.state, row.worker) == ("manual-review", None)
        (told,) = await connector.facts(request_id)
        assert told.type == "signature.held.v1"
        assert (
            await connector.rows(
                "SELECT * FROM signing_worker WHERE seen_at < now() - interval '1 min'"
            )
            == []
        )
        other = await connector.asked()
        await connector.until(other, "completed")
    assert gateway.requests()[str(request_id)]["asked"] == 1


async def test_a_service_that_is_stopped_waits_a_little_for_those_in_hand(
    configured: Settings, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", kind="slow", ms=1000, times=1)
    patient = configured.model_copy(update={"shutdown_seconds": 20.0})
    async with running_connector(patient) as connector:
        request_id = await connector.asked()
        async with asyncio.timeout(60):
            while gateway.books()["asked"] == 0:
                await asyncio.sleep(0.02)
    async with running_connector(configured) as connector:
        assert (await connector.row(request_id)).state == "completed"
        (told,) = await connector.facts(request_id)
        assert told.type == "signature.completed.v1"


async def test_an_answer_that_is_being_written_when_the_service_stops_is_written(
    configured: Settings, gateway: SigningGateway, monkeypatch
) -> None:
    move, begun = Book.move, asyncio.Event()

    async def slow(self, worker, request, step):
        if step.to is State.SIGNED_RAW:
            begun.set()
            await asyncio.sleep(1.5)
        return await move(self, worker, request, step)

    monkeypatch.setattr(Book, "move", slow)
    async with running_connector(configured) as connector:
        request_id = await connector.asked()
        async with asyncio.timeout(60):
            await begun.wait()
    monkeypatch.setattr(Book, "move", move)
    async with running_connector(configured) as connector:
        await connector.until(request_id, "completed")
    assert gateway.requests()[str(request_id)]["asked"] == 1


async def test_a_worker_that_lives_keeps_what_it_has_in_hand(
    bench: Workshop, configured: Settings, gateway: SigningGateway
) -> None:
    request_id = await arrived(bench, configured)
    await bench.book.seen([bench.worker], configured.lease_seconds)
    await left_in(bench, request_id, State.SUBMITTING)

    async def live() -> None:
        while True:
            await bench.book.seen([bench.worker], configured.lease_seconds)
            await asyncio.sleep(0.2)

    alive = asyncio.create_task(live())
    async with running_connector(configured) as connector:
        await asyncio.sleep(3 * configured.lease_seconds)
        row = await connector.row(request_id)
        assert (row.state, row.worker) == ("submitting", bench.worker)
        alive.cancel()
        await connector.until(request_id, "manual-review")


async def test_a_worker_that_just_began_declares_nobody_dead(
    bench: Workshop, configured: Settings, gateway: SigningGateway
) -> None:
    """After the database was away everybody's last sign of life is old."""
    request_id = await arrived(bench, configured)
    await bench.book.seen([bench.worker], configured.lease_seconds)
    await left_in(bench, request_id, State.SUBMITTING)

    async def look_dead() -> None:
        async with bench.database.transaction() as connection:
            await connection.execute(
                text("UPDATE signing_worker SET seen_at = now() - interval '1 day'")
            )

    await look_dead()
    longer = configured.model_copy(update={"lease_seconds": 4.0})
    async with running_connector(longer) as connector:
        await asyncio.sleep(2.0)
        await bench.book.seen([bench.worker], configured.lease_seconds)  # and then it shows itself
        assert (await connector.row(request_id)).state == "submitting"
        await look_dead()
    async with bench.database.reading() as connection:  # nor does one that leaves
        row = (await store.find(connection, [request_id]))[request_id]
    assert row.state is State.SUBMITTING


async def test_an_answer_that_comes_too_late_is_kept_as_evidence(
    bench: Workshop, configured: Settings, gateway: SigningGateway
) -> None:
    request_id = await arrived(bench, configured)
    request, order = await left_in(bench, request_id, State.SUBMITTING)
    assert await bench.book.take_from_dead(1.0) == 1
    taken = await bench.steps.take(request, order)
    assert taken.step is not None
    assert taken.step.to is State.SIGNED_RAW
    assert await bench.book.move(bench.worker, request, taken.step) is None
    async with bench.database.reading() as connection:
        row = (await store.find(connection, [request_id]))[request_id]
        records = await store.evidence_of(connection, request_id)
    assert row.state is State.MANUAL_REVIEW
    assert first_break(records, row.evidence_count, row.evidence_head) is None
    assert b"returned_sha256" in records[-1].body
    assert b"late" not in records[-2].body


async def test_a_commit_whose_answer_was_lost_is_not_taken_for_a_loss(
    bench: Workshop, configured: Settings, gateway: SigningGateway, monkeypatch
) -> None:
    request_id = await arrived(bench, configured)
    (request,) = await bench.book.claim(bench.worker, 1)
    taken = await bench.steps.take(request, None)
    assert taken.step is not None
    write, losses = bench.book._write, 1

    async def losing(entries):
        nonlocal losses
        done = await write(entries)
        if losses:
            losses -= 1
            raise DatabaseAway("after the commit")
        return done

    monkeypatch.setattr(bench.book._steps, "_write", losing)
    after = await bench.book.move(bench.worker, request, taken.step)
    assert after is not None
    assert (after.state, losses) == (State.PREPARED, 0)
    async with bench.database.reading() as connection:
        row = (await store.find(connection, [request_id]))[request_id]
        records = await store.evidence_of(connection, request_id)
    assert row == after
    assert [one.number for one in records] == [1, 2]


async def test_two_replicas_never_take_the_same_request(
    configured: Settings, gateway: SigningGateway
) -> None:
    few = configured.model_copy(update={"parallel": 4})
    async with running_connector(few) as one, running_connector(few) as two:
        files = [await one.document() for _ in range(40)]
        events = [requested(file) for file in files]
        await asyncio.gather(one.ask(*events[:25]), two.ask(*events[15:]))
        for event in events:
            await one.until(event.request_id, "completed", seconds=60)
        await asyncio.sleep(0.5)
        told = one.told + two.told
        assert {one.type for one in told} == {"signature.completed.v1"}
        streams = [f"signature-connector/1/{event.request_id}" for event in events]
        assert sorted(str(one.stream) for one in told) == sorted(streams)
    books = gateway.books()
    assert (books["asked"], books["asked_twice"], books["signed"]) == (40, 0, 40)


async def test_claims_are_disjoint_and_agencies_take_turns(
    bench: Workshop, configured: Settings
) -> None:
    many = {await arrived(bench, configured) for _ in range(12)}
    few = {await arrived(bench, configured, agency=OTHER_AGENCY) for _ in range(2)}
    taken = await asyncio.gather(*(bench.book.claim(new_id(), 2) for _ in range(20)))
    ids = [request.request_id for claim in taken for request in claim]
    assert len(ids) == len(set(ids))
    while rest := await bench.book.claim(new_id(), 2):
        ids += [request.request_id for request in rest]
    assert set(ids) == many | few
    agencies = []
    for _ in range(4):
        many |= {await arrived(bench, configured)}
    await arrived(bench, configured, agency=OTHER_AGENCY)
    for _ in range(2):
        agencies += [request.agency for request in await bench.book.claim(new_id(), 1)]
    assert set(agencies) == {AGENCY, OTHER_AGENCY}


async def test_a_step_that_cannot_be_written_is_left_to_the_others(
    configured: Settings, gateway: SigningGateway, monkeypatch
) -> None:
    """The row must not stay with a worker that lives and does nothing about it."""
    move, failures = Book.move, 1

    async def failing(self, worker, request, step):
        nonlocal failures
        if step.to is State.VALIDATED and failures:
            failures -= 1
            raise ValueError("cannot be written")
        return await move(self, worker, request, step)

    monkeypatch.setattr(Book, "move", failing)
    async with running_connector(configured) as connector:
        request_id = await connector.asked()
        await connector.until(request_id, "completed")
    assert failures == 0
    assert gateway.requests()[str(request_id)]["asked"] == 1


async def test_what_was_taken_up_without_the_worker_hearing_of_it_is_signed_all_the_same(
    configured: Settings, gateway: SigningGateway, monkeypatch
) -> None:
    claim, lost = Book.claim, 0

    async def deaf(self, worker, most, **pool):
        nonlocal lost
        claimed = await claim(self, worker, most, **pool)
        if claimed and not lost:
            lost = len(claimed)
            raise DatabaseAway("the answer to the commit was lost")
        return claimed

    monkeypatch.setattr(Book, "claim", deaf)
    async with running_connector(configured) as connector:
        request_id = await connector.asked()
        await connector.until(request_id, "completed")
    assert lost == 1
    assert gateway.requests()[str(request_id)]["asked"] == 1


async def test_a_database_that_drops_connections_loses_no_answer(
    configured: Settings, gateway: SigningGateway, postgres: str
) -> None:
    gateway.fault(on="sign_file", kind="slow", ms=500)
    name = configured.database_url.get_secret_value().rsplit("/", 1)[1]
    async with running_connector(configured) as connector:
        ids = [await connector.asked() for _ in range(5)]
        admin = await asyncpg.connect(postgres)
        try:
            ended = 0
            async with asyncio.timeout(200):
                while gateway.books()["signed"] < 5 or ended < 10:
                    ended += len(
                        await admin.fetch(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = $1",
                            name,
                        )
                    )
                    await asyncio.sleep(0.05)
        finally:
            await admin.close()
        for request_id in ids:
            await retried(connector.until, request_id, "completed")
    assert {row["asked"] for row in gateway.requests().values()} == {1}


async def retried(work, *arguments: Any) -> None:
    """The pool still holds connections that were ended."""
    for _ in range(10):
        try:
            await work(*arguments, seconds=200.0)
            return
        except DBAPIError:
            await asyncio.sleep(0.1)
    await work(*arguments, seconds=200.0)


async def test_a_gateway_that_loses_every_call_is_not_fed_all_requests(
    configured: Settings, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", kind="garbage", work=False)
    two = configured.model_copy(update={"parallel": 2})
    async with running_connector(two) as connector:
        events = [requested(await connector.document()) for _ in range(16)]
        await connector.ask(*events)
        held = "SELECT * FROM signing_request WHERE state = 'manual-review'"
        async with asyncio.timeout(200):
            while gateway.books()["by_service"].get("sign_file", {}).get("not_done", 0) < 5:
                await asyncio.sleep(0.02)
            full = time.monotonic()
            while len(await connector.rows(held)) < 5:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        # Five open the breaker while a sixth may be under way; then one is tried now and then.
        gateway.mend()
        pauses = [2.5, 7.5, 17.5, 37.5]  # the shortest that it makes, one after the other
        most = 6 + sum(time.monotonic() - full >= pause for pause in pauses)
        assert len(await connector.rows(held)) <= most < len(events)
        for event in events:
            await connector.until(event.request_id, "completed", "manual-review", seconds=200.0)
        assert len(await connector.rows(held)) <= most


async def test_evidence_is_only_ever_added_to(bench: Workshop, configured: Settings) -> None:
    request_id = await arrived(bench, configured)
    for statement in (
        "UPDATE signing_evidence SET body = ''",
        "DELETE FROM signing_evidence",
        "TRUNCATE signing_evidence",
    ):
        with pytest.raises(DBAPIError, match="only ever added to"):
            async with bench.database.transaction() as connection:
                await connection.execute(text(statement))
    async with bench.database.reading() as connection:
        assert len(await store.evidence_of(connection, request_id)) == 1


async def test_the_database_refuses_a_person_being_asked_by_nobody(
    bench: Workshop, configured: Settings
) -> None:
    await arrived(bench, configured)
    with pytest.raises(DBAPIError, match="check constraint"):
        async with bench.database.transaction() as connection:
            await connection.execute(text("UPDATE signing_request SET state = 'submitting'"))
