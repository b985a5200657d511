"""The six services in one process: embedded PostgreSQL, the local transport, one event loop.

Single node, not highly available: for trying out, developing, and small installations' rehearsals.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from fastapi import FastAPI
from opentelemetry.sdk.trace import SpanProcessor
from pydantic import SecretStr

import catalog.main
import dossier.main
import gateway.main
import metrics_exporter.main
import national_portal_sync.main
import signature_connector.main
from common.command import server
from common.database import Database
from common.parking import DatabaseHistory
from common.service import Shared
from common.settings import DatabaseSettings, ServerSettings
from common.transport.local import LocalTransport

MODULES = {
    "catalog": catalog.main,
    "dossier": dossier.main,
    "signature-connector": signature_connector.main,
    "national-portal-sync": national_portal_sync.main,
    "metrics-exporter": metrics_exporter.main,
    "gateway": gateway.main,
}
"""In the order in which they start: the door opens last."""


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _new_signing_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(frozen=True)
class Outside:
    """Addresses of the outside systems."""

    national_portal: str
    signing_gateway: str
    emc: str
    trust_roots: Path
    """Certificates that signatures must lead to (PEM)."""
    tsa: str = ""
    """The time-stamping authority, if there is one."""
    tsa_root: str = ""
    """Certificate that its timestamps must lead to (PEM)."""


@dataclass(frozen=True)
class Client:
    """A system that may call the gateway."""

    client_id: str
    secret: str
    scopes: tuple[str, ...]
    agencies: tuple[str, ...]
    procedures: tuple[str, ...] = ("*",)
    external: tuple[str, str] | None = None
    """Issuer and subject of the tokens by which another issuer names it."""


@dataclass(frozen=True)
class Issuer:
    """Another issuer whose tokens the gateway takes."""

    issuer: str
    jwks_url: str
    audience: str


@dataclass(frozen=True)
class Plan:
    """Where everything of one installation is.

    Attributes:
        databases: each service's database address (``postgresql+asyncpg://…``).
        ports: each service's HTTP port, the gateway's on ``host``, all others' on 127.0.0.1.
        amqp_url: the broker; None for the local transport.
        token_issuer: the name under which its gateway issues tokens.
    """

    folder: Path
    databases: Mapping[str, str]
    ports: Mapping[str, int]
    outside: Outside
    clients: tuple[Client, ...]
    amqp_url: str | None = None
    host: str = "127.0.0.1"
    token_issuer: str = "urn:lienthong:gateway"
    external_issuers: tuple[Issuer, ...] = ()
    usage_seconds: float = 5.0
    trace_share: float = 0.0
    sealing_key: str = field(default_factory=_new_key)
    index_key: str = field(default_factory=_new_key)
    link_key: str = field(default_factory=_new_key)
    pseudonym_key: str = field(default_factory=lambda: secrets.token_hex(32))
    signing_key: str = field(default_factory=_new_signing_key)
    service_secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def url(self, service: str) -> str:
        """Base address of a service."""
        return f"http://127.0.0.1:{self.ports[service]}"


def settings_of(plan: Plan, service: str) -> dict[str, Any]:
    """A service's settings by name, as its ``Settings`` class takes them."""
    common: dict[str, Any] = {
        "database_url": plan.databases[service],
        "amqp_url": plan.amqp_url,
        "host": "127.0.0.1",
        "port": plan.ports[service],
        "usage_seconds": plan.usage_seconds,
        "trace_share": plan.trace_share,
        "token_issuer": plan.token_issuer,
        "token_keys_url": f"{plan.url('gateway')}/.well-known/jwks.json",
        "revocations_url": f"{plan.url('gateway')}/oauth/revoked",
        "token_url": f"{plan.url('gateway')}/oauth/token",
        "client_id": service,
        "client_secret": plan.service_secret,
        "history_urls": {name: plan.url(name) for name in MODULES},
        "shutdown_seconds": 10.0,
    }
    if service in ("gateway", "dossier", "signature-connector", "national-portal-sync"):
        common |= {"sealing_keys": {"k1": plan.sealing_key}, "sealing_key": "k1"}
    if service in ("gateway", "national-portal-sync"):
        common |= {
            "public_url": plan.url("gateway"),
            "link_keys": {"k1": plan.link_key},
            "link_key": "k1",
        }
    return common | _OWN[service](plan)


