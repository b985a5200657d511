"""Every service at once, with a thing of each kind that a client has all rights to, and others.

``RIGHT`` is the agency and procedure of the thing that is asked for; what belongs to ``FOREIGN``
agencies or procedures lies beside it, so that a list that forgets a right shows too much.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from catalog.main import create_app as catalog_app
from catalog.settings import Settings as CatalogSettings
from common.blobs import Blobs
from common.contracts.catalog import EditionPublished, Field, ProcedurePublished
from common.identifiers import new_id
from common.sealing import KeyRing
from common.service import Shared
from common.transport.local import LocalTransport
from dossier.main import create_app as dossier_app
from dossier.settings import Settings as DossierSettings
from gateway.use_cases.tokens import SigningKey
from metrics_exporter.main import create_app as metrics_app
from metrics_exporter.settings import Settings as MetricsSettings
from national_portal_sync.main import create_app as portal_app
from national_portal_sync.settings import Settings as PortalSettings
from signature_connector.main import create_app as signature_app
from signature_connector.settings import Settings as SignatureSettings
from tests.support import conformance, dossier_service, gateway, portal, signature_connector
from tests.support.databases import Databases
from tests.support.dossiers import envelope
from tests.support.gateway import (
    AGENCY,
    NOWHERE,
    NUMBER,
    OTHER,
    PROCEDURE,
    RunningGateway,
    dossier_code,
    listening,
    running_gateway,
    sign,
    signing_key,
    submission,
)
from tests.support.rights import SCOPES
from tests.support.signing import pdf, root

FOREIGN_PROCEDURE = "1.004227"
MINE, ELSEWHERE, OF_ANOTHER = dossier_code(1), dossier_code(2, OTHER), dossier_code(3)
"""Dossiers: one that all rights are for, one of a foreign agency, one of a foreign procedure."""
_PLACES = {
    MINE: (AGENCY, PROCEDURE),
    ELSEWHERE: (OTHER, PROCEDURE),
    OF_ANOTHER: (AGENCY, FOREIGN_PROCEDURE),
}
SECRET = "a-secret-of-the-rights-matrix"
ALL, NOBODY = ("*",), ()

CLIENTS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "everything": (ALL, ALL),
    "right": ((AGENCY,), (PROCEDURE,)),
    "foreign-agency": ((OTHER,), ALL),
    "foreign-procedure": (ALL, (FOREIGN_PROCEDURE,)),
    "no-procedure": (ALL, NOBODY),
    "another": (ALL, ALL),
}
"""Agencies and procedures of each client; each has every scope, its tokens as many as are asked."""


@dataclass
class World:
    """The services by name, and what is in them."""

    gateway: RunningGateway
    apps: dict[str, FastAPI]
    http: dict[str, httpx.AsyncClient]
    file: str = ""
    submission: str = ""
    signing: dict[str, UUID] = field(default_factory=dict)
    """Requests, by dossier."""
    imported: UUID = field(default_factory=new_id)
    run: UUID = field(default_factory=new_id)
    bulk: str = ""
    upload: str = ""
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    """By client and scopes: services remember those that they have checked."""

    def bearer(self, client: str, scopes: Sequence[str] | None = None) -> dict[str, str]:
        """A token of a client, with all scopes or some."""
        scope = " ".join(sorted(SCOPES) if scopes is None else scopes)
        if (client, scope) not in self.tokens:
            agencies, procedures = CLIENTS[client]
            self.tokens[client, scope] = sign(
                client_id=client,
                scope=scope,
                agencies=list(agencies),
                procedures=tuple(procedures),
            )
        return {"authorization": f"Bearer {self.tokens[client, scope]}"}

    async def refused(self) -> int:
        """How many refusals were put down."""
        (row,) = await self.gateway.rows("SELECT count(*) FROM refusal WHERE client_id IS NOT NULL")
        return int(row[0])

    async def run_sql(self, service: str, statement: str, **values: Any) -> None:
        """Change something in a service's database."""
        async with self.apps[service].state.core.database.transaction() as connection:
            await connection.execute(text(statement), values)


