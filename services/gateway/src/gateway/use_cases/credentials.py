"""Who a client is: its secret against the argon2 hashes in the registry.

All hashes of one client have one salt. So a secret is hashed once, whether the client has one
secret or two, and whichever of them it was: nothing of that shows in the time it takes.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError
from argon2.low_level import hash_secret

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
    """A client as it is to be in the registry; ``known.secret_hash`` is made from ``secret``.

    Without a secret it has to show who it is by a key or a certificate.
    """

    known: Client
    secret: str | None


class Credentials:
    """Checks clients' secrets.

    A hash takes some 20 ms of a core, so hashing is done in threads, few at a time. A pair that
    was right is remembered for minutes under a keyed hash of the pair and of the stored hash it
    was checked against, so that many tokens for one client cost one check, and a changed secret
    is effective at once.
    """

    def __init__(
        self, database: Database, verify: Callable[[Sequence[str], str], bool] | None = None
    ):
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
        stored = known.secret_hashes if known else ()
        right = await self._is_right(client_id, secret, stored or (self._nobody,))
        return known if known and right and known.active else None

    async def find(self, client_id: str) -> Client | None:
        """The active client of this id, which has yet to show that it is the one."""
        async with self._database.reading() as connection:
            known = await registry.find(connection, client_id)
        return known if known and known.active else None

    async def _is_right(self, client_id: str, secret: str, stored: tuple[str, ...]) -> bool:
        pair = "\0".join((client_id, secret, *stored)).encode()
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

    async def _check(self, mark: bytes, stored: tuple[str, ...], secret: str) -> bool:
        async with self._threads:
            right = await asyncio.to_thread(self._verify, stored, secret)
        if right:
            if len(self._right) >= _MOST_REMEMBERED:
                self._right.clear()
            self._right[mark] = time.monotonic() + _REMEMBERED_SECONDS
        return right


async def register(database: Database, wanted: Sequence[Registration]) -> None:
    """Bring the registry up to date.

    A secret is taken from the settings once. As long as they name the same one, the secrets stay
    as operators have left them: one that was ended does not come back with a restart.
    """
    for registration in wanted:
        client, secret = registration.known, registration.secret
        async with database.reading() as connection:
            known = await registry.find(connection, client.client_id)
            seeded = await registry.seed_hash(connection, client.client_id) or ""
        if known is not None:
            client = replace(client, void_before=known.void_before, changed_at=known.changed_at)
        same = await asyncio.to_thread(_verify, (seeded,), secret) if secret else not seeded
        if known is not None and same:
            client = replace(client, secret_hash=known.secret_hash, second_hash=known.second_hash)
        else:
            seeded = await asyncio.to_thread(_HASHER.hash, secret) if secret else ""
            client = replace(client, secret_hash=seeded)
        if client != known:
            async with database.transaction() as connection:
                await registry.register(connection, client, seeded)


def hashed_like(stored: str, secret: str) -> str:
    """The hash of a further secret of a client, with the salt of the first (blocks)."""
    return _hashed(stored.rpartition("$")[0], secret) if stored else _HASHER.hash(secret)


def _verify(stored: Sequence[str], secret: str) -> bool:
    """Whether the secret is one of these; each is looked at, whichever it is."""
    try:
        made = [_hashed(prefix, secret) for prefix in {one.rpartition("$")[0] for one in stored}]
    except InvalidHashError:
        return False
    same = [hmac.compare_digest(one, other) for one in made for other in stored]
    return True in same


def _hashed(prefix: str, secret: str) -> str:
    """The encoded hash that begins so: ``$argon2id$v=…$m=…,t=…,p=…$salt``."""
    used = extract_parameters(f"{prefix}${'A' * 43}")
    salt = prefix.rpartition("$")[2]
    return hash_secret(
        secret.encode(),
        base64.b64decode(salt + "=" * (-len(salt) % 4)),
        used.time_cost,
        used.memory_cost,
        used.parallelism,
        used.hash_len,
        used.type,
        used.version,
    ).decode()
