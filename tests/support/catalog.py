"""The catalogue for tests: running, with a listener, and by hand on a database."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from catalog.domain.catalogue import Agency, CodeItem, CodeList, FieldOfWork, Procedure, Promulgator
from catalog.main import create_app
from catalog.settings import Settings
from catalog.use_cases.loading import Package
from common.auth import TokenKeys
from common.contracts.catalog import EditionPublished
from common.database import Database, migrate
from common.envelope import Received, decode
from common.outbox import Outbox
from common.service import Core, Shared
from common.transport.base import Queue
from common.transport.local import LocalTransport
from tests.support.databases import Databases

_KEY = ec.generate_private_key(ec.SECP256R1())


def token_keys() -> TokenKeys:
    """The keys that the service checks tokens with."""
    public = ECAlgorithm.to_jwk(_KEY.public_key(), as_dict=True)

    async def fetch() -> dict[str, Any]:
        return {"keys": [{**public, "kid": "k", "alg": "ES256", "use": "sig"}]}

    return TokenKeys(fetch)


def operator(*agencies: str, scope: str = "operations") -> dict[str, str]:
    """The Authorization header of an operator, of all agencies unless some are given."""
    now = int(time.time())
    claims = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": now,
        "exp": now + 24 * 3600,
        "client_id": "operator",
        "scope": scope,
        "agencies": list(agencies or ("*",)),
        "procedures": ["*"],
    }
    return {"Authorization": f"Bearer {jwt.encode(claims, _KEY, 'ES256', headers={'kid': 'k'})}"}


class Listener:
    """Another service's queue of the catalogue's events."""

    def __init__(self) -> None:
        self.transport = LocalTransport()
        self.events: list[Received] = []
        queue = Queue("listener", "catalog", ("catalog.#",))
        self.transport.consume(queue, self._take, check=self._fine, batch=500)

    async def _take(self, bodies: Sequence[bytes]) -> None:
        self.events += [decode(body) for body in bodies]

    async def _fine(self) -> None:
        pass

    def heard(self) -> list[Any]:
        """Of procedures and agencies."""
        return [told.event for told in self.events if not isinstance(told.event, EditionPublished)]

    def editions(self) -> list[EditionPublished]:
        return [told.event for told in self.events if isinstance(told.event, EditionPublished)]


@asynccontextmanager
async def running(url: str, listener: Listener, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The service, started and with its data loaded. Keyword arguments are settings."""
    settings = Settings(database_url=url, usage_seconds=3600, _env_file=None, **changed)
    app = create_app(settings, Shared(transport=listener.transport, token_keys=token_keys()))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://catalog"
        ) as client,
    ):
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)
        yield client


async def _prepared(url: str) -> None:
    async with running(url, Listener()):
        pass  # it ends when all that it loaded is told


async def loaded_database(databases: Databases) -> str:
    """The address of a fresh database of a service that has loaded its data and told it."""
    template = await databases.template("catalog", _prepared)
    return await databases.create("catalog", template=template)


def core_of(client: httpx.AsyncClient) -> Core:
    """The core of the service that the client calls."""
    transport: Any = client._transport
    core: Core = transport.app.state.core
    return core


async def published(outbox: Outbox, listener: Listener) -> list[Any]:
    """What is told after everything that waits was published."""
    before = len(listener.heard())
    while await outbox.publish_once(listener.transport):
        pass
    return listener.heard()[before:]


@asynccontextmanager
async def database_of(url: str) -> AsyncIterator[tuple[Database, Outbox]]:
    database = Database(Settings(database_url=url), name="catalog")
    try:
        await migrate(database, "catalog")
        yield database, Outbox(database, "catalog")
    finally:
        await database.close()


def a_procedure(code: str, name: str = "Cấp phép xây dựng", **changed: Any) -> Procedure:
    known: dict[str, Any] = {
        "field": FieldOfWork(code="G17-XD01", name="Xây dựng"),
        "promulgator": Promulgator(code="G17", name="Bộ Xây dựng"),
    }
    return Procedure(code=code, name=name, **{**known, **changed})


def a_package(revision: int, *procedures: Procedure, agencies: Sequence[Agency] = ()) -> Package:
    lists = CodeList(
        id="channel",
        title="Kênh",
        version="1",
        basis="law",
        confidence="high",
        items=(CodeItem(code="1", name="Trực tiếp"),),
    )
    return Package(revision, f"r{revision}", procedures, agencies, (lists,))


H56 = Agency(
    code="H56", legacy_code="000.00.00.H56", kind="province", name="UBND", confidence="high"
)
