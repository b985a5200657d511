"""When a dossier is anonymised, every service erases its copies, once and whatever order it hears
things in."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from common.contracts.base import Event
from common.contracts.dossier import DossierAnonymised
from common.database import Database, migrate
from common.delivery import Item, queue
from common.envelope import Draft, encode
from common.identifiers import new_id
from common.inbox import Consumer
from common.outbox import Outbox
from common.settings import TelemetrySettings
from common.telemetry import Telemetry
from gateway import consumers as gateway
from metrics_exporter import consumers as exporter
from metrics_exporter.clients import Emc
from national_portal_sync import consumers as portal
from national_portal_sync.domain.keys import PARTNER
from signature_connector import consumers as signatures
from signature_connector.domain.evidence import record
from signature_connector.domain.requests import Request
from signature_connector.store import requests as signing
from tests.support.messaging import connect

GONE, KEPT = "H10.15-200102-0001", "H10.15-200102-0002"
SUBSCRIPTIONS: dict[str, Any] = {
    "gateway": lambda: gateway.subscriptions(None, None, None),  # type: ignore[arg-type]
    "national_portal_sync": lambda: portal.subscriptions(lambda: None),
    "signature_connector": lambda: signatures.subscriptions(None, None, lambda: None),  # type: ignore[arg-type]
    "metrics_exporter": lambda: exporter.subscriptions(None, None, None),  # type: ignore[arg-type]
}


class Service:
    """The consumer of erasures of a service, on a database of its own."""

    def __init__(self, database: Database, consumer: Consumer) -> None:
        self.database = database
        self.consumer = consumer

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def erase(self, dossier: str = GONE) -> None:
        await self.consumer.take([envelope(anonymised(dossier))])


def anonymised(dossier: str) -> DossierAnonymised:
    at = datetime.now(UTC)
    return DossierAnonymised(dossier_code=dossier, agency="H10.15", at=at, policy="test 1")


def envelope(event: Event, dossier: str = GONE) -> bytes:
    identifier = new_id()
    draft = Draft(
        id=identifier,
        event=event,
        aggregate=dossier,
        agency="H10.15",
        subject=dossier,
        traceparent=None,
        correlation=str(identifier),
        causation=None,
    )
    return encode(draft, producer="dossier", epoch=1, sequence=None)


@asynccontextmanager
async def service(databases, package):
    async def prepare(url):
        database = connect(url)
        await migrate(database, package)
        await database.close()

    template = await databases.template(package, prepare)
    database = connect(await databases.create(package, template=template))
    telemetry = Telemetry(package, TelemetrySettings())
    (subscription,) = [one for one in SUBSCRIPTIONS[package]() if one.purpose == "erasures"]
    assert subscription.patterns == ("dossier.anonymised.v1",)
    try:
        yield Service(
            database, Consumer(package, subscription, Outbox(database, package), telemetry)
        )
    finally:
        telemetry.close()
        await database.close()


async def deliver(made, partner):
    items = [
        Item("H10.15", dossier, "dossier", f"{dossier} {number}", b'{"sealed":"v1.k1.AAAA"}')
        for dossier in (GONE, KEPT)
        for number in range(3)
    ]
    async with made.database.transaction() as connection:
        await queue(connection, partner, items)
    await made.execute("UPDATE delivery SET state = 'held' WHERE key LIKE '% 1'")


async def test_the_portals_synchronisation_erases_what_waits_is_held_or_was_sent(databases):
    async with service(databases, "national_portal_sync") as made:
        await deliver(made, PARTNER)
        for dossier in (GONE, KEPT):
            await made.execute(
                "INSERT INTO sent_snapshot VALUES (:code, 1, 'v1.k1.AAAA')", code=dossier
            )
            await made.execute(
                "INSERT INTO portal_dossier (code, agency, known) VALUES (:code, 'H10.15', true)",
                code=dossier,
            )
            await made.execute(
                "INSERT INTO portal_question (id, agency, dossier_code, sealed) "
                "VALUES (:code, 'H10.15', :code, 'v1.k1.AAAA')",
                code=dossier,
            )
        await made.erase()
        await made.erase()
        for table, column in (
            ("delivery", "subject"),
            ("sent_snapshot", "code"),
            ("portal_question", "dossier_code"),
        ):
            found = await made.rows(f"SELECT DISTINCT {column} FROM {table}")
            assert [row[0] for row in found] == [KEPT], table
        assert len(await made.rows("TABLE delivery")) == 3
        # That the portal has it is nothing personal, and reports are made of it.
        assert len(await made.rows("TABLE portal_dossier")) == 2


async def test_the_exporter_erases_records_with_their_pseudonyms(databases):
    async with service(databases, "metrics_exporter") as made:
        await deliver(made, Emc.name)
        await made.erase()
        assert {row.subject for row in await made.rows("TABLE delivery")} == {KEPT}


async def test_the_gateway_erases_fingerprints_and_the_words_of_refusals(databases):
    async with service(databases, "gateway") as made:
        for dossier in (GONE, KEPT):
            for kind in ("submit", "submit", "receive"):
                await made.execute(
                    """
                    INSERT INTO submission (id, client_id, agency, dossier_code, kind, fingerprint,
                        received_at, state, decided_at, problem)
                    VALUES (:id, 'c', 'H10.15', :code, :kind, :print, now(), 'refused', now(),
                        '{"type": "urn:x", "status": 409, "detail": "Bà Ánh"}')
                    """,
                    id=new_id(),
                    code=dossier,
                    kind=kind,
                    print=f"k1.{uuid4().hex}",
                )
        await made.erase()
        await made.erase()
        rows = await made.rows("TABLE submission")
        for row in rows:
            gone = row.dossier_code == GONE
            assert row.fingerprint.startswith("erased ") == gone
            assert ("Ánh" in str(row.problem)) == (not gone)
            assert "409" in str(row.problem)
        assert len({row.fingerprint for row in rows}) == 6


async def asked_to_sign(made, dossier, state, **of_several):
    request = Request(
        request_id=new_id(),
        client="dossier",
        dossier_code=dossier,
        agency="H10.15",
        document_id="kq1",
        document_name="Giấy khai sinh Trần Tí",
        file="a" * 64,
        ca_name="CA",
        sealed_user="v1.k1.AAAA",
        created_at=datetime.now(UTC),
        **of_several,
    )
    async with made.database.transaction() as connection:
        await signing.insert(connection, [(request, record(request, None, request.created_at))])
    await made.execute(
        "UPDATE signing_request SET state = :state, serial_number = '5401', "
        "worker = CASE WHEN :state = 'submitting' THEN gen_random_uuid() END "
        "WHERE request_id = :id",
        state=state,
        id=request.request_id,
    )
    return request


async def test_the_signature_connector_erases_who_signed_and_keeps_its_evidence(databases):
    async with service(databases, "signature_connector") as made:
        await asked_to_sign(made, GONE, "completed")
        await asked_to_sign(made, KEPT, "completed")
        before = await made.rows("TABLE signing_evidence ORDER BY request_id")
        await made.erase()
        await made.erase()
        for row in await made.rows("TABLE signing_request"):
            gone = row.dossier_code == GONE
            assert (row.sealed_user == "") == (row.document_name == "") == gone
            assert (row.serial_number is None) == (row.erased_at is not None) == gone
        assert await made.rows("TABLE signing_evidence ORDER BY request_id") == before
        assert "Trần" not in str(before)
        assert "v1.k1" not in str([bytes(row.body) for row in before])


async def test_while_somebody_is_asked_to_sign_the_erasure_waits(databases):
    async with service(databases, "signature_connector") as made:
        await asked_to_sign(made, GONE, "received")
        await made.erase()
        (parked,) = await made.rows("TABLE parked")
        assert (parked.reason, parked.type) == ("failed", "dossier.anonymised.v1")
        assert [row.sealed_user for row in await made.rows("TABLE signing_request")] != [""]
        await made.execute("UPDATE signing_request SET state = 'completed'")
        await made.consumer.take([bytes(parked.body)])
        assert [row.sealed_user for row in await made.rows("TABLE signing_request")] == [""]
        assert await made.rows("TABLE parked") == []


async def test_of_several_signers_those_who_wait_for_a_held_one_hold_up_no_erasure(databases):
    async with service(databases, "signature_connector") as made:
        workflow = new_id()
        first = await asked_to_sign(made, GONE, "submitting", workflow=workflow)
        after = {"workflow": workflow, "place": 1, "after": first.request_id}
        await asked_to_sign(made, GONE, "received", **after)
        await made.erase()
        (parked,) = await made.rows("TABLE parked")
        assert "StillUnderWay" in parked.error
        await made.execute(
            "UPDATE signing_request SET state = 'manual-review', worker = NULL WHERE place = 0"
        )
        await made.consumer.take([bytes(parked.body)])
        assert [row.sealed_user for row in await made.rows("TABLE signing_request")] == ["", ""]
        assert await made.rows("TABLE parked") == []


PARKED = """
    INSERT INTO parked (consumer, stream, sequence, event_id, type, body, reason)
    VALUES (:consumer, :stream, :sequence, gen_random_uuid(), :type, convert_to(:body, 'UTF8'),
            :reason)
