"""A request's way through the whole service: by event, to the person and back, or to its end."""

import asyncio
from hashlib import sha256
from io import BytesIO
from typing import Any
from uuid import uuid5

import pytest
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from common.contracts.signature import SignatureCompleted, SignatureFailed, SignatureHeld
from tests.support import signature_fixtures
from tests.support.databases import Databases
from tests.support.signature_connector import (
    AGENCY,
    DOSSIER,
    USER,
    Connector,
    connector_database,
    enveloped,
    requested,
    running_connector,
    settings,
)
from tests.support.signing_services import SigningGateway

the_gateway = signature_fixtures.gateway_process()
gateway = signature_fixtures.gateway
connector = signature_fixtures.connector


async def chain_is_whole(connector: Connector, request_id: Any) -> list[dict[str, Any]]:
    """The evidence of a request, after its chain was found whole."""
    answer = await connector.get(
        f"/v1/signing-requests/{request_id}/evidence", "operations", agencies=("*",)
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["broken_at"] is None
    records: list[dict[str, Any]] = [one["record"] for one in body["records"]]
    return records


async def test_a_document_is_signed_verified_and_told_once(
    connector: Connector, gateway: SigningGateway
) -> None:
    request_id = await connector.asked()
    (told,) = await connector.facts(request_id)
    event = told.event
    assert isinstance(event, SignatureCompleted)
    assert (told.subject, told.agency, told.sequence) == (DOSSIER, AGENCY, 1)
    assert told.stream == f"signature-connector/1/{request_id}"
    assert told.correlation == "correlation-of-the-test"
    assert (event.dossier_code, event.agency, event.document_id) == (DOSSIER, AGENCY, "KQ1")

    row = await connector.row(request_id)
    sent, signed = await connector.blobs.get(row.file), await connector.blobs.get(event.file)
    assert signed.startswith(sent)
    (signature,) = PdfFileReader(BytesIO(signed)).embedded_signatures
    root = asn1_x509.Certificate.load(pem.unarmor(gateway.root.read_bytes())[2])
    status = await async_validate_pdf_signature(signature, ValidationContext(trust_roots=[root]))
    assert status.bottom_line
    assert format(status.signing_cert.serial_number, "x") == event.serial_number
    assert event.signed_at == signature.self_reported_timestamp

    book = gateway.requests()[str(request_id)]
    assert (book["asked"], book["signed"], book["signed_sha256"]) == (1, 1, event.file)
    assert book["user_id"] == USER
    records = await chain_is_whole(connector, request_id)
    assert [one["to"] for one in records] == [
        "received",
        "prepared",
        "submitting",
        "signed-raw",
        "validated",
        "completed",
    ]
    found = [one["code"] for one in records[1]["facts"]["certificate"]["findings"]]
    assert found == [
        "certificate-usable",
        "issuer-unknown",
        "revocation-unchecked",
        "holder-matches",
    ]
    assert records[2]["facts"]["outgoing_id"] == str(uuid5(request_id, "1"))
    assert records[2]["facts"]["transaction_id"] == records[1]["facts"]["reply"]["transaction_id"]
    assert records[4]["facts"]["report"]["accepted"] is True
    await connector.facts(request_id)
    await asyncio.sleep(0.3)
    assert len(connector.heard(request_id)) == 1


async def test_no_table_holds_the_person_in_clear(
    connector: Connector, gateway: SigningGateway
) -> None:
    """Neither number nor name, nor the certificate that holds both; nor any content."""
    await connector.facts(await connector.asked())
    gateway.fault(on="sign_file", kind="refuse", times=1)
    await connector.facts(await connector.asked())
    gateway.fault(on="sign_file", kind="drop_after", times=1)
    held = await connector.asked()
    await connector.facts(held)
    everything = await connector.everything()
    assert str(held) in everything  # it was looked at
    for trace in (USER, "Người ký thử nghiệm", "CCCD", "%PDF", "MIIB", "MIIC"):
        assert trace not in everything, trace
    (row,) = await connector.rows("SELECT * FROM signing_request WHERE state = 'manual-review'")
    assert row.sealed_certificate.startswith("v1.k1.")
    assert row.sealed_user.startswith("v1.k1.")


@pytest.mark.parametrize(
    ("fault", "outcome", "state"),
    [
        ({"kind": "refuse"}, "rejected-by-user", "rejected-by-user"),
        ({"kind": "expire", "ms": 50}, "expired", "expired"),
        ({"kind": "refuse", "code": 4005}, "failed", "failed"),
    ],
)
async def test_a_clear_no_is_an_outcome(
    connector: Connector, gateway: SigningGateway, fault: dict[str, Any], outcome: str, state: str
) -> None:
    gateway.fault(on="sign_file", **fault)
    request_id = await connector.asked()
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureFailed)
    assert told.event.outcome == outcome
    assert "/" in told.event.reason
    assert (await connector.row(request_id)).state == state
    assert gateway.requests()[str(request_id)]["asked"] == 1
    await chain_is_whole(connector, request_id)


