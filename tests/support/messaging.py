"""What tests of the plumbing share: databases with its tables, events, and a use case that notes
what took effect."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from alembic.migration import MigrationContext
from alembic.operations import Operations
from pydantic import SecretStr
from sqlalchemy import Connection, text

from common.contracts.base import Event
from common.contracts.catalog import AgencyPublished
from common.contracts.commands import SigningWish
from common.contracts.dossier import SigningRequested
from common.database import Database, ensure_partitions
from common.envelope import Draft, Received, encode
from common.identifiers import new_id
from common.outbox import Unit
from common.settings import DatabaseSettings, TelemetrySettings
from common.tables import create_delivery, create_messaging, index_delivery
from common.telemetry import Telemetry
from tests.support.databases import Databases


class Opened:
    """Databases with the plumbing's tables; closed together."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._opened: list[Database] = []

    async def __call__(self, label: str = "db", *, pool: int = 8) -> Database:
        """A fresh database."""
        name = await self._databases.template("plumbing", _prepare)
        return self.again(await self._databases.create(label, template=name), pool=pool)

    def again(self, url: str, *, pool: int = 8) -> Database:
        """A second pool of the same database, as another process would have."""
        database = connect(url, pool=pool)
        self._opened.append(database)
        return database

    async def close(self) -> None:
        """Close every pool."""
        for database in self._opened:
            await database.close()


def connect(url: str, *, pool: int = 8) -> Database:
    """A pool of connections to an address that a test was given."""
    return Database(DatabaseSettings(database_url=SecretStr(url), database_pool=pool), name="test")


def address(database: Database) -> str:
    """The address of a database, with its password."""
    return database.engine.url.render_as_string(hide_password=False)


async def _prepare(url: str) -> None:
    database = connect(url)

    def create(connection: Connection) -> None:
        operations = Operations(MigrationContext.configure(connection))
        create_messaging(operations)
        create_delivery(operations)
        index_delivery(operations)
        operations.execute(
            "CREATE TABLE effect (number bigint GENERATED ALWAYS AS IDENTITY, consumer text, "
            "event_id uuid, stream text, sequence bigint, code text)"
        )

    async with database.engine.begin() as connection:
        await connection.run_sync(create)
    await ensure_partitions(database)
    await database.close()


def telemetry(service: str = "test") -> Telemetry:
    """Telemetry that sends nothing anywhere."""
    return Telemetry(service, TelemetrySettings())


def ordered(code: str = "H01", version: int = 1) -> AgencyPublished:
    """An event that is numbered within its stream."""
    return AgencyPublished(
        code=code, legacy_code=None, name="Sở Nội vụ", active=True, version=version
    )


def alone(code: str = "H01") -> SigningRequested:
    """An event that stands on its own."""
    return SigningRequested(
        request_id=new_id(),
        dossier_code=code,
        agency="H01",
        document_id="1",
        document_name="Kết quả",
        file="0" * 64,
        signer=SigningWish(sealed_user="v1.k.x", ca_name="VNPT-CA"),
    )


def envelope(
    event: Event,
    aggregate: str = "a",
    sequence: int | None = None,
    *,
    producer: str = "catalog",
    epoch: int = 1,
    id_: UUID | None = None,
    traceparent: str | None = None,
) -> bytes:
    """An event's bytes, as its producer would write them."""
    identifier = id_ or new_id()
    draft = Draft(
        id=identifier,
        event=event,
        aggregate=aggregate,
        agency="H01",
        subject=None,
        traceparent=traceparent,
        correlation=str(identifier),
        causation=None,
    )
    return encode(draft, producer=producer, epoch=epoch, sequence=sequence)


Effect = Callable[[Unit, Sequence[Received]], Awaitable[None]]


def noting(consumer: str, trouble: Callable[[Received], None] = lambda _: None) -> Effect:
    """A use case that notes each event in ``effect``, in the transaction that does it.

    trouble: raises for an event that is to fail; asked before anything is written.
    """

    async def apply(unit: Unit, events: Sequence[Received]) -> None:
        for event in events:
            trouble(event)
        await unit.connection.execute(
            text(
                "INSERT INTO effect (consumer, event_id, stream, sequence, code) "
                "VALUES (:consumer, :event_id, :stream, :sequence, :code)"
            ),
            [
                {
                    "consumer": consumer,
                    "event_id": event.id,
                    "stream": event.stream,
                    "sequence": event.sequence,
                    "code": getattr(event.event, "code", None),
                }
                for event in events
            ],
        )

    return apply


async def effects(database: Database, consumer: str | None = None) -> dict[str | None, list[int]]:
    """The numbers that took effect, in the order in which they did, by stream."""
    async with database.reading() as connection:
        found = await connection.execute(
            text(
                "SELECT stream, sequence FROM effect "
                "WHERE consumer = :consumer OR :consumer IS NULL ORDER BY number"
            ),
            {"consumer": consumer},
        )
        told: dict[str | None, list[int]] = {}
        for stream, sequence in found:
            told.setdefault(stream, []).append(sequence)
        return told


async def rows(database: Database, sql: str, **values: object) -> list[tuple[object, ...]]:
    """The rows of a query."""
    async with database.reading() as connection:
        return [tuple(row) for row in await connection.execute(text(sql), values)]


async def run_sql(database: Database, sql: str, **values: object) -> None:
    """Run a statement in a transaction of its own."""
    async with database.transaction() as connection:
        await connection.execute(text(sql), values)


async def until(
    condition: Callable[[], object] | Callable[[], Awaitable[object]],
    seconds: float = 60.0,
    pause: float = 0.02,
) -> None:
    """Wait for a condition; a failure says how long was waited."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return
        assert time.monotonic() < end, f"still not so after {seconds} s"
        await asyncio.sleep(pause)
