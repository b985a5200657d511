"""What has grown old falls: monthly partitions of the event log and the inbox, and parked bytes.

A partition goes as a whole, once everything in it is older than its days; the default partitions,
which hold what came outside of every month, are emptied row by row. An event that is still to be
published stays, with the partition it lies in, whatever its age.
"""

import re
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from common.database import Database, sqlstate
from common.identifiers import lowest_id_at

BATCH = 5000
_LOCK_SECONDS = 2
_NO_LOCK = "55P03"

log = structlog.get_logger()

_PARTITIONS = text(
    """
    SELECT child.relname FROM pg_inherits
    JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = to_regclass(:parent) ORDER BY 1
    """
)
_UNPUBLISHED = text(
    "SELECT EXISTS (SELECT FROM outbox WHERE event_id >= :first AND event_id < :beyond)"
)
_UNDECODABLE = text(
    """
    DELETE FROM parked WHERE id IN (
        SELECT id FROM parked WHERE reason = 'undecodable' AND parked_at < :before
        ORDER BY id LIMIT :most)
    """
)
_STRAYED = {
    "event_log": text(
        """
        DELETE FROM event_log_other WHERE event_id IN (
            SELECT event_id FROM event_log_other old WHERE event_id < :before
              AND NOT EXISTS (SELECT FROM outbox WHERE outbox.event_id = old.event_id)
            ORDER BY event_id LIMIT :most)
        """
    ),
    "inbox": text(
        """
        DELETE FROM inbox_other WHERE (event_id, consumer) IN (
            SELECT event_id, consumer FROM inbox_other WHERE event_id < :before
            ORDER BY event_id, consumer LIMIT :most)
        """
    ),
}


async def drop_old(
    database: Database, *, log_days: int, inbox_days: int, now: datetime | None = None
) -> list[str]:
    """Drop what is older than its days; the names of the partitions that fell.

    Args:
        log_days: how long events are kept, and bytes that could not be read as one.
        inbox_days: how long it is remembered that an event was done.

    Raises:
        DBAPIError: the database cannot be used. (A lock that is not to be had is tried for again
            the next time.)
    """
    now = now or datetime.now(UTC)
    fell = []
    for table, days in (("event_log", log_days), ("inbox", inbox_days)):
        before = now - timedelta(days=days)
        async with database.reading() as connection:
            names = (await connection.execute(_PARTITIONS, {"parent": table})).scalars().all()
        for name in names:
            if (month := _month(table, name)) and month[1] <= before:
                async with database.transaction() as connection:
                    if await _dropped(connection, table, name, month):
                        fell.append(name)
        await _emptied(database, table, before)
    await _unreadable(database, now - timedelta(days=log_days))
    return fell


def _month(table: str, name: str) -> tuple[datetime, datetime] | None:
    """The first moments of a partition's month and of the one after."""
    found = re.fullmatch(rf"{table}_(\d{{4}})_(\d{{2}})", name)
    if found is None:
        return None
    year, month = int(found[1]), int(found[2])
    start = datetime(year, month, 1, tzinfo=UTC)
    return start, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


async def _dropped(
    connection: AsyncConnection, table: str, name: str, month: tuple[datetime, datetime]
) -> bool:
    if table == "event_log":
        bounds = {"first": lowest_id_at(month[0]), "beyond": lowest_id_at(month[1])}
        if (await connection.execute(_UNPUBLISHED, bounds)).scalar():
            log.warning("old events still wait to be published, kept", partition=name)
            return False
    try:
        async with connection.begin_nested():
            await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
            await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    except DBAPIError as error:
        if sqlstate(error) != _NO_LOCK:
            raise
        log.info("partition in use, tried again later", partition=name)
        return False
    log.info("partition dropped by retention", partition=name)
    return True


async def _emptied(database: Database, table: str, before: datetime) -> None:
    await _in_batches(database, _STRAYED[table], {"before": lowest_id_at(before)})


async def _unreadable(database: Database, before: datetime) -> None:
    await _in_batches(database, _UNDECODABLE, {"before": before})


async def _in_batches(database: Database, statement: object, values: dict[str, object]) -> None:
    while True:
        async with database.transaction() as connection:
            gone = await connection.execute(statement, {**values, "most": BATCH})  # type: ignore[call-overload]
        if gone.rowcount < BATCH:
            return
