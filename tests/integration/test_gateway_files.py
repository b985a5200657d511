"""Uploading result papers, and completing a dossier with them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from common.contracts.commands import Complete
from gateway.use_cases import uploads
from tests.support.databases import Databases
from tests.support.gateway import (
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
)

PDF = b"%PDF-1.7\n1 0 obj\nendobj\n%%EOF\n"
DIGEST = hashlib.sha256(PDF).hexdigest()
MIB = 1024 * 1024


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


async def upload(gateway: RunningGateway, content, client="one-stop", **headers) -> httpx.Response:
    sent = {"content-type": "application/pdf", **gateway.bearer(client), **headers}
    return await gateway.http.post("/v1/files", content=content, headers=sent)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_a_file_is_kept_by_its_content(gateway: RunningGateway, tmp_path) -> None:
    for _ in range(2):
        answer = await upload(gateway, PDF)
        assert (answer.status_code, answer.json()) == (201, {"sha256": DIGEST, "size": len(PDF)})
    kept = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [PDF]


async def test_ten_mebibytes_and_not_a_byte_more(gateway: RunningGateway) -> None:
    whole = PDF + b"\0" * (10 * MIB - len(PDF))
    assert (await upload(gateway, whole)).status_code == 201
    declared = await upload(gateway, whole + b"\0")
    assert (declared.status_code, slug(declared)) == (413, "body-too-large")


async def test_a_stream_without_a_length_is_counted(gateway: RunningGateway) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield PDF
        while True:
            sent += MIB
            yield b"\0" * MIB

    answer = await upload(gateway, endless())
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")
    assert sent <= 11 * MIB


@pytest.mark.parametrize(
    "content", [b"", b"%PD", b"PK\x03\x04", b"<html>", b"\n%PDF-1.7", b"%pdf-1.7"]
)
async def test_what_is_no_pdf_is_refused(gateway: RunningGateway, content: bytes, tmp_path) -> None:
    answer = await upload(gateway, content)
    assert (answer.status_code, slug(answer)) == (422, "not-a-pdf")
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def test_a_pdf_may_come_byte_by_byte(gateway: RunningGateway) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for byte in PDF:
            yield bytes([byte])

    assert (await upload(gateway, slowly())).json()["sha256"] == DIGEST


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", ""])
async def test_only_pdfs_are_taken(gateway: RunningGateway, kind: str) -> None:
    answer = await upload(gateway, PDF, **{"content-type": kind})
    assert (answer.status_code, slug(answer)) == (415, "unsupported-media-type")


async def test_uploading_needs_the_scope_to_write(gateway: RunningGateway) -> None:
    assert (await upload(gateway, PDF, client="reader")).status_code == 403
    assert (await gateway.http.post("/v1/files", content=PDF)).status_code == 401


async def test_an_upload_that_does_not_end_is_given_up(
    gateway: RunningGateway, monkeypatch
) -> None:
    monkeypatch.setattr(uploads, "_SECONDS", 0.1)

    async def stuck() -> AsyncIterator[bytes]:
        yield PDF
        await asyncio.sleep(5)

    answer = await upload(gateway, stuck())
    assert (answer.status_code, slug(answer)) == (408, "upload-too-slow")


async def test_so_many_uploads_at_once_and_no_more(gateway: RunningGateway, monkeypatch) -> None:
    monkeypatch.setattr(uploads, "_AT_ONCE", 1)
    go_on = asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield PDF
        await go_on.wait()

    first = asyncio.ensure_future(upload(gateway, held()))
    await asyncio.sleep(0.1)
    second = await upload(gateway, PDF)
    assert (second.status_code, slug(second)) == (503, "busy")
    go_on.set()
    assert (await first).status_code == 201
    assert (await upload(gateway, PDF)).status_code == 201


async def test_a_result_names_a_file_that_its_client_has_uploaded(gateway: RunningGateway) -> None:
    result = {"id": "kq1", "name": "Giấy phép", "file": DIGEST}
    other = {"id": "kq2", "name": "Phụ lục", "file": "0" * 64}
    body = step("complete", results=[result, other])
    unknown = await gateway.take_step(body)
    assert (unknown.status_code, slug(unknown)) == (422, "unknown-file")
    assert [error["pointer"] for error in unknown.json()["errors"]] == [
        "/results/0/file",
        "/results/1/file",
    ]
    await upload(gateway, PDF)
    partly = await gateway.take_step(body)
    assert [error["pointer"] for error in partly.json()["errors"]] == ["/results/1/file"]
    known = step("complete", results=[result])
    assert (await gateway.take_step(known, client="other")).status_code == 422
    assert (await gateway.take_step(known)).status_code == 202


async def test_the_signer_travels_sealed(gateway: RunningGateway) -> None:
    await upload(gateway, PDF)
    wish = {"user": "079188000777", "ca_name": "VNPT-CA", "reason": "Ký kết quả"}
    result = {"id": "kq1", "name": "Giấy phép", "file": DIGEST, "signing": wish}
    assert (await gateway.take_step(step("complete", results=[result]))).status_code == 202
    (event,) = await gateway.submissions()
    assert isinstance(event.command, Complete)
    signing = event.command.results[0].signing
    assert signing is not None
    assert (signing.ca_name, signing.reason) == ("VNPT-CA", "Ký kết quả")
    assert gateway.core.keys.open(signing.sealed_user, dossier_code()) == "079188000777"
