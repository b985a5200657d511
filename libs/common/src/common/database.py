"""The service's database: engine, migrations, and the partitions of tables that grow by time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import resources
from itertools import pairwise
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from common.identifiers import lowest_id_at
from common.settings import DatabaseSettings

_MIGRATION_LOCK = 0x6C74  # one number per database is enough: each service has its own
_MONTHS_AHEAD = 3
PARTITIONED = ("event_log", "inbox")


class Database:
    """A pool of connections to the service's own database."""

    def __init__(self, settings: DatabaseSettings, *, name: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            connect_args={
                "timeout": 5,
                "command_timeout": 60,
                "server_settings": {
                    "application_name": name,
                    "jit": "off",
                    "timezone": "UTC",
                },
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back by any exception."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads, each statement on its own."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def check(self) -> None:
        """Raise unless the database answers."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def migrate(database: Database, package: str) -> None:
    """Bring the schema to the newest revision of ``<package>.migrations``.

    One process at a time, by an advisory lock; lock and statement timeouts keep a migration from
    queueing up behind, or holding up, the services that run.
    """
    config = Config()
    config.set_main_option("script_location", str(resources.files(package) / "migrations"))
    config.set_main_option("path_separator", "os")

    def upgrade(connection: Connection) -> None:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(text("SET LOCAL statement_timeout = '60s'"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with database.engine.begin() as connection:
        await connection.run_sync(upgrade)
    await ensure_partitions(database)


def run_migrations(context: Any) -> None:
    """The body of every service's ``migrations/env.py``."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


async def ensure_partitions(database: Database) -> None:
    """Create the monthly partitions of this month and the next ones, where they are missing."""
    async with database.engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        for table in PARTITIONED:
            for start, end in _months(datetime.now(UTC), _MONTHS_AHEAD):
                await connection.execute(
                    text(
                        f"CREATE TABLE IF NOT EXISTS {table}_{start:%Y_%m} PARTITION OF {table} "
                        f"FOR VALUES FROM ('{lowest_id_at(start)}') TO ('{lowest_id_at(end)}')"
                    )
                )


def _months(now: datetime, ahead: int) -> list[tuple[datetime, datetime]]:
    first = now.year * 12 + now.month - 1
    starts = [
        datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        for month in range(first, first + ahead + 2)
    ]
    return list(pairwise(starts))


def database_is_away(error: Exception) -> bool:
    """Whether the error says that the database cannot be used now, whatever the event held."""
    if isinstance(error, PoolTimeout | OSError):
        return True
    cause: Any = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig
    # 08 connection, 53 resources, 57 operator intervention, 40 rollback (deadlock and such)
    return (getattr(cause, "sqlstate", None) or "")[:2] in {"08", "53", "57", "40"}