def environment_of(plan: Plan, service: str) -> dict[str, str]:
    """The same settings as the environment of the service's own process."""
    prefix = service.upper().replace("-", "_") + "_"
    return {
        prefix + name.upper(): value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in settings_of(plan, service).items()
        if value is not None
    }


_OWN: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "catalog": lambda _: {},
    "dossier": lambda plan: {"index_keys": {"k1": plan.index_key}, "index_key": "k1"},
    "gateway": lambda plan: {
        "host": plan.host,
        "tsa_urls": [plan.outside.tsa] if plan.outside.tsa else [],
        "tsa_certificates": plan.outside.tsa_root,
        "external_issuers": [vars(one) for one in plan.external_issuers],
        "blobs_url": f"file://{plan.folder / 'blobs'}",
        "dossier_url": plan.url("dossier"),
        "catalog_url": plan.url("catalog"),
        "signature_url": plan.url("signature-connector"),
        "portal_sync_url": plan.url("national-portal-sync"),
        "signing_key": plan.signing_key,
        "clients": json.dumps([vars(client) for client in (*plan.clients, *_services(plan))]),
    },
    "signature-connector": lambda plan: {
        "blobs_url": f"file://{plan.folder / 'blobs'}",
        "esign_url": plan.outside.signing_gateway,
        "trust_roots": str(plan.outside.trust_roots),
        "user_seconds": 60.0,
    },
    "national-portal-sync": lambda plan: {
        "portal_url": plan.outside.national_portal,
        "portal_username": "backbone",
        "portal_password": "try-out",
        "portal_unit": "G22",
        "portal_dstcode": "VN:GOV:000.00.00.G22:dvcqg",
        "call_seconds": 10.0,
        "questions_seconds": plan.usage_seconds,
    },
    "metrics-exporter": lambda plan: {
        "emc_url": plan.outside.emc,
        "tracker_url": plan.outside.emc,
        "site_id": 1,
        "pseudonym_key": plan.pseudonym_key,
    },
}


def _services(plan: Plan) -> tuple[Client, ...]:
    """The services' own clients: they may ask each other for events they missed."""
    return tuple(Client(name, plan.service_secret, ("events:history",), ()) for name in MODULES)


@asynccontextmanager
async def running(plan: Plan, spans: SpanProcessor | None = None) -> AsyncIterator[None]:
    """Run all services on the local transport until the block ends."""
    async with AsyncExitStack() as stack:
        transport = LocalTransport(opened=False)
        databases: dict[str, Database] = {}
        for name, url in plan.databases.items():
            settings = DatabaseSettings(database_url=SecretStr(url), database_pool=2)
            databases[name] = Database(settings, name=f"{name} history")
            stack.push_async_callback(databases[name].close)
        shared = Shared(transport=transport, history=DatabaseHistory(databases), spans=spans)
        stack.push_async_callback(transport.close)
        stack.push_async_callback(transport.stop_consuming)
        for name, module in MODULES.items():
            settings = module.Settings(**settings_of(plan, name))
            await stack.enter_async_context(serving(module.create_app(settings, shared), settings))
        transport.open()
        yield


@asynccontextmanager
async def serving(app: FastAPI, settings: ServerSettings) -> AsyncIterator[None]:
    """Serve an application beside others until the block ends.

    Raises:
        RuntimeError: it did not start, for example since its port is taken.
    """
    served = server(app, settings)
    # Several servers share this process: its signals are the caller's business.
    served.capture_signals = nullcontext  # type: ignore[method-assign, assignment]

    async def serve() -> None:
        try:
            await served.serve()
        except SystemExit:
            # Where a start fails the server ends the process. Out of a task that takes the event
            # loop away from the other services, which then never end.
            pass

    task = asyncio.create_task(serve(), name=app.title)
    while not served.started:
        if task.done():
            await task
            raise RuntimeError(f"{app.title} did not start: its log says why")
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        served.should_exit = True
        await task
