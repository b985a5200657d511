"""The dossier service's consumers on a database of their own, without an application around."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from common.database import Database, migrate
from common.envelope import Received, decode
from common.inbox import Consumer
from common.outbox import Outbox
from common.telemetry import Telemetry
from dossier import consumers
from dossier.domain import calendar, table
from dossier.domain.deadlines import Deadlines
from dossier.settings import Settings
from dossier.use_cases.submissions import Demands
from tests.support.databases import Databases


@dataclass
class DossierService:
    """What takes events, and what became of them."""

    database: Database
    submissions: Consumer
    signatures: Consumer

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        """What a query finds."""
        async with self.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def told(self) -> list[Received]:
        """Every event told so far, in the order it was written."""
        rows = await self.rows(
            "SELECT body FROM event_log JOIN outbox USING (event_id) ORDER BY outbox.id"
        )
        return [decode(row.body) for row in rows]

    async def contents(self) -> dict[str, list[Any]]:
        """Everything in the tables that a batch may write, to see whether one changed anything."""
        tables = ("dossier", "dossier_step", "event_log", "outbox", "outbox_stream", "position")
        return {
            name: await self.rows(f"TABLE {name} ORDER BY 1, 2") for name in (*tables, "parked")
        }


async def prepared(url: str) -> None:
    """Bring an empty database to the service's newest schema."""
    database = Database(Settings(database_url=SecretStr(url)), name="dossier")
    try:
        await migrate(database, "dossier")
    finally:
        await database.close()


async def dossier_database(databases: Databases) -> str:
    """The address of a fresh database of the dossier service."""
    return await databases.create("dossier", template=await databases.template("dossier", prepared))


@asynccontextmanager
async def dossier_service(
    url: str, deadlines: Deadlines | None = None, demands: Demands | None = None
) -> AsyncIterator[DossierService]:
    """Both consumers of the service on a migrated database."""
    settings = Settings(database_url=SecretStr(url))
    database = Database(settings, name="dossier")
    telemetry = Telemetry("dossier", settings)
    outbox = Outbox(database, "dossier")
    made = [
        Consumer("dossier", subscription, outbox, telemetry)
        for subscription in consumers.subscriptions(
            table.load(), deadlines or Deadlines(calendar.load()), demands=demands
        )
    ]
    by_purpose = {consumer.name: consumer for consumer in made}
    try:
        yield DossierService(database, by_purpose["submissions"], by_purpose["signatures"])
    finally:
        telemetry.close()
        await database.close()
