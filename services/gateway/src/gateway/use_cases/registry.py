"""The registry as every request sees it: in memory, seconds old."""

import asyncio
import math
import time

import structlog

from common.database import Database
from common.errors import NotReady, describe
from gateway.domain.clients import Client
from gateway.store import registry, revoked

log = structlog.get_logger()

_REFRESH_SECONDS = 5.0
_OLDEST_SECONDS = 20.0
_STRANGER_SECONDS = 0.2
_FORGET_SECONDS = 60.0


class Registry:
    """All clients and all revoked tokens, read again as soon as their edition changes.

    Asked for every few seconds in one short statement. What is older than 20 seconds is not used:
    while the database is away nobody could be told from a client that was switched off.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.clients: dict[str, Client] = {}
        self.revoked: frozenset[str] = frozenset()
        self.edition = 0
        self._external: dict[tuple[str, str], str] = {}
        self._read_at = -math.inf
        self._lock = asyncio.Lock()

    def client(self, client_id: str) -> Client | None:
        """The client of this id."""
        return self.clients.get(client_id)

    def known_as(self, issuer: str, subject: str) -> Client | None:
        """The client that another issuer names so."""
        return self.clients.get(self._external.get((issuer, subject), ""))

    @property
    def is_fresh(self) -> bool:
        """Whether it may be relied on."""
        return time.monotonic() - self._read_at < _OLDEST_SECONDS

    async def freshen(self) -> None:
        """Have it fresh.

        Raises:
            NotReady: the database cannot be asked.
        """
        try:
            await self._refresh_unless(_OLDEST_SECONDS)
        except Exception as error:
            log.warning("registry not to be had", error=describe(error))
            raise NotReady(
                "Chưa kiểm tra được quyền của hệ thống gọi",
                "Clients cannot be checked now",
                headers={"Retry-After": "2"},
            ) from error

    async def look_again(self) -> None:
        """For a client that is not known: it may be new. A few times a second at the most."""
        if time.monotonic() - self._read_at > _STRANGER_SECONDS:
            try:
                await self._refresh_unless(_STRANGER_SECONDS)
            except Exception as error:
                log.warning("registry not to be had", error=describe(error))

    async def refresh(self) -> None:
        """Read the edition, and all the rest if it is another."""
        await self._refresh_unless(-1.0)

    async def run(self) -> None:
        """Refresh again and again, and forget what has expired (an endless worker)."""
        forget_at = 0.0
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            await self.refresh()
            if time.monotonic() > forget_at:
                async with self._database.transaction() as connection:
                    await revoked.forget(connection)
                forget_at = time.monotonic() + _FORGET_SECONDS

    async def _refresh_unless(self, younger_than: float) -> None:
        async with self._lock:
            if time.monotonic() - self._read_at < younger_than:
                return
            asked_at = time.monotonic()
            async with self._database.reading() as connection:
                edition = await registry.edition(connection)
                if edition != self.edition:
                    # Both are at least as new as the edition: if newer, they are read once more.
                    clients = await registry.everyone(connection)
                    self.revoked = await revoked.live(connection)
                    self._take(clients)
                    self.edition = edition
            self._read_at = asked_at

    def _take(self, clients: list[Client]) -> None:
        """A client that has not changed stays the same object, by which others remember it."""
        known = self.clients
        self.clients = {
            client.client_id: known[client.client_id]
            if known.get(client.client_id) == client
            else client
            for client in clients
        }
        self._external = {
            client.external: client.client_id for client in clients if client.external
        }