async def test_a_slow_person_is_waited_for_without_a_connection_to_the_database(
    databases: Databases, tmp_path, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", kind="hold")
    url = await connector_database(databases)
    configured = settings(
        url, tmp_path, gateway, database_pool=1, parallel=40, user_seconds=300.0, lease_seconds=30.0
    )
    async with running_connector(configured) as connector:
        ids = [await connector.asked() for _ in range(30)]
        async with asyncio.timeout(200):
            while gateway.books()["by_outcome"].get("waiting", 0) < 30:
                await asyncio.sleep(0.02)
            # Other work takes the one connection for a moment; persons are waited for without it.
            pool = connector.core.database.engine.pool
            while "Current Checked out connections: 0" not in pool.status():
                await asyncio.sleep(0.005)
        answer = await connector.get(f"/v1/signing-requests/{ids[0]}", "signing:read")
        assert answer.json()["state"] == "submitting"
        gateway.decide()
        for request_id in ids:
            await connector.until(request_id, "completed", seconds=200)
    assert {row["asked"] for row in gateway.requests().values()} == {1}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_after"},
        {"kind": "drop_after", "reset": True},
        {"kind": "drop_before"},
        {"kind": "garbage"},
        {"kind": "status", "code": 502, "work": True},
        {"kind": "wrong_code", "code": "99", "work": True},
        {"kind": "half_open"},
        {"kind": "slow", "ms": 3000},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_an_unclear_outcome_goes_to_an_operator_and_nobody_is_asked_again(
    databases: Databases, tmp_path, gateway: SigningGateway, fault: dict[str, Any]
) -> None:
    gateway.fault(on="sign_file", times=1, **fault)
    url = await connector_database(databases)
    async with running_connector(settings(url, tmp_path, gateway, user_seconds=1.0)) as connector:
        request_id = await connector.asked()
        (told,) = await connector.facts(request_id)
        assert isinstance(told.event, SignatureHeld)
        assert (await connector.row(request_id)).worker is None
        await chain_is_whole(connector, request_id)
        after = await connector.asked()  # others go on
        await connector.until(after, "completed")
    books = gateway.requests()
    dropped_early = fault["kind"] == "drop_before"
    assert books.get(str(request_id), {"asked": 0})["asked"] == (0 if dropped_early else 1)
    assert gateway.books()["asked_twice"] == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("wrong_certificate", "wrong-certificate"),
        ("bad_signature", "bad-signature"),
        ("altered_document", "changed-after-signing"),
        ("other_document", "other-document"),
    ],
)
async def test_a_result_that_fails_the_verdict_ends_in_failure_with_the_proof_kept(
    connector: Connector, gateway: SigningGateway, fault: str, code: str
) -> None:
    gateway.fault(on="sign_file", kind=fault)
    request_id = await connector.asked()
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureFailed)
    assert told.event.outcome == "failed"
    records = await chain_is_whole(connector, request_id)
    facts = records[-1]["facts"]
    assert facts["finding"]["code"] == code
    assert facts["report"]["accepted"] is False
    kept = await connector.blobs.get(facts["returned_sha256"])
    assert sha256(kept).hexdigest() == gateway.requests()[str(request_id)]["signed_sha256"]
    view = (await connector.get(f"/v1/signing-requests/{request_id}", "signing:read")).json()
    assert (view["state"], view["signed_file"]) == ("failed", None)


