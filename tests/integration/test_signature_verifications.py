"""Verification as a service: what other systems send and are told, and that nothing stays."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.databases import Databases
from tests.support.gateway import NOWHERE
from tests.support.signature_connector import (
    Connector,
    connector_database,
    running_connector,
    settings,
    token,
)
from tests.support.signing import Usage as CertificateUsage
from tests.support.signing import draw, issue, pdf, root, updated
from tests.support.signing_services import SigningGateway
from tests.support.verification import cades, jws, pades, xades

PATH = "/v1/signature-verifications"
# Signed once and outside of the event loop, which the signing library starts itself.
PADES, LASTING, XADES, JWS = pades(), pades("b-lt"), xades(), jws().encode()
CADES = cades()
CONTENT = b"Noi dung\r\n--x\r\n"
DETACHED = cades(CONTENT, detached=True)
DRAWN = updated(PADES, draw)


@pytest.fixture
async def connector(databases: Databases, tmp_path: Path) -> AsyncIterator[Connector]:
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(root().certificate.public_bytes(Encoding.PEM))
    made = settings(
        await connector_database(databases),
        tmp_path,
        SigningGateway(NOWHERE, bundle),
        service_verifiers=1,
        service_file_limit=400_000,
        trust_seconds=0.1,
    )
    async with running_connector(made) as running:
        yield running


async def verified(
    connector: Connector,
    content: bytes,
    media: str = "application/pdf",
    scopes: tuple[str, ...] = ("signatures:verify",),
    **headers: str,
) -> httpx.Response:
    bearer = {"authorization": f"Bearer {token(*scopes)}", "content-type": media, **headers}
    return await connector.http.post(PATH, content=content, headers=bearer)


async def test_each_kind_of_document_is_verified_and_told_in_both_languages(connector) -> None:
    for content, media, form in (
        (LASTING, "application/pdf", "pades"),
        (CADES, "application/cms", "cades"),
        (CADES, "application/pkcs7-signature", "cades"),
        (XADES, "application/xml; charset=utf-8", "xades"),
        (JWS, "application/jose", "jades"),
    ):
        answer = await verified(connector, content, media)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        (one,) = body["signatures"]
        assert one["format"] == form
        assert one["intact"]
        assert body["policy"]["name"] == "bundle"
        for found in one["findings"]:
            assert found["vi"]
            assert found["en"]
    plain = (await verified(connector, PADES)).json()
    assert plain["indication"] == "INDETERMINATE"  # nobody told of revocation
    lasting = (await verified(connector, LASTING)).json()
    assert lasting["indication"] == "TOTAL-PASSED"


async def test_the_report_comes_in_xml_to_whom_wants_that(connector) -> None:
    answer = await verified(connector, PADES, accept="application/xml")
    assert answer.headers["content-type"] == "application/xml"
    assert answer.text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<vr:ValidationReport')
    json_first = await verified(connector, PADES, accept="application/json, application/xml")
    assert json_first.headers["content-type"] == "application/json"


async def test_a_detached_signature_comes_with_its_content_in_a_form(connector) -> None:
    async def asked(files, **headers):
        bearer = {"authorization": f"Bearer {token('signatures:verify')}", **headers}
        return await connector.http.post(PATH, files=files, headers=bearer)

    signature = DETACHED
    parts = {
        "signature": ("s.p7s", signature, "application/pkcs7-signature"),
        "content": ("c.bin", CONTENT, "application/octet-stream"),
    }
    body = (await asked(parts)).json()
    assert body["signatures"][0]["covers"] == ["detached"]
    assert body["signatures"][0]["intact"]
    other = {**parts, "content": ("c.bin", b"Noi dung khac", "application/octet-stream")}
    assert (await asked(other)).json()["sub_indication"] == "HASH_FAILURE"
    for wrong in ({"signature": parts["signature"]}, {**parts, "more": ("m", b"", "text/plain")}):
        answer = await asked(wrong)
        assert answer.status_code == 400
        assert answer.json()["type"].endswith("malformed-parts")
    broken = await verified(connector, b"--a\r\n", "multipart/form-data; boundary=a")
    assert broken.status_code == 400


async def test_it_needs_the_scope_and_masks_names_without_another(connector) -> None:
    assert (await verified(connector, PADES, scopes=("signing:read",))).status_code == 403
    masked = (await verified(connector, PADES)).json()["signatures"][0]["signer"]
    assert masked["name"] == "N. V. K."
    clear = await verified(connector, PADES, scopes=("signatures:verify", "dossiers:personal"))
    assert clear.json()["signatures"][0]["signer"]["name"] == "Nguyễn Văn Ký"


async def test_other_media_types_and_large_bodies_are_refused(connector) -> None:
    assert (await verified(connector, b"a", "text/plain")).status_code == 415
    assert (await verified(connector, b" " * 500_000)).status_code == 413


async def test_a_tampered_document_is_refused_with_its_reason(connector) -> None:
    body = (await verified(connector, DRAWN)).json()
    assert body["indication"] == "TOTAL-FAILED"
    assert "changed-after-signing" in [f["code"] for f in body["signatures"][0]["findings"]]


async def test_it_is_judged_as_of_a_date_and_by_a_policy_that_is_named(connector) -> None:
    bearer = {
        "authorization": f"Bearer {token('signatures:verify')}",
        "content-type": "application/pdf",
    }
    at = (datetime.now(UTC) - timedelta(days=90)).isoformat()
    answer = await connector.http.post(PATH, params={"at": at}, content=PADES, headers=bearer)
    assert answer.json()["sub_indication"] == "OUT_OF_BOUNDS_NO_POE"
    answer = await connector.http.post(
        PATH, params={"policy": "other"}, content=PADES, headers=bearer
    )
    assert answer.json()["sub_indication"] == "POLICY_PROCESSING_ERROR"
    assert answer.json()["policy"] is None


async def test_nothing_of_a_document_is_kept(connector) -> None:
    await verified(connector, PADES)
    everything = await connector.everything()
    assert "Nguyễn Văn Ký" not in everything


async def test_a_changed_bundle_counts_without_a_restart_and_a_broken_one_never(
    connector: Connector, tmp_path: Path
) -> None:
    bundle = tmp_path / "roots.pem"

    async def trusted() -> bool:
        body = (await verified(connector, PADES)).json()
        return bool(body["sub_indication"] == "TRY_LATER")

    async def until(expected: bool) -> None:
        async with asyncio.timeout(20):
            while await trusted() != expected:
                await asyncio.sleep(0.1)

    assert await trusted()
    foreign = issue("Foreign", None, CertificateUsage(authority=True))
    bundle.write_bytes(foreign.certificate.public_bytes(Encoding.PEM))
    await until(False)
    bundle.write_bytes(root().certificate.public_bytes(Encoding.PEM))
    await until(True)
    bundle.write_bytes(b"-----BEGIN CERTIFICATE-----\nbroken")
    async with asyncio.timeout(20):
        while "trust_bundle_good 0.0" not in (await connector.http.get("/metrics")).text:
            await asyncio.sleep(0.1)
    assert await trusted()
    assert json.loads((await verified(connector, pdf())).text)["indication"] == "TOTAL-FAILED"
