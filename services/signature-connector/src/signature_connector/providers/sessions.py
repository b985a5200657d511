"""Sessions at a provider: one login at a time for each user, renewed when it ends."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from signature_connector.domain.provider import NeverSent, Reply, Unclear
from signature_connector.providers.wire import Answer, Line

_MOST = 1000
_PATIENCE_SECONDS = 5.0
"""How long a login that failed is not tried again: many who wait for it share the failure, and a
provider does not lock the account."""
_EARLY_SECONDS = 60.0
_LONGEST_SECONDS = 24 * 3600.0
DEFAULT_SECONDS = 3600.0
"""Life of a session whose login does not tell it (RFC 6749 leaves it open; CSC says an hour)."""


class LoginFailed(Exception):
    """There is no session: nothing was asked of the provider but the login.

    Args:
        reason: kind of the error.
        reply: what the provider said.
        pause: seconds for which it asked to be left alone.
        left: a call had been made under an older session, and was answered 401.
    """

    def __init__(
        self,
        reason: str,
        reply: Reply = Reply(),  # noqa: B008 - frozen
        pause: float | None = None,
        *,
        left: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.reply, self.pause, self.left = reason, reply, pause, left

    def fate(self) -> NeverSent | Unclear:
        """What it means for the signing call that was to be made."""
        reason = f"login: {self.reason}"
        return Unclear(reason, self.reply) if self.left else NeverSent(reason)


@dataclass(frozen=True, slots=True)
class Session:
    """A token and for how many seconds it is good."""

    token: str = field(repr=False)
    seconds: float


@dataclass(slots=True)
class _Held:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: str = field(default="", repr=False)
    until: float = 0.0
    failure: LoginFailed | None = None
    failed_at: float = 0.0


class Sessions:
    """Tokens, kept in memory alone.

    Args:
        login: makes a session for a user (an empty name for the account itself); raises
            LoginFailed.
    """

    def __init__(self, login: Callable[[str], Awaitable[Session]]) -> None:
        self._login = login
        self._held: OrderedDict[str, _Held] = OrderedDict()

    async def token(self, who: str = "", ended: str | None = None) -> str:
        """A token other than the one that has ended; many who ask at once share one login.

        Raises:
            LoginFailed: now, or a moment ago.
        """
        held = self._of(who)
        async with held.lock:
            now = time.monotonic()
            if held.token and held.token != ended and now < held.until:
                return held.token
            held.token = ""
            if held.failure is not None and now - held.failed_at < _PATIENCE_SECONDS:
                raise LoginFailed(held.failure.reason, held.failure.reply, held.failure.pause)
            try:
                session = await self._login(who)
            except LoginFailed as failure:
                held.failure, held.failed_at = failure, time.monotonic()
                raise
            held.failure, held.token = None, session.token
            held.until = now + max(session.seconds - _EARLY_SECONDS, session.seconds / 2)
            return session.token

    def _of(self, who: str) -> _Held:
        held = self._held.get(who)
        if held is None:
            held = self._held[who] = _Held()
            for other in list(self._held):
                if len(self._held) <= _MOST:
                    break
                if other != who and not self._held[other].lock.locked():
                    del self._held[other]
        self._held.move_to_end(who)
        return held


def seconds_of(told: Any) -> float:
    """The life of a session, as a login tells it: a number, or its digits."""
    if isinstance(told, str) and told.isdecimal() and len(told) < 10:
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int | float) or not told > 0:
        return DEFAULT_SECONDS
    return min(float(told), _LONGEST_SECONDS)


class Authorised:
    """Calls under a session; one that the provider does not take any more is renewed once.

    A call that is answered 401 was not looked at, so that making it again asks nobody twice.
    """

    def __init__(self, line: Line, sessions: Sessions) -> None:
        self._line = line
        self._sessions = sessions

    async def post(
        self,
        path: str,
        wanted: Mapping[str, Any],
        *,
        who: str = "",
        seconds: float,
        again: bool = False,
    ) -> Answer:
        """POST under the session of ``who``.

        Raises:
            LoginFailed: there is none.
            Exception: as ``Line.post``.
        """
        token = await self._sessions.token(who)
        answer = await self._post(path, wanted, token, seconds, again)
        if answer.status != httpx.codes.UNAUTHORIZED:
            return answer
        try:
            token = await self._sessions.token(who, ended=token)
        except LoginFailed as failed:
            raise LoginFailed(failed.reason, failed.reply, failed.pause, left=True) from None
        return await self._post(path, wanted, token, seconds, again)

    async def _post(
        self, path: str, wanted: Mapping[str, Any], token: str, seconds: float, again: bool
    ) -> Answer:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._line.post(path, wanted, seconds=seconds, headers=headers, again=again)
