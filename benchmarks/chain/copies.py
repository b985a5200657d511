"""Rows of many more dossiers than have gone through the chain.

Whatever a dossier leaves in the services' databases is there again under other names, so that a
store of a million takes minutes and not most of an hour. Left out is what no row tells: the portal
knows nothing of the copies, and the message log's hashes do not lead from one to the next.
"""

import asyncio
from collections.abc import Sequence

import asyncpg

# What makes a row one of its dossier's, by column.
_NAMES = frozenset({"code", "dossier", "dossier_code", "stream", "key"})
_DIGESTS = frozenset({"digest"})

_TABLES = """
    SELECT oid::regclass::text AS name FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
_COLUMNS = """
    SELECT attname AS name, atttypid::regtype::text AS type FROM pg_attribute
    WHERE attrelid = CAST(CAST($1 AS text) AS regclass) AND attnum > 0 AND NOT attisdropped
      AND attidentity = '' AND attgenerated = ''
"""


async def copied(server: str, databases: Sequence[str], dossiers: int, copies: int) -> None:
    """Put so many copies beside every row of tables that grow with each dossier.

    Args:
        server: its address, as somebody who may write everything there.
        dossiers: that have gone through. A table that holds fewer than half as many rows grows with
            something else.
    """
    await asyncio.gather(*(_database(server, one, dossiers, copies) for one in databases))


async def _database(server: str, name: str, dossiers: int, copies: int) -> None:
    connection = await asyncpg.connect(server, database=name)
    try:
        for (table,) in await connection.fetch(_TABLES):
            if await connection.fetchval(f"SELECT count(*) FROM {table}") < dossiers / 2:  # noqa: S608
                continue
            columns = await connection.fetch(_COLUMNS, table)
            names = ", ".join(f'"{one["name"]}"' for one in columns)
            values = ", ".join(_value(one["name"], one["type"]) for one in columns)
            await connection.execute(
                f"INSERT INTO {table} ({names}) "  # noqa: S608 - names from the catalogue
                f"SELECT {values} FROM {table} CROSS JOIN generate_series(1, {copies}) AS copy"
            )
        # As it would be by now where they had come one after the other.
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


def _value(name: str, kind: str) -> str:
    if kind == "uuid":  # which begins with its time: partitions and the order of indexes follow it
        text = f'"{name}"::text'
        return f"(left({text}, 13) || substr(md5({text} || copy), 13))::uuid"
    if name in _NAMES:
        return f"\"{name}\" || '.' || copy"
    if name in _DIGESTS and kind == "bytea":
        return f'sha256("{name}" || int4send(copy))'
    return f'"{name}"'
