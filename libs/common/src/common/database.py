"""The service's database: engine, migrations, and the partitions of tables that grow by time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib import resources
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from common.identifiers import lowest_id_at
from common.settings import DatabaseSettings

_MIGRATION_LOCK = 0x6C74  # one number per database is enough: each service has its own
_MONTHS_AHEAD = 3
PARTITIONED = ("event_log", "inbox")


class DatabaseAway(Exception):
    """No connection to the database is to be had now; the cause says why."""


class Database:
    """A pool of connections to the service's own database."""

    def __init__(self, settings: DatabaseSettings, *, name: str) -> None:
        self.engine: AsyncEngine = create_async_engine(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            hide_parameters=True,  # they may be personal, and errors are logged
            connect_args={
                "timeout": 5,
                "command_timeout": 60,
                "server_settings": {
                    "application_name": name,
                    "jit": "off",
                    "timezone": "UTC",
                    # A relay that is frozen in the middle of a window must not hold its parts.
                    "idle_in_transaction_session_timeout": "60000",
                },
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back by any exception.

        Raises:
            DatabaseAway: there is no connection to be had.
        """
        async with self._connected() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads, each statement on its own.

        Raises:
            DatabaseAway: there is no connection to be had.
        """
        async with self._connected() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.engine.connect())
            except Exception as error:
                raise DatabaseAway(type(error).__name__) from error
            yield connection

    async def check(self) -> None:
        """Raise unless the database answers."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


async def migrate(database: Database, package: str) -> None:
    """Bring the schema to the newest revision of ``<package>.migrations``, where it is not there.

    One process at a time, by an advisory lock; lock and statement timeouts keep a migration from
    queueing up behind, or holding up, the services that run.
    """
    if await _revision(database) != newest_revision(package):
        await _upgrade(database, package)
    await ensure_partitions(database)


def newest_revision(package: str) -> str:
    """The highest revision; each is in a file that is named after it, ``0001_begin.py``."""
    versions = resources.files(package) / "migrations" / "versions"
    return max(file.name.partition("_")[0] for file in versions.iterdir() if file.name[0].isdigit())


async def _revision(database: Database) -> str | None:
    async with database.reading() as connection:
        table = await connection.execute(text("SELECT to_regclass('alembic_version')"))
        if table.scalar() is None:
            return None
        found = await connection.execute(text("SELECT version_num FROM alembic_version"))
        return found.scalar_one_or_none()


async def _upgrade(database: Database, package: str) -> None:
    # Not for every start: it takes nine megabytes, for as long as the process lives.
    from alembic import command
    from alembic.config import Config

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


def run_migrations(context: Any) -> None:
    """The body of every service's ``migrations/env.py``."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


async def ensure_partitions(
    database: Database,
    tables: Sequence[str] = PARTITIONED,
    *,
    key: str = "event_id",
    first: str | None = None,
) -> None:
    """Create the monthly partitions of this month and the next ones, where they are missing.

    Rows that came before their partition, and so lie in the default one, move into it.

    Args:
        tables: those with a default partition ``<table>_other``.
        key: the column (UUIDv7) that they are partitioned by.
        first: a statement that each transaction begins with.

    Raises:
        DBAPIError: a lock was not to be had within two seconds: try again later.
    """
    for table in tables:
        for start, end in _months(datetime.now(UTC), _MONTHS_AHEAD):
            async with database.transaction() as connection:
                await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                name = f"{table}_{start:%Y_%m}"
                if (await connection.execute(text(f"SELECT to_regclass('{name}')"))).scalar():
                    continue
                await connection.execute(text("SET LOCAL lock_timeout = '2s'"))
                if first is not None:
                    await connection.execute(text(first))
                bounds = lowest_id_at(start), lowest_id_at(end)
                await _add_partition(connection, table, name, key, bounds)


async def _add_partition(
    connection: AsyncConnection, table: str, name: str, key: str, bounds: tuple[UUID, UUID]
) -> None:
    # Attached once it is filled: that lets the readers of the other partitions go on.
    first, end = bounds
    strayed = f"{key} >= '{first}' AND {key} < '{end}'"
    moved = f"DELETE FROM {table}_other WHERE {strayed} RETURNING *"  # noqa: S608 - names of our own
    for statement in (
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608 - the same
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')",
    ):
        await connection.execute(text(statement))


def _months(now: datetime, ahead: int) -> list[tuple[datetime, datetime]]:
    first = now.year * 12 + now.month - 1
    starts = [
        datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        for month in range(first, first + ahead + 2)
    ]
    return list(pairwise(starts))


def database_is_away(error: Exception) -> bool:
    """Whether the error says that the database cannot be used now, whatever the event held."""
    if isinstance(error, DatabaseAway) or rolled_back(error):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # 08 connection, 53 resources, 57 operator intervention
    return (sqlstate(error) or "")[:2] in {"08", "53", "57"}


def rolled_back(error: Exception) -> bool:
    """Whether the database gave the transaction up (deadlock and such): gone when tried again."""
    return (sqlstate(error) or "").startswith("40")


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code of an error, whether or not SQLAlchemy has wrapped it."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlstate", None)
    return code if isinstance(code, str) else None
