"""The gateway for tests: running on a real PostgreSQL, with a catalogue, clients and tokens."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import httpx
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from starlette.types import ASGIApp, Receive, Scope, Send

from common.contracts.base import Event
from common.contracts.catalog import (
    AgencyPublished,
    EditionPublished,
    Field,
    ProcedurePublished,
)
from common.contracts.dossier import SubmissionApplied, SubmissionRefused
from common.contracts.gateway import SubmissionReceived
from common.envelope import Draft, Received, decode, encode
from common.identifiers import new_id
from common.service import Core, Shared
from common.transport.base import Message, TransportDown
from common.transport.local import LocalTransport
from gateway.domain.clients import Client
from gateway.main import create_app
from gateway.settings import Settings
from gateway.use_cases.tokens import SigningKey, Tokens
from tests.support.databases import Databases

PROVINCE, AGENCY, OTHER = "H56", "H56.14", "H10.15"
PROCEDURE = "1.000016"
SECRET = "a-secret-of-the-one-stop-system"
NAME, NUMBER = "Nguyễn Thị Bưởi", "079199000123"
SCOPES = ("dossiers:write", "dossiers:read", "signing:read")
CLIENTS = (
    {"client_id": "one-stop", "secret": SECRET, "scopes": SCOPES, "agencies": [PROVINCE]},
    {"client_id": "other", "secret": SECRET + "-2", "scopes": SCOPES, "agencies": [PROVINCE]},
    {"client_id": "foreign", "secret": SECRET + "-3", "scopes": SCOPES, "agencies": [OTHER]},
    {"client_id": "reader", "secret": SECRET + "-4", "scopes": SCOPES[1:], "agencies": ["*"]},
    {
        "client_id": "retired",
        "secret": SECRET + "-5",
        "scopes": SCOPES,
        "agencies": ["*"],
        "active": False,
    },
)
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""


@cache
def signing_key() -> str:
    """One key for the whole test run: prepared databases go from one worker to another."""
    key = ec.derive_private_key(int.from_bytes(b"the key of tests"), ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def settings(url: str, folder: Path, **changed: Any) -> Settings:
    """Settings of a gateway with the clients above and nothing behind it."""
    given: dict[str, Any] = {
        "database_url": url,
        "blobs_url": f"file://{folder / 'blobs'}",
        "dossier_url": NOWHERE,
        "catalog_url": NOWHERE,
        "signature_url": NOWHERE,
        "signing_key": signing_key(),
        "clients": "[]",
        "sealing_keys": {"k1": base64.b64encode(b"k" * 32).decode()},
        "sealing_key": "k1",
        "usage_seconds": 3600.0,
        # Far above what any test or benchmark asks for.
        "rate_per_second": 1e6,
        "rate_burst": 1_000_000,
        "token_rate_burst": 100_000,
        "stranger_rate_burst": 100_000,
        "shutdown_seconds": 2.0,
    }
    return Settings(**{**given, **changed})


async def _prepared(url: str) -> None:
    """A database that has seen a gateway start: its schema, the clients and a small catalogue."""
    with TemporaryDirectory() as folder:
        async with running_gateway(url, Path(folder), clients=json.dumps(CLIENTS)) as gateway:
            await gateway.hear(*catalogue())


async def gateway_database(databases: Databases) -> str:
    """The address of a fresh database with the clients and the catalogue."""
    return await databases.create(
        "gateway", template=await databases.template("gateway", _prepared)
    )


def catalogue() -> list[Event]:
    """What the catalogue tells: some agencies and one procedure."""
    procedure = ProcedurePublished(
        code=PROCEDURE,
        name="Đăng ký thành lập doanh nghiệp",
        field=Field(code="G05-KH01", name="Thành lập và hoạt động của doanh nghiệp"),
        version=1,
    )
    agencies = [
        AgencyPublished(code=code, legacy_code=None, name=f"Cơ quan {code}", active=True, version=1)
        for code in (PROVINCE, AGENCY, OTHER)
    ]
    edition = EditionPublished(revision=1, name="first", procedures=1, agencies=len(agencies))
    return [procedure, *agencies, edition]


def dossier_code(number: int = 1, agency: str = AGENCY) -> str:
    """A dossier code of the day the tests play on."""
    return f"{agency}-261102-{number:04d}"


def submission(code: str | None = None, **changed: Any) -> dict[str, Any]:
    """The body of a submit with all that matters in it."""
    body: dict[str, Any] = {
        "code": code or dossier_code(),
        "procedure": PROCEDURE,
        "channel": "2",
        "applicant": {
            "kind": "1",
            "name": NAME,
            "identity": {"type": "citizen-id", "number": NUMBER},
            "email": "buoi@example.vn",
            "phone": "0903 123 456",
            "address": "12 Lê Lợi, Phường Bến Nghé",
        },
        "summary": "Đăng ký thành lập công ty TNHH một thành viên",
        "submitted_at": "2026-11-02T08:00:00+07:00",
        "documents": [{"id": "tl1", "name": "Giấy đề nghị", "component": "TP01"}],
        "fees": [{"code": "LP01", "name": "Lệ phí đăng ký", "amount": 50000}],
    }
    return {**deepcopy(body), **changed}


def step(kind: str = "receive", **fields: Any) -> dict[str, Any]:
    """The body of a step."""
    return {"kind": kind, "at": "2026-11-02T09:00:00+07:00", **fields}


class BrokerAway(LocalTransport):
    """A broker that cannot be reached."""

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        raise TransportDown("away")


@dataclass
class RunningGateway:
    """A gateway, who calls it, and what is in its database."""

    app: FastAPI
    http: httpx.AsyncClient
    core: Core

    def bearer(self, client_id: str = "one-stop", **changed: Any) -> dict[str, str]:
        """The Authorization header of a client, with other rights than registered if given.

        The gateway takes a token at its word only as far as its registry goes, so the client is
        given these rights there too, as long as the registry stays unchanged.
        """
        known = next(client for client in CLIENTS if client["client_id"] == client_id)
        registry = self.app.state.gateway.registry
        if changed and (client := registry.client(client_id)) is not None:
            registry.clients[client_id] = replace(
                client,
                scopes=(*client.scopes, *changed.get("scopes", ())),
                agencies=(*client.agencies, *changed.get("agencies", ())),
                procedures=(*client.procedures, *changed.get("procedures", ())),
            )
        token = sign(
            client_id=client_id,
            scope=" ".join(changed.get("scopes", known["scopes"])),
            agencies=list(changed.get("agencies", known["agencies"])),
            procedures=tuple(changed.get("procedures", known.get("procedures", ("*",)))),
        )
        return {"Authorization": f"Bearer {token}"}

    async def submit(
        self, body: Any = None, *, client: str = "one-stop", **headers: str
    ) -> httpx.Response:
        """POST a dossier; header names with underscores."""
        return await self._post(
            "/v1/dossiers", submission() if body is None else body, client, headers
        )

    async def take_step(
        self, body: Any, code: str | None = None, *, client: str = "one-stop", **headers: str
    ) -> httpx.Response:
        """POST a step of a dossier."""
        path = f"/v1/dossiers/{code or dossier_code()}/steps"
        return await self._post(path, body, client, {"idempotency_key": str(new_id()), **headers})

    async def _post(
        self, path: str, body: Any, client: str, headers: Mapping[str, str]
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        return await self.http.post(
            path,
            content=content,
            headers={"content-type": "application/json", **self.bearer(client), **named},
        )

    async def get(self, path: str, *, client: str = "one-stop", **query: Any) -> httpx.Response:
        """GET as a client."""
        return await self.http.get(path, params=query, headers=self.bearer(client))

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        """What a query finds."""
        async with self.core.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def told(self) -> list[Received]:
        """Every submission event told so far, in order."""
        rows = await self.rows(
            "SELECT body FROM event_log WHERE type = 'submission.received.v1' ORDER BY event_id"
        )
        return [decode(row.body) for row in rows]

    async def submissions(self) -> list[SubmissionReceived]:
        """What was told of submissions, in order."""
        events = [received.event for received in await self.told()]
        return [event for event in events if isinstance(event, SubmissionReceived)]

    async def hear(self, *events: Event) -> None:
        """Let the gateway's consumers take these events, as the transport would."""
        for consumer in self.core.consumers:
            wanted = [event for event in events if consumer.queue.wants(event.TYPE)]
            if wanted:
                await consumer.take([_sent(event) for event in wanted])

    async def apply(self, submission_id: str, **fields: Any) -> None:
        """The dossier service applies a submission."""
        await self.hear(
            SubmissionApplied(
                submission_id=UUID(submission_id),
                dossier_code=dossier_code(),
                agency=AGENCY,
                status="1",
                step_number=1,
                **fields,
            )
        )

    async def refuse(self, submission_id: str, slug: str = "dossier-exists", status: int = 409):
        """The dossier service refuses a submission."""
        problem = {
            "type": f"urn:lienthong:problem:{slug}",
            "title": "Từ chối",
            "title_en": "Refused",
            "status": status,
        }
        await self.hear(
            SubmissionRefused(
                submission_id=UUID(submission_id),
                dossier_code=dossier_code(),
                agency=AGENCY,
                problem=problem,
            )
        )


