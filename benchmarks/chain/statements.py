"""How many statements a dossier takes, counted in PostgreSQL's log.

In a round of its own, since writing them down costs time; ``pg_stat_statements`` is not among the
extensions of the embedded server.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg

from tests.support.stack import Stack

_LINE = re.compile(r"in (\w+): LOG:  (?:statement|execute [^:]*): ")
_ON = (
    "ALTER SYSTEM SET log_statement = 'all'",
    "ALTER SYSTEM SET log_line_prefix = 'in %d: '",
    "ALTER SYSTEM SET log_parameter_max_length = 0",
)
_OFF = ("ALTER SYSTEM RESET ALL",)


@asynccontextmanager
async def counted(stack: Stack) -> AsyncIterator[Counter[str]]:
    """Filled, at the end of the block, with the number of statements by database."""
    found: Counter[str] = Counter()
    await _tell(stack, _ON)
    begin = stack.postgres.log.stat().st_size
    try:
        yield found
    finally:
        await _tell(stack, _OFF)
    with stack.postgres.log.open(encoding="utf-8", errors="replace") as log:
        log.seek(begin)
        found.update(statements(log))


def statements(lines: Iterable[str]) -> Counter[str]:
    """Statements by database in lines of the log; one that goes over several counts once."""
    return Counter(found[1] for line in lines if (found := _LINE.match(line)))


async def _tell(stack: Stack, orders: Iterable[str]) -> None:
    connection = await asyncpg.connect(stack.postgres.dsn)
    try:
        for order in orders:
            await connection.execute(order)
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()