@asynccontextmanager
async def whole_world(databases: Databases, folder: Path) -> AsyncIterator[World]:
    """All services up, each with a database of its own, and the things in them."""
    sealing = gateway.settings("postgresql+asyncpg://-/-", folder)
    keys = SigningKey(SecretStr(signing_key())).token_keys()
    roots = folder / "roots.pem"
    roots.write_bytes(root().certificate.public_bytes(Encoding.PEM))

    def shared() -> Shared:
        return Shared(transport=LocalTransport(opened=False), token_keys=keys)

    common: dict[str, Any] = {
        "sealing_keys": sealing.sealing_keys,
        "sealing_key": "k1",
        "usage_seconds": 3600.0,
        "shutdown_seconds": 0.5,
    }
    template = await databases.template("portal", portal.prepared)
    apps = {
        "dossier": dossier_app(
            DossierSettings(
                database_url=SecretStr(await dossier_service.dossier_database(databases)),
                index_keys={"i1": SecretStr("aWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWk=")},
                index_key="i1",
                **common,
            ),
            shared(),
        ),
        "signature-connector": signature_app(
            SignatureSettings(
                database_url=SecretStr(await signature_connector.connector_database(databases)),
                blobs_url=f"file://{folder / 'blobs'}",
                esign_url=NOWHERE,
                trust_roots=roots,
                verifiers=1,
                **common,
            ),
            shared(),
        ),
        "national-portal-sync": portal_app(
            PortalSettings(
                database_url=SecretStr(await databases.create("portal", template=template)),
                portal_url=NOWHERE,
                portal_username="tinh",
                portal_password=SecretStr("mat-khau"),
                portal_unit=AGENCY,
                portal_dstcode="G22",
                questions_seconds=0,
                **common,
            ),
            shared(),
        ),
        "catalog": catalog_app(
            CatalogSettings(
                database_url=SecretStr(await conformance.catalogue_database(databases)),
                usage_seconds=3600,
                shutdown_seconds=0.5,
            ),
            shared(),
        ),
        "metrics-exporter": metrics_app(
            MetricsSettings(
                database_url=SecretStr(await databases.create("metrics")),
                emc_url=NOWHERE,
                tracker_url=NOWHERE,
                site_id=7,
                pseudonym_key=SecretStr("a key of chance, forty characters long.."),
                usage_seconds=3600,
            ),
            shared(),
        ),
    }
    async with AsyncExitStack() as stack:
        http, urls = {}, {}
        for name, app in apps.items():
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            http[name] = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://service")
            )
            urls[name] = await stack.enter_async_context(listening(app))
        running = await stack.enter_async_context(
            running_gateway(
                await gateway.gateway_database(databases),
                folder,
                shared=shared(),
                clients=json.dumps(_seeds()),
                dossier_url=urls["dossier"],
                catalog_url=urls["catalog"],
                signature_url=urls["signature-connector"],
                portal_sync_url=urls["national-portal-sync"],
            )
        )
        world = World(running, {"gateway": running.app, **apps}, {"gateway": running.http, **http})
        await _dossiers(world, folder)
        await _signatures(world)
        await _portal(world)
        async with asyncio.timeout(30):
            while (await world.refused()) < len(CLIENTS):
                await asyncio.sleep(0.05)
        yield world


def _seeds() -> list[dict[str, Any]]:
    return [
        {
            "client_id": name,
            "secret": f"{SECRET}-{name}",
            "scopes": sorted(SCOPES),
            "agencies": list(agencies),
            "procedures": list(procedures),
        }
        for name, (agencies, procedures) in CLIENTS.items()
    ]


