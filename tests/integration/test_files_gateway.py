"""Files through the gateway: what is taken, who may have it, and how it is handed out."""

import asyncio
import base64
import hashlib
import io
import os
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from common.contracts.commands import GiveSupplement, Submit
from common.file_links import FileLinks
from gateway.use_cases import downloads
from tests.support.databases import Databases
from tests.support.gateway import (
    RunningGateway,
    gateway_database,
    listening,
    running_gateway,
    step,
    submission,
)

PDF = b"%PDF-1.7\n1 0 obj\nendobj\n%%EOF\n"
DIGEST = hashlib.sha256(PDF).hexdigest()
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 100
LARGE = b"%PDF-1.7\n" + os.urandom(1024 * 1024) * 3
KEY = base64.b64encode(b"l" * 32).decode()
LINKS: dict[str, Any] = {
    "public_url": "https://truc.example.vn",
    "link_keys": {"l1": KEY},
    "link_key": "l1",
}


@pytest.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path, **LINKS) as running:
        yield running


@pytest.fixture
def links() -> FileLinks:
    """As another service of the backbone makes them."""
    return FileLinks("https://truc.example.vn", {"l1": SecretStr(KEY)}, "l1", 3600)


def local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


async def upload(
    gateway: RunningGateway, content: bytes, media: str = "application/pdf", client="one-stop"
) -> httpx.Response:
    headers = {"content-type": media, **gateway.bearer(client)}
    return await gateway.http.post("/v1/files", content=content, headers=headers)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


