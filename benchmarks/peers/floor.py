"""The least that durable intake can be: what our gateway's speed is measured against.

    python -m benchmarks.peers.floor --database postgresql://… --port N

ASGI without a framework, asyncpg without a layer: the body is parsed, its code and text are stored
beside an outbox row, requests that wait at the same moment share a transaction, and 202 goes out
after the commit. No tokens, rights, schema, idempotency by content, sealing, events or log.
"""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
import uvicorn
import uvloop

from benchmarks.peers.asgi import answered, body_of
from benchmarks.peers.group_commit import Together

TABLES = """
CREATE TABLE IF NOT EXISTS taken (code text PRIMARY KEY, body jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS to_send (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                                    code text NOT NULL);
"""
_STORE = """
WITH stored AS (
    INSERT INTO taken SELECT * FROM unnest($1::text[], $2::jsonb[])
    ON CONFLICT DO NOTHING RETURNING code
)
INSERT INTO to_send (code) SELECT code FROM stored
"""


class Kept(asyncpg.Connection):
    """A connection that holds no state, so that giving it back takes no round trip."""

    def get_reset_query(self) -> str:
        return ""


class Floor:
    """The application."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._group = Together(self._write)

    async def _write(self, rows: Sequence[tuple[str, str]]) -> None:
        codes, bodies = zip(*rows, strict=True)
        await self._pool.execute(_STORE, codes, bodies)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take one request (ASGI)."""
        body = await body_of(receive)
        code = orjson.loads(body)["code"]
        await self._group.add((code, body.decode()))
        await answered(send, 202, b'{"code":"%s"}' % code.encode())


async def main(database: str, port: int) -> None:
    """Serve until told to stop."""
    async with asyncpg.create_pool(database, min_size=8, max_size=8, connection_class=Kept) as pool:
        await pool.execute(TABLES)
        config = uvicorn.Config(
            Floor(pool),
            port=port,
            http="httptools",
            loop="none",
            lifespan="off",
            access_log=False,
            log_config=None,
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.database, options.port))
