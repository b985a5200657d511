"""Who a client is: its secret against the argon2 hash in the registry."""

import asyncio
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from common.database import Database
from gateway.domain.clients import Client
from gateway.errors import Busy
from gateway.store import registry

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_AT_ONCE = 2
_MOST_WAITING = 64
_REMEMBERED_SECONDS = 300.0
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Registration:
    """A client as it is to be in the registry; ``known.secret_hash`` is made from ``secret``."""

    known: Client
    secret: str


class Credentials:
    """Checks clients' secrets.

    A hash takes some 20 ms of a core, so hashing is done in threads, few at a time. A pair that
    was right is remembered for minutes under a keyed hash of the pair and of the stored hash it
    was checked against, so that many tokens for one client cost one check, and a changed secret
    is effective at once.
    """

    def __init__(self, database: Database, verify: Callable[[str, str], bool] | None = None):
        self._database = database
        self._verify = verify or _verify
        self._salt = os.urandom(32)
        self._right: dict[bytes, float] = {}
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        self._threads = asyncio.Semaphore(_AT_ONCE)
        self._nobody = ""

    async def prepare(self) -> None:
        """Make the hash that unknown clients are checked against."""
        self._nobody = await asyncio.to_thread(_HASHER.hash, secrets.token_urlsafe())

    async def client(self, client_id: str, secret: str) -> Client | None:
        """The active client with this id and secret.

        None for an unknown client, a wrong secret or a client that was switched off: the same
        answer, after the same work.

        Raises:
            Busy: too many checks wait already.
        """
        async with self._database.reading() as connection:
            known = await registry.find(connection, client_id)
        right = await self._is_right(
            client_id, secret, known.secret_hash if known else self._nobody
        )
        return known if known and right and known.active else None

    async def _is_right(self, client_id: str, secret: str, stored: str) -> bool:
        pair = f"{client_id}\0{secret}\0{stored}".encode()
        mark = hmac.digest(self._salt, pair, hashlib.sha256)
        if self._right.get(mark, 0.0) > time.monotonic():
            return True
        running = self._running.get(mark)
        if running is None:
            if len(self._running) >= _MOST_WAITING:
                raise Busy(headers={"Retry-After": "2"})
            running = asyncio.create_task(self._check(mark, stored, secret))
            self._running[mark] = running
            running.add_done_callback(lambda _: self._running.pop(mark))
        return await asyncio.shield(running)

    async def _check(self, mark: bytes, stored: str, secret: str) -> bool:
        async with self._threads:
            right = await asyncio.to_thread(self._verify, stored, secret)
        if right:
            if len(self._right) >= _MOST_REMEMBERED:
                self._right.clear()
            self._right[mark] = time.monotonic() + _REMEMBERED_SECONDS
        return right


async def register(database: Database, wanted: Sequence[Registration]) -> None:
    """Bring the registry up to date; a client whose secret is still right keeps its hash."""
    for registration in wanted:
        client = registration.known
        async with database.reading() as connection:
            known = await registry.find(connection, client.client_id)
        kept = known is not None and await asyncio.to_thread(
            _verify, known.secret_hash, registration.secret
        )
        if known is not None and kept:
            secret_hash = known.secret_hash
        else:
            secret_hash = await asyncio.to_thread(_HASHER.hash, registration.secret)
        client = replace(
            client, secret_hash=secret_hash, void_before=known.void_before if known else None
        )
        if client != known:
            async with database.transaction() as connection:
                await registry.register(connection, client)


def _verify(stored: str, secret: str) -> bool:
    try:
        return _HASHER.verify(stored, secret)
    except VerificationError:
        return False
