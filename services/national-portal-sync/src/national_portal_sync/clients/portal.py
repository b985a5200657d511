"""Calls to the portal: session, envelope, and what a failed call may have done.

``POST {username, password}`` with the header ``dstcode`` gives a session; every call is ``POST
{session, madonvi, service, …}`` with the same header.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from common.delivery import Pace
from common.http import never_sent, retry_after
from national_portal_sync.clients.answers import Answer, Verdict, read
from national_portal_sync.clients.fields import Profile, Wire
from national_portal_sync.clients.questions import by_question

_LARGEST_ANSWER = 8 * 1024 * 1024  # bytes
_PATIENCE_SECONDS = 5.0
"""How long to leave the portal alone where it asks for patience without saying for how long, and
after a login that it refused (further ones might lock the account)."""
_OF_THE_CONTENT = frozenset({400, 413, 422})


class PortalTrouble(Exception):
    """A call without a usable answer.

    Args:
        reason: for operators, without anything of what was sent.
        pause: seconds for which the portal asked not to be called.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.pause = reason, pause


class NotTaken(PortalTrouble):
    """The portal certainly did nothing: it was not reached, or turned the call away."""


class NoAnswer(PortalTrouble):
    """The portal may have done what it was asked: the call was sent, the answer is not known."""


class LoginRefused(NotTaken):
    """The portal does not let this account in: nothing can be done for it until somebody acts."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the portal, where to use it, and for whom.

    Attributes:
        unit: ``madonvi`` of every call.
        agencies: the subtrees (roots, new form) that it speaks for; ``*`` for all others.
        profile: which fields the installation behind it takes.
        calls_per_second: how fast it may be used; None for no limit.
        parallel: calls at the same time.
        trouble: why it cannot be used as it stands.
    """

    login_url: str
    call_url: str
    username: str
    password: SecretStr
    unit: str
    dstcode: str
    name: str = "default"
    agencies: tuple[str, ...] = ("*",)
    profile: Profile = "2023"
    calls_per_second: float | None = None
    parallel: int = 4
    trouble: str | None = None


class NationalPortal:
    """The portal as one account sees it.

    Args:
        seconds: how long a call may take.
        pace: every call, logins and questions too, takes one of its tokens.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        account: Account,
        *,
        seconds: float,
        pace: Pace | None = None,
    ) -> None:
        self._http = http
        self._account = account
        self._pace = pace
        self._seconds = seconds
        self._session: str | None = None
        self._renewing = asyncio.Lock()
        self._refusal: PortalTrouble | None = None
        self._refused_at = 0.0

    async def sync(self, items: Sequence[Wire], *, update: bool) -> Answer:
        """Create dossiers, or update dossiers that the portal has."""
        return await self._call("DongBoHoSoMC", isUpdating=str(update), data=items)

    async def progress(self, items: Sequence[Wire]) -> Answer:
        """Add steps to dossiers that the portal has."""
        return await self._call("CapNhatTienDoHoSoMC", data=items)

    async def look_up(self, code: str) -> Answer:
        """Ask for a dossier."""
        return await self._call("TraCuuHoSo", mahoso=code)

    async def of_day(self, day: str) -> Answer:
        """Ask for the dossiers received on a day (``yyyyMMdd``). No such call is known of the real
        portal."""
        return await self._call("DanhSachHoSoTheoNgay", ngay=day)

    async def questions(self) -> Answer:
        """Ask for the questions that wait for an answer."""
        return await self._call("LayDanhSachHoiDapGuiTuDVCQG")

    async def answer(self, items: Sequence[Wire]) -> Answer:
        """Hand answers to questions in."""
        return by_question(await self._call("DongBoKetQuaHoiDapGuiTuDVCQG", data=items))

    async def _call(self, service: str, **arguments: Any) -> Answer:
        """Call a service; a session that has ended is renewed once.

        Raises:
            NotTaken: certainly nothing was done.
            NoAnswer: nobody can tell.
        """
        session = self._session or await self._renew(None)
        answer = await self._ask(session, service, arguments)
        if answer.verdict is Verdict.SESSION_LOST:
            answer = await self._ask(await self._renew(session), service, arguments)
        if answer.verdict is Verdict.SESSION_LOST:
            raise NotTaken(f"session not taken ({answer.code})")
        return answer

    async def _ask(self, session: str, service: str, arguments: dict[str, Any]) -> Answer:
        envelope = {"session": session, "madonvi": self._account.unit, "service": service}
        return read(await self._post(self._account.call_url, envelope | arguments))

    async def _renew(self, ended: str | None) -> str:
        """A session other than the one that has ended; many who ask at once share one login."""
        async with self._renewing:
            if self._session is not None and self._session != ended:
                return self._session
            self._session = None
            if self._refusal and time.monotonic() - self._refused_at < _PATIENCE_SECONDS:
                raise type(self._refusal)(self._refusal.reason, self._refusal.pause)
            try:
                self._session = await self._login()
            except PortalTrouble as trouble:
                kind = LoginRefused if isinstance(trouble, LoginRefused) else NotTaken
                self._refusal = kind(f"login: {trouble.reason}", trouble.pause)
                self._refused_at = time.monotonic()
                raise self._refusal from trouble
            self._refusal = None
            return self._session

    async def check(self) -> None:
        """Try the account with a login of its own, whose session is then used.

        Raises:
            LoginRefused: the portal does not let it in.
            PortalTrouble: it could not be tried.
        """
        async with self._renewing:
            self._session = await self._login()
            self._refusal = None

    async def _login(self) -> str:
        account = self._account
        body = {"username": account.username, "password": account.password.get_secret_value()}
        told = await self._post(account.login_url, body)
        session = told.get("session")
        if not isinstance(session, str) or not session:
            raise LoginRefused(f"refused ({read(told).code or 'without a code'})")
        return session

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post JSON and return the JSON object of the answer."""
        if self._pace is not None:
            await self._pace.take()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.stream(
                    "POST",
                    url,
                    content=orjson.dumps(body),
                    headers={
                        "content-type": "application/json",
                        "dstcode": self._account.dstcode,
                    },
                ) as response,
            ):
                content = await _content(response)
        except PortalTrouble:
            raise
        except Exception as error:
            trouble = NotTaken if never_sent(error) else NoAnswer
            raise trouble(type(error).__name__) from error
        return _judged(response, content)


async def _content(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise NoAnswer("answer too large")
    return b"".join(parts)


def _judged(response: httpx.Response, content: bytes) -> dict[str, Any]:
    """The answer's object, or what the status says of a call that has none."""
    status = response.status_code
    if status in {429, 503}:
        pause = retry_after(response)
        if pause is None and status == 429:
            pause = _PATIENCE_SECONDS
        if pause is not None:
            raise NotTaken(f"HTTP {status}", pause)
    if status >= 500:
        raise NoAnswer(f"HTTP {status}")
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        told = None
    if status == 401:
        return {"error_code": "401", "message": "session"}
    if status in _OF_THE_CONTENT:
        return told if isinstance(told, dict) else {"error_code": str(status)}
    if status >= 300:
        raise NotTaken(f"HTTP {status}")
    if not isinstance(told, dict):
        raise NoAnswer("undecodable answer")
    return told
