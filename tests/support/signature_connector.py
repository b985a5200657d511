"""The signature connector at work: a real database, a signing gateway in a process of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from common.auth import TokenKeys
from common.blobs import Blobs
from common.contracts.commands import SigningWish
from common.contracts.dossier import SigningRequested
from common.database import Database, migrate
from common.envelope import Draft, Received, decode, encode
from common.http import http_client
from common.identifiers import new_id
from common.outbox import Outbox
from common.sealing import KeyRing
from common.service import Core, Shared
from common.transport.base import Message, Queue
from common.transport.local import LocalTransport
from signature_connector.main import create_app
from signature_connector.providers.esign import EsignGateway
from signature_connector.settings import Settings
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.providers import Always
from signature_connector.use_cases.steps import Steps
from signature_connector.verification.bundle import read_bundle
from signature_connector.verification.isolation import Examiner
from tests.support.databases import Databases
from tests.support.signing import pdf
from tests.support.signing_services import SigningGateway

AGENCY, OTHER_AGENCY = "H56.14", "H10.15"
DOSSIER = f"{AGENCY}-261102-0001"
USER, NAME = "001099000001", "Nguyễn Thị Bưởi"
SEALING = {"k1": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}
KEYS = KeyRing({"k1": SecretStr(SEALING["k1"])}, "k1")
_TOKEN_KEY = ec.generate_private_key(ec.SECP256R1())
_KEY_ID = "test"


async def _prepared(url: str) -> None:
    database = Database(Settings.model_construct(database_url=SecretStr(url)), name="signature")
    try:
        await migrate(database, "signature_connector")
    finally:
        await database.close()


async def connector_database(databases: Databases) -> str:
    """The address of a fresh, migrated database."""
    template = await databases.template("signature", _prepared)
    return await databases.create("signature", template=template)


def settings(url: str, folder: Path, gateway: SigningGateway, **changed: Any) -> Settings:
    """Settings for tests: short waits, one verifying process."""
    given: dict[str, Any] = {
        "database_url": url,
        "blobs_url": f"file://{folder / 'blobs'}",
        "esign_url": gateway.url,
        "trust_roots": gateway.root,
        "sealing_keys": SEALING,
        "sealing_key": "k1",
        "usage_seconds": 3600.0,
        "user_seconds": 10.0,
        "call_seconds": 5.0,
        "lease_seconds": 1.5,
        "verifiers": 1,
        "shutdown_seconds": 0.5,
    }
    return Settings(**{**given, **changed})


def token(
    *scopes: str,
    agencies: tuple[str, ...] = ("H56",),
    procedures: tuple[str, ...] = ("*",),
    client: str = "one-stop",
) -> str:
    """An access token as the gateway issues them."""
    now = int(time.time())
    return jwt.encode(
        {
            "iss": "urn:lienthong:gateway",
            "aud": "urn:lienthong:backbone",
            "iat": now,
            "exp": now + 24 * 3600,
            "client_id": client,
            "scope": " ".join(scopes),
            "agencies": list(agencies),
            "procedures": list(procedures),
        },
        _TOKEN_KEY,
        algorithm="ES256",
        headers={"kid": _KEY_ID},
    )


def _token_keys() -> TokenKeys:
    public = jwt.algorithms.ECAlgorithm.to_jwk(_TOKEN_KEY.public_key(), as_dict=True)

    async def fetch() -> dict[str, Any]:
        return {"keys": [{**public, "kid": _KEY_ID, "alg": "ES256", "use": "sig"}]}

    return TokenKeys(fetch)


def requested(file: str, request_id: UUID | None = None, **changed: Any) -> SigningRequested:
    """The event by which dossier asks for a signature."""
    dossier = changed.pop("dossier_code", DOSSIER)
    given: dict[str, Any] = {
        "request_id": request_id or new_id(),
        "dossier_code": dossier,
        "agency": AGENCY,
        "document_id": "KQ1",
        "document_name": "Giấy chứng nhận",
        "file": file,
        "signer": SigningWish(
            sealed_user=KEYS.seal(changed.pop("user", USER), dossier),
            ca_name=changed.pop("ca_name", "VNPT-CA"),
        ),
    }
    return SigningRequested(**{**given, **changed})


def enveloped(event: SigningRequested, event_id: UUID | None = None) -> Message:
    """The event as the broker carries it."""
    identifier = event_id or new_id()
    draft = Draft(
        id=identifier,
        event=event,
        aggregate=event.dossier_code,
        agency=event.agency,
        subject=event.dossier_code,
        traceparent=None,
        correlation="correlation-of-the-test",
        causation=None,
    )
    body = encode(draft, producer="dossier", epoch=1, sequence=None)
    return Message(event.TYPE, str(identifier), body)


@dataclass
class Connector:
    """A running signature connector, its surroundings, and what it told."""

    app: FastAPI
    http: httpx.AsyncClient
    core: Core
    blobs: Blobs
    transport: LocalTransport
    told: list[Received] = field(default_factory=list)

    async def document(self, line: str = "Ket qua") -> str:
        """A document in the file store; its digest."""
        return await self.blobs.put(await asyncio.to_thread(pdf, f"{line} {new_id()}"))

    async def ask(self, *events: SigningRequested) -> None:
        """Let the events come in."""
        assert all(await self.transport.publish([enveloped(event) for event in events]))

    async def asked(self, **changed: Any) -> UUID:
        """A new document that is asked to be signed; the request's id."""
        event = requested(await self.document(), **changed)
        await self.ask(event)
        return event.request_id

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        """What a query finds."""
        async with self.core.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def row(self, request_id: UUID) -> Any:
        """The row of a request."""
        (row,) = await self.rows(
            "SELECT * FROM signing_request WHERE request_id = :id", id=request_id
        )
        return row

    async def until(self, request_id: UUID, *states: str, seconds: float = 60.0) -> Any:
        """Wait until a request is in one of these states; its row."""
        row = None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    row = await self.row(request_id)
                    if row.state in states:
                        return row
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"still {row.state if row else None}: {row}") from None

    async def facts(self, request_id: UUID, many: int = 1, seconds: float = 60.0) -> list[Received]:
        """What was told of a request, once it is as many events."""
        async with asyncio.timeout(seconds):
            while len(found := self.heard(request_id)) < many:
                await asyncio.sleep(0.02)
        return found

    def heard(self, request_id: UUID) -> list[Received]:
        """What was told of a request so far."""
        return [one for one in self.told if getattr(one.event, "request_id", None) == request_id]

    async def get(self, path: str, *scopes: str, **rights: Any) -> httpx.Response:
        """GET with these rights."""
        bearer = token(*scopes, **rights)
        return await self.http.get(path, headers={"Authorization": f"Bearer {bearer}"})

    async def post(self, body: Any, key: str | None = "key-1", **rights: Any) -> httpx.Response:
        """Ask by REST."""
        headers = {"Authorization": f"Bearer {token('signing:write', **rights)}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return await self.http.post("/v1/signing-requests", json=body, headers=headers)

    async def everything(self) -> str:
        """All rows of all tables, as text."""
        names = await self.rows(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        parts: list[str] = []
        for (name,) in names:
            for row in await self.rows(f'SELECT * FROM "{name}"'):
                parts.extend(
                    value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                    for value in row
                )
        return "\n".join(parts)


@asynccontextmanager
async def running_connector(
    configured: Settings, token_keys: TokenKeys | None = None
) -> AsyncIterator[Connector]:
    """The whole service, called without a socket; by tokens of the tests, or of a gateway."""
    transport = LocalTransport()
    shared = Shared(transport=transport, token_keys=token_keys or _token_keys())
    app = create_app(configured, shared)
    calls = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    told: list[Received] = []

    async def hear(bodies: Any) -> None:
        told.extend(decode(body) for body in bodies)

    async def well() -> None:
        pass

    transport.consume(Queue("test", "signatures", ("signature.#",)), hear, check=well, batch=100)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=calls, base_url="http://connector") as http,
    ):
        blobs = Blobs(configured.blobs_url)
        yield Connector(app, http, app.state.core, blobs, transport, told)


@dataclass
class Workshop:
    """Steps and book in the test's own hands, so that a worker can die at any point."""

    database: Database
    book: Book
    steps: Steps
    worker: UUID


@asynccontextmanager
async def workshop(configured: Settings) -> AsyncIterator[Workshop]:
    """What a worker works with, without a worker."""
    database = Database(configured, name="signature-connector")
    examiner = Examiner(
        read_bundle(configured.trust_roots), processes=1, seconds=20, memory=1 << 30
    )
    try:
        async with http_client(base_url=configured.esign_url or "") as http:
            esign = EsignGateway(
                http,
                token=None,
                call_seconds=5.0,
                user_seconds=configured.user_seconds,
                longest=configured.file_limit,
            )
            steps = Steps(
                Always((esign,)),
                Blobs(configured.blobs_url),
                examiner,
                KEYS,
                file_limit=configured.file_limit,
                patience=timedelta(hours=1),
            )
            book = Book(database, Outbox(database, "signature-connector"))
            yield Workshop(database, book, steps, new_id())
    finally:
        await examiner.close()
        await database.close()
