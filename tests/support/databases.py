"""Databases of a test's own on the shared server."""

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg

Prepare = Callable[[str], Awaitable[None]]

# What could not be prepared in this process: tried once, not by every test anew.
_failed: dict[str, Exception] = {}


class Databases:
    """Makes databases; a test gets it as the fixture `databases`, which removes them afterwards.

    server: the superuser's `postgresql://` address. run: distinguishes this test run from others
    on the same server.
    """

    def __init__(self, server: str, run: str) -> None:
        self._server = server
        self._run = run
        self._made: list[str] = []

    async def create(self, label: str = "db", *, template: str | None = None) -> str:
        """A fresh database; its address as services take it (`postgresql+asyncpg://`).

        template: a name from `template()`, to start from a copy of that instead of empty.
        """
        name = f"{self._run}_{label}_{secrets.token_hex(4)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"')
        self._made.append(name)
        return self._address(name)

    async def template(self, key: str, prepare: Prepare) -> str:
        """The name of a database that `prepare` was run on once in this test run.

        key: names what was prepared, such as `dossier`; prepare: takes an address, for example to
        run a service's migrations. Workers that ask at the same time wait for the first.
        """
        name = f"{self._run}_template_{key}"
        if name in _failed:
            raise _failed[name]
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute("SELECT pg_advisory_lock(hashtext($1))", name)
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                return name
            unfinished = f"{name}_unfinished"
            await connection.execute(f'DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{unfinished}" TEMPLATE template0')
            try:
                await prepare(self._address(unfinished))
            except Exception as error:
                _failed[name] = error
                raise
            await connection.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{name}"')
        finally:
            await connection.close()
        return name

    async def drop(self) -> None:
        """Remove what `create` made, also where connections are still open."""
        for name in self._made:
            await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self._made.clear()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _address(self, name: str) -> str:
        parts = urlsplit(self._server)
        return urlunsplit(("postgresql+asyncpg", parts.netloc, f"/{name}", parts.query, ""))


async def drop_run(server: str, run: str) -> None:
    """Remove every database of a test run from a server that outlives it."""
    connection = await asyncpg.connect(server)
    try:
        names = await connection.fetch(
            "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", f"{run}_"
        )
        for row in names:
            await connection.execute(f'DROP DATABASE IF EXISTS "{row["datname"]}" WITH (FORCE)')
    finally:
        await connection.close()
