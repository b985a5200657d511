"""The catalogue with a few agencies, portals around it, and clients with rights."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr
from sqlalchemy import text

from catalog.main import create_app
from catalog.settings import Settings
from common.auth import TokenKeys
from common.contracts.exchange import ExchangeObserved
from common.database import Database, migrate
from common.envelope import Draft, encode
from common.identifiers import new_id
from common.service import Core, Shared
from common.transport.local import LocalTransport
from tests.support.databases import Databases
from tests.support.portals import Names

AGENCY, OTHER, CLOSED, UNKNOWN = "H56", "H10", "H47", "H99"
HOST, ENGLISH = "dichvucong.thanhhoa.gov.vn", "e-services.thanhhoa.gov.vn"
KEY = ec.generate_private_key(ec.SECP256R1())
PORTAL = {"kind": "portal-vi", "host": HOST}


async def _prepared(url: str) -> None:
    database = Database(Settings(database_url=SecretStr(url)), name="catalog")
    await migrate(database, "catalog")
    async with database.transaction() as connection:
        await connection.execute(
            text("INSERT INTO loaded_data (revision, version) VALUES (1000000, 'of a test')")
        )
        for code in (AGENCY, OTHER, CLOSED, "H56.7"):
            await connection.execute(
                text(
                    "INSERT INTO agency (code, version, digest, active, body) "
                    "VALUES (:code, 1, '', :active, :body)"
                ),
                {
                    "code": code,
                    "active": code != CLOSED,
                    "body": orjson.dumps({"code": code, "name": f"Cơ quan {code}"}).decode(),
                },
            )
    await database.close()


async def catalogue_database(databases: Databases) -> str:
    """The address of a fresh database with a few agencies and no procedures."""
    return await databases.create(
        "catalog", template=await databases.template("catalog_channels", _prepared)
    )


@dataclass
class Catalogue:
    """The service, its agencies' DNS, and calls to it."""

    app: FastAPI
    http: httpx.AsyncClient
    names: Names

    @property
    def core(self) -> Core:
        core: Core = self.app.state.core
        return core

    def bearer(self, scope: str = "channels:write", *agencies: str) -> dict[str, str]:
        now = int(time.time())
        claims = {
            "iss": "urn:lienthong:gateway",
            "aud": "urn:lienthong:backbone",
            "iat": now,
            "exp": now + 24 * 3600,
            "client_id": "one-stop",
            "scope": scope,
            "agencies": list(agencies or (AGENCY,)),
            "procedures": ["*"],
        }
        token = jwt.encode(claims, KEY, "ES256", headers={"kid": "k"})
        return {"Authorization": f"Bearer {token}"}

    async def put(
        self, path: str, body: Any, *agencies: str, scope: str = "channels:write"
    ) -> httpx.Response:
        """PUT with these rights."""
        return await self.http.put(path, json=body, headers=self.bearer(scope, *agencies))

    async def register(
        self, id_: str = "vi", channel: Any = None, agency: str = AGENCY
    ) -> httpx.Response:
        """Register a channel as the agency's own client."""
        return await self.put(
            f"/v1/agencies/{agency}/channels/{id_}", PORTAL if channel is None else channel, agency
        )

    async def report(self, agency: str = AGENCY, **query: Any) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/conformance/{agency}", params=query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def part(self, id_: str, agency: str = AGENCY) -> dict[str, Any]:
        """One part of an agency's report."""
        report = await self.report(agency)
        return next(one for point in report["points"] for one in point["parts"] if one["id"] == id_)

    async def checked(self, count: int, seconds: float = 20.0) -> None:
        """Wait until so many findings are written."""
        async with asyncio.timeout(seconds):
            while len(await self.rows("SELECT 1 FROM channel_check")) < count:
                await asyncio.sleep(0.02)

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.core.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def run(self, statement: str, **values: Any) -> None:
        async with self.core.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def hear(self, *bodies: bytes) -> None:
        """Let its consumer take events, as the transport would."""
        (consumer,) = [one for one in self.core.consumers if one.name == "exchanges"]
        await consumer.take(bodies)


def observed(
    system: str = "national-portal",
    agency: str = AGENCY,
    *,
    at: datetime | None = None,
    succeeded: int = 1,
    failed: int = 0,
) -> bytes:
    """What a service tells of an interval."""
    moment = at or datetime.now(UTC)
    event = ExchangeObserved(
        system=system,
        agency=agency,
        succeeded=succeeded,
        failed=failed,
        last_success_at=moment if succeeded else None,
        started_at=moment,
        ended_at=moment,
    )
    draft = Draft(new_id(), event, agency, agency, None, None, str(new_id()), None)
    return encode(draft, producer="national-portal-sync", epoch=1, sequence=None)


async def _jwks() -> dict[str, Any]:
    return {"keys": [{**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}]}


@asynccontextmanager
async def running_catalogue(
    url: str, names: Names | None = None, keys: TokenKeys | None = None, **changed: Any
) -> AsyncIterator[Catalogue]:
    """The service. Keyword arguments are settings; keys: whose tokens it takes."""
    given: dict[str, Any] = {"usage_seconds": 3600, "shutdown_seconds": 2, "probe_seconds": 3}
    settings = Settings(database_url=SecretStr(url), **{**given, **changed})
    shared = Shared(transport=LocalTransport(), token_keys=keys or TokenKeys(_jwks))
    resolver = names or Names()
    app = create_app(settings, shared, resolver)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://catalog") as http,
    ):
        yield Catalogue(app, http, resolver)
