"""Levels above B-B: timestamps and validation data, at once or later, by the whole service against
a simulated authority."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from common.contracts.signature import SignatureCompleted
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.verification import Material
from signature_connector.verification.policies import read_policies
from signature_connector.verification.verification import verify
from tests.support.databases import Databases
from tests.support.signature_connector import (
    AGENCY,
    USER,
    Connector,
    SigningGateway,
    connector_database,
    running_connector,
    settings,
)
from tests.support.signing_services import SigningService, signing_service

ENDED = ("completed", "failed", "manual-review")


@dataclass(frozen=True)
class World:
    smartca: SigningService
    tsas: tuple[SigningService, SigningService]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # known beforehand, since certificates name it
    crls = ("--port", str(port), "--crls", f"http://127.0.0.1:{port}/crls")
    options = ("--person-ms", "30", "--keys", "ecdsa", "--account", "sp:s3cret")
    with ExitStack() as stack:
        first, second = (folder / "first", folder / "second")
        for one in (first, second):
            one.mkdir()
        yield World(
            stack.enter_context(signing_service(folder, "smartca", *options, *crls)),
            (
                stack.enter_context(signing_service(first, "tsa")),
                stack.enter_context(signing_service(second, "tsa")),
            ),
        )


@dataclass(frozen=True)
class Running:
    connector: Connector
    roots: Path

    async def asked(self, profile: str, **more: Any) -> UUID:
        body = {
            "agency": AGENCY,
            "document": {
                "id": "KQ1",
                "name": "Giấy phép",
                "file": await self.connector.document(),
            },
            "signer": {"user": USER, "ca_name": "VNPT-CA"},
            "profile": profile,
            **more,
        }
        made = await self.connector.post(body)
        assert made.status_code == 202, made.text
        return UUID(made.json()["request_id"])

    async def ended(self, request_id: UUID) -> Any:
        row = await self.connector.until(request_id, *ENDED, seconds=150)
        assert row.state == "completed", (row.outcome, (await self.evidence(request_id))[-1])
        return row

    async def evidence(self, request_id: UUID) -> list[dict[str, Any]]:
        path = f"/v1/signing-requests/{request_id}/evidence"
        body = (await self.connector.get(path, "operations", agencies=("*",))).json()
        assert body["broken_at"] is None
        return [one["record"] for one in body["records"]]

    async def level(self, file: str) -> str | None:
        """What an independent look at the document says of its one signature."""
        content = await self.connector.blobs.get(file)
        material = Material("pdf", content, datetime.now(UTC))
        policies = read_policies(self.roots)
        report = await asyncio.to_thread(verify, material, policies, ValidationData())
        (signature,) = report.facts["signatures"]
        assert signature["intact"]
        level: str | None = signature["level"]
        return level


@pytest.fixture
async def running(databases: Databases, tmp_path: Path, world: World) -> AsyncIterator[Running]:
    for one in (world.smartca, *world.tsas):
        one.reset()
    (tmp_path / "secret").write_text("s3cret")
    roots = tmp_path / "roots.pem"
    roots.write_bytes(b"".join(one.root.read_bytes() for one in (world.smartca, *world.tsas)))
    provider = {
        "name": "smartca",
        "dialect": "smartca",
        "url": world.smartca.url,
        "ca_names": ["VNPT-CA"],
        "accounts": [{"agencies": ["*"], "client_id": "sp", "secret_file": "secret"}],
        "user_seconds": 20,
    }
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"providers": [provider]}))
    configured = settings(
        await connector_database(databases),
        tmp_path,
        SigningGateway("http://127.0.0.1:9", roots),
        providers_file=file,
        timestamp_urls=tuple(one.url for one in world.tsas),
        timestamp_seconds=3.0,
        augment_seconds=0.5,
        revocation_networks=("127.0.0.0/8",),
    )
    async with running_connector(configured) as connector:
        yield Running(connector, roots)


@pytest.mark.parametrize("level", ["b-t", "b-lt", "b-lta"])
async def test_a_document_ends_at_the_level_that_was_asked_for(
    running: Running, level: str
) -> None:
    row = await running.ended(await running.asked(f"pades-{level}", augment="required"))
    (told,) = await running.connector.facts(row.request_id)
    assert isinstance(told.event, SignatureCompleted)
    assert (told.event.level, row.augment_at, row.sealed_certificate) == (level, None, None)
    assert await running.level(told.event.file) == level.upper()
    states = [one["to"] for one in await running.evidence(row.request_id)]
    assert states[-4:] == ["assembled", "augmented", "validated", "completed"]