async def _dossiers(world: World, folder: Path) -> None:
    """Three dossiers, handed in by the client that has rights to one of them, or else by all."""
    other = ProcedurePublished(
        code=FOREIGN_PROCEDURE,
        name="Đăng ký biến động",
        field=Field(code=None, name="Đất đai"),
        version=1,
    )
    edition = EditionPublished(revision=2, name="second", procedures=2, agencies=3)
    await world.gateway.hear(other, edition)
    world.file = await Blobs(f"file://{folder / 'blobs'}").put(pdf("Giấy tờ"))
    await world.run_sql(
        "gateway",
        "INSERT INTO uploaded_file (client_id, sha256, size, media_type) "
        "VALUES ('right', :file, 1000, 'application/pdf')",
        file=world.file,
    )
    for code, (_, procedure) in _PLACES.items():
        sender = "right" if code == MINE else "everything"
        answer = await world.gateway.http.post(
            "/v1/dossiers",
            json=submission(code, procedure=procedure),
            headers=world.bearer(sender),
        )
        assert answer.status_code == 202, answer.text
        if code == MINE:
            world.submission = answer.json()["submission_id"]
    answer = await world.gateway.http.post(
        "/v1/dossiers/bulk",
        content=json.dumps(submission(dossier_code(60))).encode(),
        headers={
            **world.bearer("right"),
            "content-type": "application/x-ndjson",
            "idempotency-key": "bulk",
        },
    )
    assert answer.status_code == 200, answer.text
    world.bulk = answer.headers["location"].rpartition("/")[2]
    answer = await world.gateway.http.post(
        "/v1/uploads",
        json={"size": 100, "sha256": "1" * 64, "media_type": "application/pdf"},
        headers=world.bearer("right"),
    )
    assert answer.status_code == 201, answer.text
    world.upload = answer.json()["upload_id"]
    for client in CLIENTS:  # a refusal of each
        await world.gateway.http.get("/v1/personal-reads", headers=world.bearer(client, ()))
    (consumer,) = [
        one for one in world.apps["dossier"].state.core.consumers if one.name == "submissions"
    ]
    for told in await world.gateway.submissions():
        await consumer.take([envelope(told, 1, aggregate=told.dossier_code)])
    for code in _PLACES:  # so that auditors find something
        answer = await world.http["dossier"].get(
            f"/v1/dossiers/{code}",
            headers={**world.bearer("everything"), "x-purpose": "doi soat"},
        )
        assert answer.status_code == 200, answer.text
    answer = await world.http["dossier"].post(
        "/v1/imports",
        params={"id": str(world.imported)},
        content=b"\n",
        headers={**world.bearer("right"), "content-type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text


async def _signatures(world: World) -> None:
    """A request of each dossier, held for an operator so that no worker takes it up."""
    for code, (agency, procedure) in _PLACES.items():
        world.signing[code] = new_id()
        await world.run_sql(
            "signature-connector",
            "INSERT INTO signing_request (request_id, client, dossier_code, agency, procedure, "
            "document_id, document_name, file, ca_name, sealed_user, profile, created_at, state, "
            "evidence_count, evidence_head) VALUES (:id, 'dossier', :code, :agency, :procedure, "
            "'KQ1', 'Giấy chứng nhận', :file, 'VNPT-CA', '', 'pades-b-b', now(), 'manual-review', "
            "0, :nothing)",
            id=world.signing[code],
            code=code,
            agency=agency,
            procedure=procedure,
            file=world.file,
            nothing=bytes(32),
        )


async def _portal(world: World) -> None:
    """Questions, disclosures, a held item and a run of a reconciliation."""
    service = "national-portal-sync"
    sealing = gateway.settings("postgresql+asyncpg://-/-", Path("/"))
    ring = KeyRing(sealing.sealing_keys, "k1")
    for code, (agency, procedure) in _PLACES.items():
        await world.run_sql(
            service,
            "INSERT INTO portal_question (id, agency, dossier_code, procedure_code, sealed) "
            "VALUES (:id, :agency, :code, :procedure, :sealed)",
            id=f"HD-{code}",
            agency=agency,
            code=code,
            procedure=procedure,
            sealed=ring.seal({"content": "Bao giờ xong?"}, f"HD-{code}"),
        )
        await world.run_sql(
            service,
            "INSERT INTO disclosure (dossier, agency, procedure, account, version, fields, "
            "outcome) VALUES (:code, :agency, :procedure, 'tinh', 1, '{TenChuHoSo}', 'done')",
            code=code,
            agency=agency,
            procedure=procedure,
        )
        await world.run_sql(
            service,
            "INSERT INTO portal_dossier (code, agency, known) VALUES (:code, :agency, true)",
            code=code,
            agency=agency,
        )
    await world.run_sql(
        service,
        "INSERT INTO reconciliation (id, agency, day, asked_by, state, finished_at, sha256) "
        "VALUES (:id, :agency, '2026-11-01', 'test', 'done', now(), 'x')",
        id=world.run,
        agency=AGENCY,
    )
    await world.run_sql(
        service,
        "INSERT INTO delivery (partner, agency, subject, kind, key, body, state, error) VALUES "
        "('national-portal', :agency, :code, 'dossier', :code, '{}', 'held', 'refused')",
        agency=AGENCY,
        code=MINE,
    )


PERSON = {"identity": {"type": "citizen-id", "number": NUMBER}}
"""Whose dossiers they all are."""