def stored(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest[:2] / digest


def document() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w:document/>")
    return made.getvalue()


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(("media", "content"), [("image/png", PNG), (DOCX, document())])
async def test_a_paper_of_another_kind_is_kept_and_handed_back(
    gateway: RunningGateway, media: str, content: bytes
) -> None:
    digest = (await upload(gateway, content, f"{media}; charset=binary")).json()["sha256"]
    answer = await gateway.get(f"/v1/files/{digest}")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == media


@pytest.mark.parametrize(
    ("media", "content"), [("image/png", PDF), (DOCX, PDF), ("image/jpeg", PNG), (DOCX, PNG)]
)
async def test_the_content_must_be_of_the_type_that_is_named(
    gateway: RunningGateway, tmp_path: Path, media: str, content: bytes
) -> None:
    answer = await upload(gateway, content, media)
    assert (answer.status_code, slug(answer)) == (422, "file-type-mismatch")
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("media", ["text/html", "image/svg+xml", "application/octet-stream", "*/*"])
async def test_other_types_are_not_taken(gateway: RunningGateway, media: str) -> None:
    answer = await upload(gateway, PDF, media)
    assert (answer.status_code, slug(answer)) == (415, "unsupported-media-type")


async def test_a_download_is_an_attachment_that_no_browser_runs(gateway: RunningGateway) -> None:
    await upload(gateway, PDF)
    answer = await gateway.get(f"/v1/files/{DIGEST}")
    assert (answer.status_code, answer.content) == (200, PDF)
    headers = answer.headers
    assert headers["content-disposition"].startswith("attachment; ")
    assert f'filename="{DIGEST}.pdf"' in headers["content-disposition"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert headers["cache-control"] == "private, no-store"
    assert headers["content-length"] == str(len(PDF))
    sha256 = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    assert headers["repr-digest"] == f"sha-256=:{sha256}:"


async def test_only_the_client_that_brought_a_file_gets_it_back(gateway: RunningGateway) -> None:
    await upload(gateway, PDF)
    for client in ("other", "foreign", "reader"):
        answer = await gateway.get(f"/v1/files/{DIGEST}", client=client)
        assert (answer.status_code, slug(answer)) == (404, "no-such-file")
    unread = gateway.bearer("one-stop", scopes=["dossiers:write"])
    assert (await gateway.http.get(f"/v1/files/{DIGEST}", headers=unread)).status_code == 403
    assert (await gateway.http.get(f"/v1/files/{DIGEST}")).status_code == 401
    assert (await gateway.get(f"/v1/files/{'0' * 64}")).status_code == 404
    for malformed in (DIGEST.upper(), "x", DIGEST + "0"):
        assert (await gateway.get(f"/v1/files/{malformed}")).status_code == 422


async def test_a_link_needs_no_token(gateway: RunningGateway, links: FileLinks) -> None:
    await upload(gateway, PDF)
    url = links.url(DIGEST, "Giấy chứng nhận số 1")
    answer = await gateway.http.get(local(url))
    assert (answer.status_code, answer.content) == (200, PDF)
    disposition = answer.headers["content-disposition"]
    assert 'filename="Gi_y ch_ng nh_n s_ 1.pdf"' in disposition
    assert "filename*=UTF-8''Gi%E1%BA%A5y%20ch%E1%BB%A9ng" in disposition


async def test_a_file_that_was_signed_here_has_a_link_too(
    gateway: RunningGateway, links: FileLinks, tmp_path: Path
) -> None:
    signed = PDF + b"signed"
    digest = hashlib.sha256(signed).hexdigest()
    stored(tmp_path, digest).parent.mkdir(parents=True)
    stored(tmp_path, digest).write_bytes(signed)
    answer = await gateway.http.get(local(links.url(digest, "Giấy phép.pdf")))
    assert (answer.status_code, answer.content) == (200, signed)
    assert answer.headers["content-type"] == "application/pdf"
    other = await gateway.http.get(local(links.url(digest, "Giấy phép")))
    assert other.headers["content-type"] == "application/octet-stream"


async def test_an_altered_link_opens_nothing(gateway: RunningGateway, links: FileLinks) -> None:
    await upload(gateway, PDF)
    await upload(gateway, LARGE)
    good = httpx.URL(local(links.url(DIGEST, "a.pdf")))
    altered = [
        good.copy_set_param("n", "b.pdf"),
        good.copy_set_param("e", "99999999999"),
        good.copy_set_param("k", "l2"),
        good.copy_remove_param("s"),
        good.copy_with(path=f"/v1/files/{hashlib.sha256(LARGE).hexdigest()}"),
    ]
    for url in altered:
        answer = await gateway.http.get(url)
        assert (answer.status_code, slug(answer)) == (403, "link-invalid"), url
        # A good token does not mend a bad link.
        answer = await gateway.http.get(url, headers=gateway.bearer())
        assert answer.status_code == 403
    assert (await gateway.http.get(good)).status_code == 200


async def test_a_link_ends(gateway: RunningGateway) -> None:
    await upload(gateway, PDF)
    past = FileLinks(
        "https://truc.example.vn",
        {"l1": SecretStr(KEY)},
        "l1",
        3600,
        clock=lambda: time.time() - 7200,
    )
    answer = await gateway.http.get(local(past.url(DIGEST, "a.pdf")))
    assert (answer.status_code, slug(answer)) == (410, "link-expired")


async def test_without_link_keys_no_link_is_good(
    databases: Databases, tmp_path: Path, links: FileLinks
) -> None:
    async with running_gateway(await gateway_database(databases), tmp_path) as gateway:
        await upload(gateway, PDF)
        answer = await gateway.http.get(local(links.url(DIGEST, "a.pdf")))
        assert (answer.status_code, slug(answer)) == (403, "link-invalid")


async def test_the_headers_can_be_asked_for_alone(
    gateway: RunningGateway, links: FileLinks
) -> None:
    await upload(gateway, PDF)
    url = local(links.url(DIGEST, "a.pdf"))
    whole, head = await gateway.http.get(url), await gateway.http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "x-request-id": ""} == {**whole.headers, "x-request-id": ""}
    own = await gateway.http.head(f"/v1/files/{DIGEST}", headers=gateway.bearer())
    assert own.status_code == 200
    assert (await gateway.http.head(f"/v1/files/{DIGEST}")).status_code == 401


async def test_a_short_damaged_file_is_told_as_such(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    await upload(gateway, PDF)
    stored(tmp_path, DIGEST).write_bytes(PDF[:-1] + b"x")
    answer = await gateway.get(f"/v1/files/{DIGEST}")
    assert (answer.status_code, slug(answer)) == (500, "file-damaged")


async def test_a_large_damaged_file_never_arrives_whole(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    digest = (await upload(gateway, LARGE)).json()["sha256"]
    async with listening(gateway.app) as url, httpx.AsyncClient(base_url=url) as http:
        good = await http.get(f"/v1/files/{digest}", headers=gateway.bearer())
        assert good.content == LARGE
        stored(tmp_path, digest).write_bytes(LARGE[:-1] + b"x")
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"/v1/files/{digest}", headers=gateway.bearer())


async def test_so_many_downloads_at_once_and_no_more(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upload(gateway, PDF)
    monkeypatch.setattr(downloads, "_AT_ONCE", 0)
    answer = await gateway.get(f"/v1/files/{DIGEST}")
    assert (answer.status_code, slug(answer)) == (503, "busy")
    monkeypatch.setattr(downloads, "_AT_ONCE", 1)
    for _ in range(3):  # a place is given back
        assert (await gateway.get(f"/v1/files/{DIGEST}")).status_code == 200


async def test_papers_of_a_dossier_are_files_that_its_client_has_uploaded(
    gateway: RunningGateway,
) -> None:
    paper = {"id": "tl1", "name": "Giấy đề nghị", "file": DIGEST}
    first = submission(documents=[{"id": "tl0", "name": "Không tệp"}, paper])
    given = step("give-supplement", documents=[paper])
    for answer, pointer in (
        (await gateway.submit(first), "/documents/1/file"),
        (await gateway.take_step(given), "/documents/0/file"),
    ):
        assert (answer.status_code, slug(answer)) == (422, "unknown-file")
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    await upload(gateway, PDF)
    assert (await gateway.submit(first)).status_code == 202
    assert (await gateway.take_step(given)).status_code == 202
    assert (await gateway.take_step(given, client="other")).status_code == 422
    submit, supplement = [event.command for event in await gateway.submissions()]
    assert isinstance(submit, Submit)
    assert isinstance(supplement, GiveSupplement)
    assert [one.file for one in submit.documents] == [None, DIGEST]
    assert [one.file for one in supplement.documents] == [DIGEST]


async def test_only_a_pdf_can_be_signed(gateway: RunningGateway) -> None:
    digest = (await upload(gateway, PNG, "image/png")).json()["sha256"]
    wish = {"user": "079188000777", "ca_name": "VNPT-CA"}
    plain = {"id": "kq1", "name": "Ảnh", "file": digest}
    answer = await gateway.take_step(step("complete", results=[plain, {**plain, "signing": wish}]))
    assert (answer.status_code, slug(answer)) == (422, "not-a-pdf")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/results/1/file"]
    assert (await gateway.take_step(step("complete", results=[plain]))).status_code == 202


async def test_two_clients_may_bring_the_same_file(gateway: RunningGateway) -> None:
    both = await asyncio.gather(upload(gateway, PDF), upload(gateway, PDF, client="other"))
    assert [answer.status_code for answer in both] == [201, 201]
    for client in ("one-stop", "other"):
        assert (await gateway.get(f"/v1/files/{DIGEST}", client=client)).content == PDF
