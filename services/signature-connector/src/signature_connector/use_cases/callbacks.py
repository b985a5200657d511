"""Providers call about an order. Nobody proves who they are, so nothing that is said is believed.

A callback only brings the question forward that would be asked anyway. It is noted by its digest
and by what it is about, never by its content, which may name a person. Unknown ids, repetitions
and floods cost a row at most, and only so many are kept.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from common.database import Database
from common.errors import describe
from signature_connector.store import waiting
from signature_connector.use_cases.providers import Choice

LARGEST_BYTES = 256 * 1024
_REST_SECONDS = 3.0
_TRIM_SECONDS = 60.0

log = structlog.get_logger()


class TooMany(Exception):
    """More callbacks of one provider than are taken."""


@dataclass
class Callbacks:
    """Takes callbacks.

    Args:
        most: how many are remembered.
        days: for how long.
        per_second: how many of one provider are taken by this process.
        asked: called when an order is to be asked about at once.
    """

    database: Database
    choice: Choice
    most: int
    days: int
    per_second: float
    asked: Callable[[], None]
    _tokens: dict[str, tuple[float, float]] = field(default_factory=dict)

    async def take(self, provider: str, body: bytes) -> None:
        """Note a callback, and have its order asked about.

        Raises:
            TooMany: the provider calls too often just now.
            Unreadable: not this provider's.
        """
        self._pass(provider)
        about = self.choice.called(provider, body)
        digest = hashlib.sha256(body).digest()
        async with self.database.transaction() as connection:
            await waiting.store_callback(
                connection, provider, digest, about.submission, about.outgoing_id, len(body)
            )
            moved = await waiting.bring_forward(
                connection, provider, about.submission, about.outgoing_id, _REST_SECONDS
            )
        if moved:
            self.asked()

    def _pass(self, provider: str) -> None:
        if provider not in self.choice.names:
            return  # refused as unreadable; not to be remembered
        now = time.monotonic()
        tokens, at = self._tokens.get(provider, (self.per_second, now))
        tokens = min(self.per_second, tokens + (now - at) * self.per_second)
        if tokens < 1:
            raise TooMany
        self._tokens[provider] = (tokens - 1, now)

    async def run(self) -> None:
        """Forget callbacks that are old, or too many, without end."""
        while True:
            try:
                async with self.database.transaction() as connection:
                    await waiting.trim_callbacks(connection, self.days, self.most)
            except Exception as error:
                log.warning("callbacks not trimmed", error=describe(error))
            await asyncio.sleep(_TRIM_SECONDS)
