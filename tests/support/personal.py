"""The dossier service over HTTP, with keys, people and tokens of the tests' own."""

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.sdk.trace import SpanProcessor
from pydantic import SecretStr
from sqlalchemy import text

from common.auth import TokenKeys
from common.sealing import KeyRing
from common.service import Shared
from common.transport.local import LocalTransport
from dossier.main import create_app
from dossier.settings import Settings
from tests.support.dossiers import AGENCY, command, envelope, submission

_KEY = ec.generate_private_key(ec.SECP256R1())
READ, PERSONAL, SEARCH = "dossiers:read", "dossiers:personal", "dossiers:search"
WHY = {"X-Purpose": "Xac minh ho so"}


def secret(letter: str) -> SecretStr:
    """A key of 32 equal bytes."""
    return SecretStr(base64.b64encode(letter.encode() * 32).decode())


SEALING = {"k1": secret("k"), "k2": secret("z")}
INDEX = {"i1": secret("a"), "i2": secret("b")}
RING = KeyRing(SEALING, "k1")
PERSON: dict[str, Any] = {
    "name": "Nguyễn Thị Ánh",
    "identity": {"type": "citizen-id", "number": "012345678901"},
    "phone": "0912345678",
    "email": "anh@example.vn",
    "address": "Số 1, phố A",
}


async def _jwks() -> dict[str, Any]:
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(_KEY.public_key()))
    return {"keys": [{**public, "kid": "t1", "use": "sig", "alg": "ES256"}]}


def bearer(
    *scopes: str,
    agencies: tuple[str, ...] = (AGENCY,),
    procedures: tuple[str, ...] = ("*",),
    client: str = "one-stop",
) -> Any:
    """The header of a token with these rights."""
    now = int(time.time())
    said = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": now,
        "exp": now + 24 * 3600,
        "jti": "1",
        "client_id": client,
        "scope": " ".join(scopes),
        "agencies": list(agencies),
        "procedures": list(procedures),
    }
    return {"Authorization": f"Bearer {jwt.encode(said, _KEY, 'ES256', headers={'kid': 't1'})}"}


class DossierHttp(httpx.AsyncClient):
    """A client of a running dossier service, whose database and consumers can be reached."""

    app: Any

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        """What a query finds in the service's database."""
        async with self.app.state.core.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def execute(self, statement: str, **values: Any) -> None:
        """Change something in the service's database."""
        async with self.app.state.core.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def take(
        self, dossier: str, *commands: Any, agency: str = AGENCY, first: int = 1
    ) -> None:
        """Hand commands of one dossier to the service, as the gateway would."""
        consumers = self.app.state.core.consumers
        (consumer,) = [one for one in consumers if one.name == "submissions"]
        bodies = [
            envelope(submission(dossier, one, agency=agency), number, aggregate=dossier)
            for number, one in enumerate(commands, first)
        ]
        await consumer.take(bodies)

    async def submit(
        self,
        dossier: str,
        *,
        person: Any = PERSON,
        ring: KeyRing = RING,
        agency: str = AGENCY,
        **fields: Any,
    ) -> None:
        """Hand in a dossier of a person."""
        sealed = ring.seal(person, dossier)
        await self.take(dossier, command("submit", sealed=sealed, **fields), agency=agency)


@asynccontextmanager
async def dossier_http(
    url: str, *, spans: SpanProcessor | None = None, **settings: Any
) -> AsyncIterator[DossierHttp]:
    """The whole service on a database."""
    given = {"sealing_keys": SEALING, "index_keys": INDEX, "index_key": "i1", **settings}
    made = Settings(database_url=SecretStr(url), **given)
    shared = Shared(transport=LocalTransport(), token_keys=TokenKeys(_jwks), spans=spans)
    app = create_app(made, shared)
    async with (
        app.router.lifespan_context(app),
        DossierHttp(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://dossier",
        ) as http,
    ):
        http.app = app
        yield http
