"""A gateway and the dossier service behind it, in one process: what a client sees of both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from common.service import Shared
from common.transport.local import LocalTransport
from dossier.main import create_app
from dossier.settings import Settings
from gateway.use_cases.tokens import SigningKey
from tests.support.databases import Databases
from tests.support.dossier_service import dossier_database
from tests.support.gateway import (
    RunningGateway,
    gateway_database,
    listening,
    running_gateway,
    settings,
    signing_key,
)


@dataclass
class Flow:
    """Clients' view; each call waits for its outcome."""

    gateway: RunningGateway

    async def submit(self, body: Any, *, client: str = "one-stop", **headers: str) -> Any:
        """Hand a dossier in."""
        return await self.gateway.submit(body, client=client, prefer="wait=20", **headers)

    async def take(self, code: str, body: Any, *, client: str = "one-stop") -> httpx.Response:
        """Take a step."""
        return await self.gateway.take_step(body, code, client=client, prefer="wait=20")

    async def read(self, code: str, *, client: str = "one-stop") -> Any:
        """The dossier."""
        answer = await self.gateway.get(f"/v1/dossiers/{code}", client=client)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def history(self, code: str, *, client: str = "one-stop") -> list[Any]:
        """The dossier's steps."""
        answer = await self.gateway.get(f"/v1/dossiers/{code}/steps", client=client)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


@asynccontextmanager
async def running_flow(databases: Databases, folder: Path) -> AsyncIterator[Flow]:
    """Both services up, with databases of their own."""
    transport = LocalTransport(opened=False)
    keys = SigningKey(SecretStr(signing_key())).token_keys()
    gateway_url = await gateway_database(databases)
    sealing = settings(gateway_url, folder)
    app = create_app(
        Settings(
            database_url=SecretStr(await dossier_database(databases)),
            sealing_keys=sealing.sealing_keys,
            shutdown_seconds=2.0,
        ),
        Shared(transport=transport, token_keys=keys),
    )
    async with (
        app.router.lifespan_context(app),
        listening(app) as url,
        running_gateway(
            gateway_url, folder, shared=Shared(transport=transport), dossier_url=url
        ) as gateway,
    ):
        transport.open()
        yield Flow(gateway)