async def test_a_document_that_cannot_be_signed_fails_before_anybody_is_asked(
    connector: Connector, gateway: SigningGateway
) -> None:
    file = await connector.blobs.put(b"this is no PDF")
    missing = requested("f" * 64)
    wrong = requested(file)
    await connector.ask(wrong, missing)
    for event, code in ((wrong, "not-a-pdf"), (missing, "file-missing")):
        await connector.facts(event.request_id)
        records = await chain_is_whole(connector, event.request_id)
        assert records[-1]["facts"]["finding"]["code"] == code
    assert gateway.books()["calls"] == 0


async def test_an_event_that_comes_again_changes_nothing(
    connector: Connector, gateway: SigningGateway
) -> None:
    event = requested(await connector.document())
    message = enveloped(event)
    again = requested(event.file, event.request_id)  # sealed anew, in another event
    await connector.transport.publish([message, message])
    await connector.facts(event.request_id)
    before = await connector.row(event.request_id)
    await connector.transport.publish([message, enveloped(event), enveloped(again)])
    await asyncio.sleep(0.5)
    assert await connector.row(event.request_id) == before
    assert len(connector.heard(event.request_id)) == 1
    assert gateway.requests()[str(event.request_id)]["asked"] == 1
    assert await connector.rows("SELECT * FROM parked") == []


@pytest.mark.parametrize(
    "changed", [{"user": "001099000002"}, {"file": "e" * 64}, {"ca_name": "CA2"}]
)
async def test_an_event_that_uses_an_id_for_something_else_is_parked(
    connector: Connector, gateway: SigningGateway, changed: dict[str, str]
) -> None:
    event = requested(await connector.document())
    await connector.ask(event)
    await connector.facts(event.request_id)
    await connector.ask(requested(**{"file": event.file, **changed}, request_id=event.request_id))
    (parked,) = await connector.rows("SELECT * FROM parked")
    assert (parked.type, parked.reason) == ("signing.requested.v1", "failed")
    assert "RequestConflict" in parked.error
    assert gateway.books()["asked"] == 1


async def test_a_batch_of_requests_is_taken_in_at_once(
    connector: Connector, gateway: SigningGateway
) -> None:
    files = [await connector.document() for _ in range(20)]
    events = [requested(file) for file in files]
    await connector.ask(*events, *events[:5])
    for event in events:
        await connector.until(event.request_id, "completed")
    assert gateway.books()["asked"] == 20


async def test_a_gateway_that_is_away_costs_nothing_but_time(
    databases: Databases, tmp_path, gateway: SigningGateway
) -> None:
    url = await connector_database(databases)
    nowhere = SigningGateway("http://127.0.0.1:9", gateway.root)
    async with running_connector(settings(url, tmp_path, nowhere)) as connector:
        request_id = await connector.asked()
        async with asyncio.timeout(60):
            while not (await connector.row(request_id)).attempts:
                await asyncio.sleep(0.02)
        row = await connector.row(request_id)
        assert (row.state, row.worker, row.submissions) == ("received", None, 0)
    async with running_connector(settings(url, tmp_path, gateway)) as connector:
        await connector.until(request_id, "completed")
        (told,) = await connector.facts(request_id)
        assert isinstance(told.event, SignatureCompleted)
        await chain_is_whole(connector, request_id)


async def test_an_unavailable_gateway_is_left_alone_for_as_long_as_it_asks(
    connector: Connector, gateway: SigningGateway
) -> None:
    gateway.fault(on="get_certificate", kind="status", code=429, retry_after=1, times=1)
    request_id = await connector.asked()
    await connector.until(request_id, "completed")
    records = await chain_is_whole(connector, request_id)
    assert [one["to"] for one in records][:3] == ["received", "received", "prepared"]
    assert gateway.requests()[str(request_id)]["asked"] == 1
