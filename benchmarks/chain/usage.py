"""What processes and servers have used: CPU time, memory, bytes written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import psutil

from benchmarks.peers.clients import trees
from tests.support.stack import Stack

_WRITTEN = """
SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS log,
       (SELECT sum(pg_database_size(datname))::bigint FROM pg_database
        WHERE datname = ANY($1::text[])) AS size,
       (SELECT sum(xact_commit + xact_rollback)::bigint FROM pg_stat_database
        WHERE datname = ANY($1::text[])) AS transactions
"""


@dataclass(frozen=True)
class Memory:
    """Bytes that a role's processes hold.

    Attributes:
        resident: all of it; what processes share is counted for each.
        private: what would be free if they ended.
    """

    resident: int
    private: int


@dataclass(frozen=True)
class Written:
    """What two readings of the servers differ by.

    Attributes:
        log: bytes of PostgreSQL's write-ahead log.
        size: bytes by which the databases have grown.
        broker: bytes that the broker's process had written to storage.
        transactions: in the databases.
    """

    log: int
    size: int
    broker: int
    transactions: int

    def __sub__(self, earlier: "Written") -> "Written":
        return Written(
            self.log - earlier.log,
            self.size - earlier.size,
            self.broker - earlier.broker,
            self.transactions - earlier.transactions,
        )


def memory_of(pids: Sequence[int]) -> Memory:
    """What processes and their children hold now."""
    found = []
    for process in trees(pids):
        try:
            found.append(process.memory_full_info())
        except psutil.NoSuchProcess:
            continue
    return Memory(sum(one.rss for one in found), sum(one.uss for one in found))


def memory(watched: Mapping[str, Sequence[int]]) -> dict[str, Memory]:
    """What each role holds now."""
    return {role: memory_of(pids) for role, pids in watched.items()}


async def written(stack: Stack, databases: Sequence[str]) -> Written:
    """What was written so far, for these databases, by servers that nobody else uses."""
    connection = await asyncpg.connect(stack.postgres.dsn)
    try:
        row = (await connection.fetch(_WRITTEN, databases))[0]
    finally:
        await connection.close()
    broker = psutil.Process(stack.rabbit.pid).io_counters().write_bytes
    return Written(row["log"], row["size"], broker, row["transactions"])


def machine() -> float:
    """CPU seconds that all processors have worked so far, for whomever; a host's theft included."""
    times = psutil.cpu_times()
    idle = times.idle + times.iowait
    doubled = times.guest + times.guest_nice  # which user and nice have in them
    return float(sum(times) - idle - doubled)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