def _sent(event: Event) -> bytes:
    """The event on the wire; an ordered one in a stream of its own, as order is not at issue."""
    draft = Draft(new_id(), event, str(new_id()), "H56", None, None, str(new_id()), None)
    return encode(draft, producer=event.PRODUCER, epoch=1, sequence=1 if event.ORDERED else None)


def sign(
    *, client_id: str, scope: str, agencies: list[str], procedures: tuple[str, ...] = ("*",)
) -> str:
    """An access token as the gateway issues it."""
    tokens = Tokens(
        SigningKey(SecretStr(signing_key())),
        "urn:lienthong:gateway",
        "urn:lienthong:backbone",
        600,
    )
    client = Client(client_id, "", (), tuple(agencies), active=True, procedures=procedures)
    return tokens.issue(client, scope.split())


def passed_claims(request: httpx.Request) -> dict[str, Any]:
    """The claims of the token with which the gateway asked a service behind."""
    token = request.headers["authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(
        token,
        SigningKey(SecretStr(signing_key())).private.public_key(),
        algorithms=["ES256"],
        audience="urn:lienthong:backbone",
    )
    return claims


@asynccontextmanager
async def running_gateway(
    url: str,
    folder: Path,
    *,
    shared: Shared | None = None,
    **changed: Any,
) -> AsyncIterator[RunningGateway]:
    """A gateway, called without a socket. Keyword arguments are settings."""
    app = create_app(settings(url, folder, **changed), shared or Shared(transport=LocalTransport()))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as http,
    ):
        yield RunningGateway(app, http, app.state.core)


