"""Providers that sign hashes: a document is prepared, signed by the person, assembled and judged by
the whole service, against simulated services of each dialect."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from asn1crypto import cms
from pyhanko.pdf_utils.reader import PdfFileReader
from sqlalchemy import text

from common.contracts.signature import SignatureCompleted, SignatureFailed
from signature_connector.assembly.isolated import IsolatedAssembler
from signature_connector.domain.assembly import Prepared
from tests.support.assembly import message
from tests.support.databases import Databases
from tests.support.gateway import listening
from tests.support.signature_connector import (
    AGENCY,
    USER,
    Connector,
    connector_database,
    requested,
    running_connector,
    settings,
    token,
)
from tests.support.signing import Holder, colleague
from tests.support.signing_services import (
    PERSON_MS,
    SigningGateway,
    SigningService,
    calling_back,
    door,
    signing_services,
)

DIALECTS = {"smartca": "VNPT-CA", "mysign": "Viettel-CA", "csc-v2": "CA2"}


@pytest.fixture(scope="module")
def the_door() -> Iterator[socket.socket]:
    with door() as listening:
        yield listening


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, the_door: socket.socket
) -> Iterator[dict[str, SigningService]]:
    options = ("--person-ms", PERSON_MS, "--keys", "ecdsa", "--account", "sp:s3cret")
    programs = {name: (*options, *calling_back(the_door, name)) for name in DIALECTS}
    with signing_services(tmp_path_factory.mktemp("services"), programs) as running:
        yield running


@pytest.fixture
async def connector(
    databases: Databases,
    tmp_path: Path,
    services: dict[str, SigningService],
    the_door: socket.socket,
) -> AsyncIterator[Connector]:
    for one in services.values():
        one.reset()
    (tmp_path / "secret").write_text("s3cret")
    roots = tmp_path / "roots.pem"
    roots.write_bytes(b"".join(one.root.read_bytes() for one in services.values()))
    account = {
        "agencies": ["*"],
        "client_id": "sp",
        "secret_file": "secret",
        "profile_id": "p",
        "citizen_prefix": "CMT_",
    }
    providers = [
        {
            "name": name,
            "dialect": name,
            "url": services[name].url,
            "ca_names": [ca_name],
            "accounts": [account],
            "user_seconds": 20,
        }
        for name, ca_name in DIALECTS.items()
    ]
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"providers": providers}))
    configured = settings(
        await connector_database(databases),
        tmp_path,
        SigningGateway("http://127.0.0.1:9", roots),
        providers_file=file,
        lease_seconds=30.0,  # nobody dies here, however slow it goes
    )
    async with running_connector(configured) as running, listening(running.app, the_door):
        yield running


async def evidence(connector: Connector, request_id: UUID) -> list[dict[str, Any]]:
    path = f"/v1/signing-requests/{request_id}/evidence"
    body = (await connector.get(path, "operations", agencies=("*",))).json()
    assert body["broken_at"] is None
    return [one["record"] for one in body["records"]]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_dossiers_result_ends_as_pades_and_passes_the_verdict(
    connector: Connector, dialect: str
) -> None:
    request_id = await connector.asked(ca_name=DIALECTS[dialect])
    row = await connector.until(request_id, "completed", "failed", "manual-review", seconds=150)
    assert row.state == "completed", (row.outcome, (await evidence(connector, request_id))[-1])
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureCompleted)
    sent = await connector.blobs.get(row.file)
    signed = await connector.blobs.get(told.event.file)
    assert signed.startswith(sent)
    (signature,) = PdfFileReader(BytesIO(signed)).embedded_signatures
    assert signature.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert format(signature.signer_cert.serial_number, "x") == told.event.serial_number
    assert told.event.level == "b-b"
    records = await evidence(connector, request_id)
    states = [one["to"] for one in records]
    assert states[-4:] == ["signed-raw", "assembled", "validated", "completed"]
    asked = next(one for one in records if one["to"] == "submitting")["facts"]
    assert asked["hash_sent"]
    assert asked["prepared_sha256"] == row.prepared_file
    everything = await connector.everything()
    for trace in (USER, "%PDF", "CCCD"):
        assert trace not in everything, trace


async def test_a_signature_that_does_not_verify_is_never_embedded(
    connector: Connector, services: dict[str, SigningService]
) -> None:
    services["smartca"].fault(on="sign", kind="bad_signature")
    request_id = await connector.asked()
    row = await connector.until(request_id, "failed", "completed", seconds=150)
    assert row.state == "failed"
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureFailed)
    assert row.result_file is None


FORMATS = {
    "cades": "Kết quả giải quyết".encode(),
    "xades": '<?xml version="1.0"?><ho-so xmlns="urn:a">Kết quả</ho-so>'.encode(),
    "jades": '{"ket-qua": "Đồng ý"}'.encode(),
}
ENDED = ("completed", "failed", "manual-review")


async def asked_as(connector: Connector, form: str) -> UUID:
    event = requested(await connector.blobs.put(FORMATS[form]), profile=f"{form}-b-b")
    await connector.ask(event)
    return event.request_id


@pytest.mark.parametrize("form", FORMATS)
async def test_documents_of_other_kinds_are_signed_and_pass_the_verdict(
    connector: Connector, form: str
) -> None:
    request_id = await asked_as(connector, form)
    row = await connector.until(request_id, *ENDED, seconds=150)
    records = await evidence(connector, request_id)
    assert row.state == "completed", (row.outcome, records[-1])
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureCompleted)
    assert (told.event.level, told.event.signed_at is None) == ("b-b", False)
    signed = await connector.blobs.get(told.event.file)
    if form == "cades":
        message = cms.ContentInfo.load(signed, strict=True)["content"]
        assert bytes(message["encap_content_info"]["content"]) == FORMATS[form]
    elif form == "xades":
        assert '<ho-so xmlns="urn:a">Kết quả<ds:Signature '.encode() in signed
    else:
        payload = signed.split(b".")[1]
        assert base64.urlsafe_b64decode(payload + b"==") == FORMATS[form]
    (judged,) = [one for one in records if one["to"] == "validated"]
    report = judged["facts"]["report"]
    assert report["accepted"]
    assert report["signature"]["serial_number"] == told.event.serial_number
    codes = {one["code"] for one in report["findings"]}
    assert {"signer-expected", "intact", "covered", "trusted", "content-kept"} <= codes


@pytest.mark.parametrize("flaw", ["wrong_certificate", "bad_signature", "other_document"])
@pytest.mark.parametrize("form", FORMATS)
async def test_a_signature_over_something_else_ends_it_in_every_format(
    connector: Connector, services: dict[str, SigningService], form: str, flaw: str
) -> None:
    """A raw signature shows no more than that it is not over this by this key."""
    services["smartca"].fault(on="sign", kind=flaw)
    request_id = await asked_as(connector, form)
    row = await connector.until(request_id, *ENDED, seconds=150)
    assert (row.state, row.result_file) == ("failed", None)
    last = (await evidence(connector, request_id))[-1]
    assert last["from"] == "signed-raw"
    assert last["facts"]["finding"]["code"] == "bad-signature"
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureFailed)


def _altered(form: str) -> bytes:
    return FORMATS[form].replace("ế".encode(), b"e").replace("Đ".encode(), b"D")


def _made_by(holder: Holder, document: Callable[[str], bytes]) -> Callable[[str, bytes], bytes]:
    return lambda form, _: message(document(form), holder, format=form)


TAMPERED: dict[str, tuple[Callable[[str, bytes], bytes], str]] = {
    "unsigned": (lambda form, _: FORMATS[form], "unsigned"),
    "by somebody else": (_made_by(colleague(), FORMATS.__getitem__), "wrong-certificate"),
    "cut short": (lambda _, content: content[: len(content) // 2], "signature-unreadable"),
}


@pytest.mark.parametrize("how", TAMPERED)
@pytest.mark.parametrize("form", FORMATS)
async def test_what_assembly_made_is_not_believed_without_the_verdict(
    connector: Connector, form: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, expected = TAMPERED[how]
    await _refused_at_the_end(connector, form, change, expected, monkeypatch)


@pytest.mark.parametrize("form", FORMATS)
async def test_an_altered_document_is_not_handed_out(
    connector: Connector, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def altered(form: str, content: bytes) -> bytes:
        if form == "xades":
            return content.replace("ế".encode(), b"e")
        if form == "jades":
            header, _, value = content.split(b".")
            payload = base64.urlsafe_b64encode(_altered(form)).rstrip(b"=")
            return b".".join((header, payload, value))
        made = cms.ContentInfo.load(content)
        made["content"]["encap_content_info"]["content"] = _altered(form)
        return bytes(made.dump(force=True))

    await _refused_at_the_end(connector, form, altered, "other-document", monkeypatch)


async def _refused_at_the_end(
    connector: Connector,
    form: str,
    change: Callable[[str, bytes], bytes],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finish = IsolatedAssembler.finish

    async def changed(self: IsolatedAssembler, waiting: Prepared, signature: bytes) -> bytes:
        return change(form, await finish(self, waiting, signature))

    monkeypatch.setattr(IsolatedAssembler, "finish", changed)
    request_id = await asked_as(connector, form)
    row = await connector.until(request_id, *ENDED, seconds=150)
    assert row.state == "failed"
    last = (await evidence(connector, request_id))[-1]
    assert last["from"] == "assembled"
    assert last["facts"]["finding"]["code"] == expected
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureFailed)


async def test_a_stamp_and_a_reason_are_asked_for_by_rest(connector: Connector) -> None:
    body = {
        "agency": AGENCY,
        "document": {"id": "KQ1", "name": "Giấy phép", "file": await connector.document()},
        "signer": {"user": USER, "ca_name": "VNPT-CA"},
        "reason": "Phê duyệt kết quả",
        "stamp": {"page": 0, "box": [50, 50, 250, 120]},
    }
    made = await connector.post(body)
    assert made.status_code == 202, made.text
    again, other = await asyncio.gather(
        connector.post(body), connector.post({**body, "reason": "Lý do khác"})
    )
    assert (again.status_code, other.status_code) == (202, 409)
    request_id = UUID(made.json()["request_id"])
    row = await connector.until(request_id, "completed", "failed", seconds=150)
    assert row.state == "completed", row.outcome
    signed = await connector.blobs.get(row.result_file)
    (signature,) = PdfFileReader(BytesIO(signed)).embedded_signatures
    assert signature.sig_object["/Reason"] == "Phê duyệt kết quả"
    assert [float(one) for one in signature.sig_field["/Rect"]] == [50, 50, 250, 120]


async def test_a_callback_brings_the_question_forward(
    connector: Connector, services: dict[str, SigningService]
) -> None:
    services["smartca"].fault(on="sign", kind="no_callback")
    services["smartca"].fault(on="sign", kind="slow", ms=4000, times=1)
    request_id = await connector.asked()
    row = await connector.until(request_id, "awaiting-user", seconds=150)
    path = "/v1/signing-callbacks/smartca"
    body = {"sp_id": "sp", "status_code": 200, "transaction_id": str(row.order_id)}
    far = "UPDATE signing_request SET ask_at = now() + interval '1 hour', status_at = NULL"
    async with connector.core.database.transaction() as connection:
        await connection.execute(text(far))
    unknown = await connector.http.post(path, json={**body, "transaction_id": str(UUID(int=1))})
    assert unknown.status_code == 202
    await asyncio.sleep(4.5)
    assert (await connector.row(request_id)).state == "awaiting-user"
    for _ in range(3):
        assert (await connector.http.post(path, json=body)).status_code == 202
    await connector.until(request_id, "completed", seconds=60)
    stored = await connector.rows(
        "SELECT order_id, times FROM signing_callback WHERE order_id = ANY(:ids) ORDER BY times",
        ids=[UUID(int=1), row.order_id],
    )
    assert [tuple(one) for one in stored] == [(UUID(int=1), 1), (row.order_id, 3)]


async def asked_together(connector: Connector, path: str, body: dict[str, Any]) -> list[UUID]:
    answer = await connector.http.post(
        path,
        json={"agency": AGENCY, **body},
        headers={
            "Authorization": f"Bearer {token('signing:write')}",
            "Idempotency-Key": "together",
        },
    )
    assert answer.status_code == 202, answer.text
    return [UUID(one["request_id"]) for one in answer.json()["items"]]


async def test_signers_follow_each_other_and_the_seal_comes_last(connector: Connector) -> None:
    document = {"id": "KQ1", "name": "Giấy phép", "file": await connector.document()}
    signers = [
        {"user": "001099000001", "ca_name": "VNPT-CA"},
        {"user": "001099000002", "ca_name": "VNPT-CA"},
        {"user": "001099000003", "ca_name": "VNPT-CA", "seal": True},
    ]
    first, second, seal = await asked_together(
        connector, "/v1/signing-workflows", {"document": document, "signers": signers}
    )
    ended = ("completed", "failed", "cancelled")
    last = await connector.until(seal, *ended, seconds=200)
    assert last.state == "completed", last.outcome
    assert last.source_file == (await connector.row(second)).result_file
    assert (await connector.row(second)).source_file == (await connector.row(first)).result_file
    signed = await connector.blobs.get(last.result_file)
    assert len(PdfFileReader(BytesIO(signed)).embedded_signatures) == 3
    for request_id in (first, second, seal):
        await evidence(connector, request_id)


async def test_nobody_signs_after_one_who_refused(
    connector: Connector, services: dict[str, SigningService]
) -> None:
    services["smartca"].fault(on="sign", kind="refuse")
    document = {"id": "KQ1", "name": "Giấy phép", "file": await connector.document()}
    signers = [{"user": f"00109900000{n}", "ca_name": "VNPT-CA"} for n in range(3)]
    ids = await asked_together(
        connector, "/v1/signing-workflows", {"document": document, "signers": signers}
    )
    await connector.until(ids[2], "cancelled", seconds=150)
    states = [(await connector.row(one)).state for one in ids]
    assert states == ["rejected-by-user", "cancelled", "cancelled"]
    for one in ids:
        (told,) = await connector.facts(one)
        assert isinstance(told.event, SignatureFailed)


async def test_a_batch_is_put_to_the_person_once(
    connector: Connector, services: dict[str, SigningService]
) -> None:
    documents = [
        {"id": f"KQ{n}", "name": f"Giấy phép {n}", "file": await connector.document()}
        for n in range(3)
    ]
    documents.insert(1, {**documents[0], "file": await connector.blobs.put(b"this is no PDF")})
    ids = await asked_together(
        connector,
        "/v1/signing-batches",
        {"documents": documents, "signer": {"user": USER, "ca_name": "VNPT-CA"}},
    )
    for one in ids:
        await connector.until(one, "completed", "failed", seconds=200)
    rows = [await connector.row(one) for one in ids]
    assert [row.state for row in rows] == ["completed", "failed", "completed", "completed"]
    assert len({row.order_id for row in rows if row.state == "completed"}) == 1
    assert len({row.submission for row in rows if row.state == "completed"}) == 1
