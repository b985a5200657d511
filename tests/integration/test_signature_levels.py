"""Levels above B-B: timestamps and validation data, at once or later, by the whole service against
a simulated authority."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import text

from common.contracts.signature import SignatureAugmented, SignatureCompleted
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Report
from signature_connector.domain.profiles import Profile
from signature_connector.domain.requests import Request
from signature_connector.domain.verification import Material
from signature_connector.use_cases.augmenting import Augmenting
from signature_connector.use_cases.finishing import Augmented, Finishing
from signature_connector.verification.policies import read_policies
from signature_connector.verification.verification import verify
from tests.support.databases import Databases
from tests.support.gateway import listening
from tests.support.signature_connector import (
    AGENCY,
    USER,
    Connector,
    connector_database,
    running_connector,
    settings,
    token,
)
from tests.support.signing_services import (
    PERSON_MS,
    SigningGateway,
    SigningService,
    calling_back,
    door,
    signing_services,
)

ENDED = ("completed", "failed", "manual-review")


@dataclass(frozen=True)
class World:
    smartca: SigningService
    tsas: tuple[SigningService, SigningService]


@pytest.fixture(scope="module")
def the_door() -> Iterator[socket.socket]:
    with door() as listening:
        yield listening


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, the_door: socket.socket) -> Iterator[World]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # known beforehand, since certificates name it
    smartca = (
        *("--port", str(port), "--crls", f"http://127.0.0.1:{port}/crls"),
        *("--person-ms", PERSON_MS, "--keys", "ecdsa", "--account", "sp:s3cret"),
        *calling_back(the_door, "smartca"),
    )
    programs = {"smartca": smartca, "tsa:1": (), "tsa:2": ()}
    with signing_services(tmp_path_factory.mktemp("world"), programs) as running:
        yield World(running["smartca"], (running["tsa:1"], running["tsa:2"]))


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
async def running(
    databases: Databases,
    tmp_path: Path,
    world: World,
    the_door: socket.socket,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Running]:
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
        augment_seconds=getattr(request, "param", 0.5),
        revocation_networks=("127.0.0.0/8",),
    )
    async with running_connector(configured) as connector, listening(connector.app, the_door):
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


def outage(world: World) -> None:
    for one in world.tsas:
        one.fault(on="timestamp", kind="rejection")


async def until_augmented(connector: Connector, request_id: UUID) -> Any:
    async with asyncio.timeout(90):
        while (row := await connector.row(request_id)).augment_at is not None:
            await asyncio.sleep(0.1)
    return row


async def test_without_timestamps_signing_goes_on_and_the_document_gets_them_later(
    running: Running, world: World
) -> None:
    outage(world)
    connector = running.connector
    row = await running.ended(await running.asked("pades-b-lt"))
    (told,) = await connector.facts(row.request_id)
    assert isinstance(told.event, SignatureCompleted)
    assert (told.event.level, row.level) == ("b-b", "b-b")
    assert row.augment_at is not None
    for one in world.tsas:
        one.reset()
    row = await until_augmented(connector, row.request_id)
    _, later = await connector.facts(row.request_id, 2)
    assert isinstance(later.event, SignatureAugmented)
    assert (later.event.replaces, later.event.level) == (told.event.file, "b-lt")
    assert later.event.file == row.result_file
    assert await running.level(later.event.file) == "B-LT"
    assert row.sealed_certificate is None
    last = (await running.evidence(row.request_id))[-1]
    assert last["facts"]["augmented_sha256"] == later.event.file
    assert last["facts"]["timestamp"]
    shown = await connector.get(
        f"/v1/signing-requests/{row.request_id}", "signing:read", agencies=("*",)
    )
    assert shown.json()["signed_file"] == later.event.file, shown.text


async def test_it_is_given_up_in_the_end_and_the_evidence_says_so(
    running: Running, world: World
) -> None:
    outage(world)
    connector = running.connector
    row = await running.ended(await running.asked("pades-b-t"))
    async with connector.core.database.transaction() as connection:
        await connection.execute(
            text("UPDATE signing_request SET returned_at = returned_at - interval '30 days'")
        )
    row = await until_augmented(connector, row.request_id)
    assert (row.level, row.sealed_certificate) == ("b-b", None)
    last = (await running.evidence(row.request_id))[-1]
    assert last["facts"]["warning"]["code"] == "level-not-reached"
    assert len(await connector.facts(row.request_id)) == 1


async def test_nothing_is_put_behind_the_signature_of_another(
    running: Running, world: World
) -> None:
    outage(world)
    document = {"id": "KQ1", "name": "Giấy phép", "file": await running.connector.document()}
    signers = [{"user": f"00109900000{n}", "ca_name": "VNPT-CA"} for n in (1, 2)]
    answer = await running.connector.http.post(
        "/v1/signing-workflows",
        json={"agency": AGENCY, "document": document, "signers": signers, "profile": "pades-b-t"},
        headers={
            "Authorization": f"Bearer {token('signing:write')}",
            "Idempotency-Key": "together",
        },
    )
    assert answer.status_code == 202, answer.text
    first, last = [UUID(one["request_id"]) for one in answer.json()["items"]]
    row = await running.ended(last)
    assert row.augment_at is not None
    before = await running.connector.row(first)
    assert (before.profile, row.profile) == ("pades-b-b", "pades-b-t")
    assert (before.level, before.augment_at, before.sealed_certificate) == ("b-b", None, None)
    for one in world.tsas:
        one.reset()
    row = await until_augmented(running.connector, last)
    assert row.level == "b-t"
    assert (await running.connector.row(first)).result_file == before.result_file


@dataclass
class Overtaken:
    """Augments, and finds that the request was erased meanwhile."""

    connector: Connector
    files: Any
    tries: int = 0

    async def augmented(self, request: Request, profile: Profile) -> Augmented:
        self.tries += 1
        async with self.connector.core.database.transaction() as connection:
            await connection.execute(
                text("UPDATE signing_request SET augment_at = NULL, sealed_certificate = NULL")
            )
        return Augmented(b"%PDF better", "b-t", {})

    async def verdict(self, request: Request) -> Report:
        return Report(())


@pytest.mark.parametrize("running", [3600.0], indirect=True)
async def test_one_worker_tries_and_writes_nothing_where_the_request_was_erased_meanwhile(
    running: Running, world: World
) -> None:
    outage(world)
    connector = running.connector
    before = await running.ended(await running.asked("pades-b-t"))
    async with connector.core.database.transaction() as connection:
        await connection.execute(text("UPDATE signing_request SET augment_at = now()"))
    overtaken = Overtaken(connector, connector.blobs)
    hour = timedelta(hours=1)
    workers = [
        Augmenting(connector.core.outbox, cast("Finishing", overtaken), hour, hour, lease=60.0)
        for _ in range(3)
    ]
    assert sum(await asyncio.gather(*(one.augment_due() for one in workers))) == 1
    assert overtaken.tries == 1
    row = await connector.row(before.request_id)
    assert (row.level, row.result_file, row.evidence_count) == (
        "b-b",
        before.result_file,
        before.evidence_count,
    )
    await connector.facts(before.request_id)
    assert len(connector.heard(before.request_id)) == 1