@dataclass
class Upstream:
    """A service behind the gateway that answers what it is told to, and remembers the requests."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b'{"code":"known"}'
    delay: float = 0.0
    """Seconds before the answer."""
    trickle: float = 0.0
    """Seconds after each byte of it."""
    asked: list[httpx.Request] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request (ASGI)."""
        query = scope["query_string"].decode()
        url = self.url + scope["raw_path"].decode() + (f"?{query}" if query else "")
        self.asked.append(httpx.Request(scope["method"], url, headers=scope["headers"]))
        await asyncio.sleep(self.delay)
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for byte in self.body if self.trickle else b"":
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await asyncio.sleep(self.trickle)
        await send({"type": "http.response.body", "body": b"" if self.trickle else self.body})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Upstream"]:
        """Listen on a port of 127.0.0.1 until the block ends."""
        async with listening(self) as self.url:
            yield self


@asynccontextmanager
async def listening(app: ASGIApp, at: socket.socket | None = None) -> AsyncIterator[str]:
    """The address of an application that is served on a port of 127.0.0.1 until the block ends.

    at: a socket that listens already, and stays open; a new one unless given.
    """
    config = uvicorn.Config(
        app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    served = uvicorn.Server(config)
    served.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(served.serve([at.dup()] if at else None))
    try:
        while not served.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{served.servers[0].sockets[0].getsockname()[1]}"
    finally:
        served.should_exit = True
        await task
