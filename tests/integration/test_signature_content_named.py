"""A detached signature over a file that was uploaded before: named by its digest at the gateway,
which knows who may have it, and judged by the connector, which does not."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from gateway.api import verifications
from gateway.use_cases.tokens import SigningKey
from tests.support.databases import Databases
from tests.support.gateway import (
    NOWHERE,
    RunningGateway,
    gateway_database,
    listening,
    running_gateway,
    signing_key,
)
from tests.support.signature_connector import (
    Connector,
    connector_database,
    running_connector,
    settings,
)
from tests.support.signing import pdf, root
from tests.support.signing_services import SigningGateway
from tests.support.verification import cades, jws

PATH = "/v1/signature-verifications"
CMS = "application/pkcs7-signature"
CONTENT = pdf("Noi dung da ky roi")
DIGEST = hashlib.sha256(CONTENT).hexdigest()
SIGNATURE = cades(CONTENT, detached=True)
JWS = jws(CONTENT, detached=True).encode()
SCOPES = ("dossiers:write", "dossiers:read", "signatures:verify")


@dataclass
class World:
    """A gateway with a connector behind it; both have the same file store."""

    gateway: RunningGateway
    connector: Connector

    async def uploaded(self, content: bytes = CONTENT, client: str = "one-stop") -> str:
        """A file that a client has uploaded; its digest."""
        sent = {"content-type": "application/pdf", **self.gateway.bearer(client, scopes=SCOPES)}
        answer = await self.gateway.http.post("/v1/files", content=content, headers=sent)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sha256"])

    async def verified(
        self,
        digest: str | None = DIGEST,
        client: str = "one-stop",
        scopes: tuple[str, ...] = SCOPES,
        **changed: Any,
    ) -> httpx.Response:
        """Have the signature verified over a file that is named."""
        headers = {
            "content-type": CMS,
            **self.gateway.bearer(client, scopes=scopes),
            **changed.pop("headers", {}),
        }
        return await self.gateway.http.post(
            PATH,
            params={} if digest is None else {"content": digest},
            headers=headers,
            **{"content": SIGNATURE, **changed},
        )


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    bundle = tmp_path / "roots.pem"
    bundle.write_bytes(root().certificate.public_bytes(Encoding.PEM))
    configured = settings(
        await connector_database(databases),
        tmp_path,
        SigningGateway(NOWHERE, bundle),
        service_verifiers=1,
    )
    keys = SigningKey(SecretStr(signing_key())).token_keys()
    async with AsyncExitStack() as stack:
        connector = await stack.enter_async_context(running_connector(configured, keys))
        url = await stack.enter_async_context(listening(connector.app))
        gateway = await stack.enter_async_context(
            running_gateway(await gateway_database(databases), tmp_path, signature_url=url)
        )
        yield World(gateway, connector)


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def test_the_content_of_a_detached_signature_is_named_by_its_digest(world: World) -> None:
    await world.uploaded()
    answer = await world.verified()
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["signatures"]
    assert (one["intact"], one["covers"], one["format"]) == (True, ["detached"], "cades")
    without = (await world.verified(None)).json()
    assert without["sub_indication"] == "SIGNED_DATA_NOT_FOUND"
    xml = await world.verified(headers={"accept": "application/xml"})
    assert xml.headers["content-type"] == "application/xml"


async def test_each_format_is_read_by_its_own_media_type(world: World) -> None:
    await world.uploaded()
    answer = await world.verified(content=JWS, headers={"content-type": "application/jose"})
    (one,) = answer.json()["signatures"]
    assert (one["intact"], one["format"]) == (True, "jades")
    mistaken = await world.verified(content=JWS)
    assert mistaken.json()["indication"] == "TOTAL-FAILED"


async def test_a_signature_over_another_file_is_none_over_this_one(world: World) -> None:
    other = await world.uploaded(pdf("Noi dung khac"))
    assert (await world.verified(other)).json()["sub_indication"] == "HASH_FAILURE"


async def test_a_file_that_is_not_there_and_one_that_is_not_the_clients_are_told_alike(
    world: World,
) -> None:
    told = []
    missing = await world.verified()
    await world.uploaded(client="other")
    assert await world.connector.blobs.has(DIGEST)
    for answer in (missing, await world.verified(), await world.verified("f" * 64)):
        assert (answer.status_code, slug(answer)) == (404, "no-such-file")
        told.append({**answer.json(), "instance": None})
    assert told[0] == told[1] == told[2]
    assert (await world.verified(client="other")).status_code == 200
    # A result that was signed here is nobody's upload.
    await world.connector.blobs.put(b"%PDF-1.7 signed here")
    signed_here = hashlib.sha256(b"%PDF-1.7 signed here").hexdigest()
    assert slug(await world.verified(signed_here)) == "no-such-file"


async def test_who_may_read_no_files_has_none_verified(world: World) -> None:
    await world.uploaded()
    for digest in (DIGEST, "f" * 64):
        answer = await world.verified(digest, scopes=("signatures:verify",))
        assert (answer.status_code, slug(answer)) == (403, "forbidden")
        assert "dossiers:read" in answer.text
    only_reads = await world.verified(scopes=("dossiers:read",))
    assert only_reads.status_code == 403


async def test_the_content_is_given_once_and_by_a_digest(world: World) -> None:
    await world.uploaded()
    bearer = world.gateway.bearer(scopes=SCOPES)
    parts = {"signature": ("s", SIGNATURE, CMS), "content": ("c", CONTENT, "application/pdf")}
    form = await world.gateway.http.post(
        PATH, params={"content": DIGEST}, files=parts, headers=bearer
    )
    assert (form.status_code, slug(form)) == (422, "invalid-content")
    assert form.json()["errors"][0]["pointer"] == "/content"
    for wrong in ("", "a" * 63, DIGEST.upper(), "../" + DIGEST):
        assert (await world.verified(wrong)).status_code == 422


async def test_content_that_is_too_large_to_be_verified_is_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.uploaded()
    monkeypatch.setattr(verifications, "LARGEST", len(CONTENT) + len(SIGNATURE) - 1)
    answer = await world.verified()
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")
    monkeypatch.setattr(verifications, "LARGEST", len(CONTENT) + len(SIGNATURE))
    assert (await world.verified()).status_code == 200


async def test_a_file_that_was_damaged_where_it_is_kept_is_not_verified(
    world: World, tmp_path: Path
) -> None:
    await world.uploaded()
    (tmp_path / "blobs" / DIGEST[:2] / DIGEST).write_bytes(CONTENT + b" ")
    answer = await world.verified()
    assert (answer.status_code, slug(answer)) == (500, "file-damaged")
