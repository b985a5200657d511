"""The national catalogue as the national portal answers it.

Seen in code that talks to the real portal, no specification: ``POST {username, password}`` with the
header ``dstcode`` gives a session; every call is ``POST {session, madonvi, service, …}`` with the
same header and answers ``{error_code, message?, result?}``. Success is told inconsistently: "0",
"00", or only by "thành công" in the message.
"""

import asyncio
import unicodedata
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from common.errors import describe

_LARGEST_ANSWER = 64 * 1024 * 1024  # bytes; the list of all procedures comes in one answer
_DONE = frozenset({"0", "00"})
_SESSION = ("phiên làm việc", "phiên đăng nhập", "session")


class PortalTrouble(Exception):
    """No usable answer. All calls only read, so each may be tried again.

    Args:
        reason: for operators.
        refused: the portal answered, and refused; asking again changes nothing.
    """

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.refused = reason, refused


@dataclass(frozen=True, slots=True)
class Account:
    """An account at the portal and where to use it."""

    login_url: str
    call_url: str
    username: str
    password: SecretStr
    unit: str
    dstcode: str


class Portal:
    """The portal's catalogue as one account sees it.

    Args:
        seconds: how long a call may take.
    """

    def __init__(self, http: httpx.AsyncClient, account: Account, *, seconds: float) -> None:
        self._http = http
        self._account = account
        self._seconds = seconds
        self._session: str | None = None
        self._renewing = asyncio.Lock()

    async def procedures(self) -> list[Any]:
        """``LayDanhSachTTHC``: rows that name procedures."""
        return await self._call("LayDanhSachTTHC")

    async def procedure(self, code: str) -> list[Any]:
        """``LayThuTuc``: the records of a code; none where the portal does not know it."""
        return await self._call("LayThuTuc", maTTHC=code)

    async def agencies(self) -> list[Any]:
        """``LayDanhMucCoQuan``."""
        return await self._call("LayDanhMucCoQuan")

    async def fields(self) -> list[Any]:
        """``LayDanhMucLinhVuc``."""
        return await self._call("LayDanhMucLinhVuc")

    async def _call(self, service: str, **arguments: str) -> list[Any]:
        """Call a service; a session that has ended is renewed once.

        Raises:
            PortalTrouble: no answer, or a refusal.
        """
        session = self._session or await self._renew(None)
        told = await self._ask(session, service, arguments)
        if _session_lost(told):
            told = await self._ask(await self._renew(session), service, arguments)
        if not _done(told):
            raise PortalTrouble(f"{service}: refused ({_code(told) or '-'})", refused=True)
        result = told.get("result")
        if isinstance(result, dict):
            return [result]
        return result if isinstance(result, list) else []

    async def _ask(self, session: str, service: str, arguments: dict[str, str]) -> dict[str, Any]:
        envelope = {"session": session, "madonvi": self._account.unit, "service": service}
        return await self._post(self._account.call_url, envelope | arguments)

    async def _renew(self, ended: str | None) -> str:
        """A session other than the one that has ended; many who ask at once share one login."""
        async with self._renewing:
            if self._session is not None and self._session != ended:
                return self._session
            self._session = None
            account = self._account
            body = {
                "username": account.username,
                "password": account.password.get_secret_value(),
            }
            told = await self._post(account.login_url, body)
            session = told.get("session")
            if not isinstance(session, str) or not session:
                raise PortalTrouble(f"login refused ({_code(told) or '-'})")
            self._session = session
            return session

    async def _post(self, url: str, body: dict[str, str]) -> dict[str, Any]:
        headers = {"content-type": "application/json", "dstcode": self._account.dstcode}
        content = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.stream(
                    "POST", url, content=orjson.dumps(body), headers=headers
                ) as response,
            ):
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _LARGEST_ANSWER:
                        raise PortalTrouble("answer too large", refused=True)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise PortalTrouble(describe(error)) from error
        if response.status_code >= 300:
            raise PortalTrouble(f"HTTP {response.status_code}")
        try:
            told = await asyncio.to_thread(orjson.loads, bytes(content))
        except orjson.JSONDecodeError:
            raise PortalTrouble("undecodable answer") from None
        if not isinstance(told, dict):
            raise PortalTrouble("answer of another form")
        return told


def _code(told: dict[str, Any]) -> str:
    return str(told.get("error_code", "")).strip()[:20]


def _message(told: dict[str, Any]) -> str:
    return unicodedata.normalize("NFC", str(told.get("message", ""))).casefold()


def _done(told: dict[str, Any]) -> bool:
    message = _message(told)
    if "không thành công" in message or "thất bại" in message:
        return False
    return _code(told) in _DONE or "thành công" in message


def _session_lost(told: dict[str, Any]) -> bool:
    return not _done(told) and any(words in _message(told) for words in _SESSION)