"""


@pytest.mark.parametrize("package", SUBSCRIPTIONS)
async def test_parked_events_about_it_go_in_every_service(databases, package):
    async with service(databases, package) as made:
        for dossier in (GONE, KEPT):
            body = f'{{"subject": "{dossier}", "data": {{"sealed": "v1.k1.AAAA"}}}}'
            given: dict[str, Any] = {"body": body, "consumer": "dossiers"}
            ordered = {"stream": f"dossier/1/{dossier}", "type": "dossier.returned.v1"}
            early = {**ordered, "sequence": 7, "reason": "early"}
            alone = {"stream": None, "type": "signing.requested.v1", "sequence": None}
            unread = {"stream": None, "type": None, "sequence": None, "reason": "undecodable"}
            await made.execute(PARKED, **given, **early)
            await made.execute(PARKED, **given, **alone, reason="failed")
            await made.execute(PARKED, **given, **unread)
        await made.execute(
            PARKED,
            consumer="dossiers",
            stream=None,
            sequence=None,
            type=None,
            body="no JSON at all \ufffd",
            reason="undecodable",
        )
        await made.erase()
        bodies = [bytes(row.body).decode() for row in await made.rows("TABLE parked")]
        assert len(bodies) == 4
        assert not any(GONE in body for body in bodies)
        # Nobody asks the producer for what was erased.
        rows = await made.rows("TABLE position")
        places = {row.stream: row.last for row in rows if row.stream.startswith("dossier/")}
        assert places == {f"dossier/1/{GONE}": 7}
