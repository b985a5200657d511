"""The connector's workers alone, before a provider that takes orders and answers later."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text

from common.database import Database
from common.identifiers import new_id
from common.outbox import Outbox
from common.settings import DatabaseSettings
from signature_connector.domain.evidence import first_break
from signature_connector.domain.requests import Request
from signature_connector.store import requests as store
from signature_connector.use_cases.requests import take_in
from tests.support.databases import Databases
from tests.support.later_signers import Running
from tests.support.signature_connector import AGENCY, KEYS, USER, connector_database
from tests.support.signing import pdf
from tests.support.signing_worker import assembled


@dataclass
class Bench:
    """A database, a file store, a provider; workers are started as they are needed."""

    url: str
    folder: Path
    provider: Running
    database: Database

    def told(self, **more: Any) -> dict[str, Any]:
        return {
            "url": self.url,
            "provider": self.provider.url,
            "roots": str(self.provider.root),
            "blobs": f"file://{self.folder / 'blobs'}",
            **more,
        }

    async def asked(self, **changed: Any) -> UUID:
        content = await asyncio.to_thread(pdf, f"{new_id()}")
        digest = sha256(content).hexdigest()
        place = self.folder / "blobs" / digest[:2] / digest
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        request_id = new_id()
        given: dict[str, Any] = {
            "request_id": request_id,
            "client": "one-stop",
            "dossier_code": None,
            "agency": AGENCY,
            "document_id": "KQ1",
            "document_name": "Giấy phép",
            "file": digest,
            "ca_name": "VNPT-CA",
            "sealed_user": KEYS.seal(USER, str(request_id)),
            "created_at": datetime.now(UTC),
            "waits": False,
        }
        async with Outbox(self.database, "signature-connector").transaction() as unit:
            await take_in(unit, KEYS, [Request(**{**given, **changed})])
        return request_id

    async def request(self, request_id: UUID) -> Request:
        async with self.database.reading() as connection:
            return (await store.find(connection, [request_id]))[request_id]

    async def until(self, request_id: UUID, *states: str, seconds: float = 100.0) -> Request:
        async with asyncio.timeout(seconds):
            while (found := await self.request(request_id)).state not in states:
                await asyncio.sleep(0.05)
        return found

    async def run_sql(self, statement: str, **values: Any) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), values)

    async def records(self, request_id: UUID) -> list[dict[str, Any]]:
        """The evidence, after its chain was found whole."""
        request = await self.request(request_id)
        async with self.database.reading() as connection:
            records = await store.evidence_of(connection, request_id)
        assert first_break(records, request.evidence_count, request.evidence_head) is None
        return [json.loads(one.body) for one in records]

    async def facts(self) -> list[str]:
        """Types of the facts that were told, in their order."""
        async with self.database.reading() as connection:
            rows = await connection.execute(text("SELECT type FROM event_log ORDER BY event_id"))
            return [one.type for one in rows if one.type.startswith("signature.")]

    @asynccontextmanager
    async def workers(self, **more: Any) -> AsyncIterator[Any]:
        """Workers in this process."""
        made = assembled(self.told(**more), self.database)
        tasks = [asyncio.create_task(run) for run in made.runs]
        try:
            yield made.workers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await made.close()


@asynccontextmanager
async def bench_of(databases: Databases, folder: Path, provider: Running) -> AsyncIterator[Bench]:
    """A bench whose provider has no orders yet."""
    provider.reset()
    url = await connector_database(databases)
    database = Database(DatabaseSettings(database_url=SecretStr(url)), name="test")
    yield Bench(url, folder, provider, database)
    await database.close()
