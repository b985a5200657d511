"""Tokens that are void before their end, as the gateway tells it to services that check tokens
themselves.

The gateway publishes one small document (``GET /oauth/revoked``)::

    {"clients": {MARK: seconds}, "tokens": [MARK, …]}

A mark is a digest of a client's or a token's id, so that the document names nobody. Tokens of a
client that were issued up to the time beside its mark are void; so is each token listed.
"""

import asyncio
import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import httpx
import structlog

from common.errors import describe

log = structlog.get_logger()

_MARK_LENGTH = 27
_AGAIN_SECONDS = 2.0
_TOLD_AT_FAILURE = 5
_TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 8 * 1024 * 1024


def mark(kind: str, identifier: str) -> str:
    """What stands for a client (``kind`` "client") or a token's ``jti`` ("token")."""
    digest = hashlib.sha256(f"{kind}\0{identifier}".encode()).digest()
    return urlsafe_b64encode(digest).decode()[:_MARK_LENGTH]


class Revocations:
    """What was told last; it stays in force while the gateway cannot be asked.

    Args:
        http: asks.
        url: of the document; None: nothing is ever void before its end.
        seconds: pause between two questions.
    """

    def __init__(self, http: httpx.AsyncClient, url: str | None, seconds: float) -> None:
        self._http = http
        self._url = url
        self._seconds = seconds
        self._tag = ""
        self._clients: Mapping[str, float] = {}
        self._tokens: frozenset[str] = frozenset()

    def voids(self, client_mark: str, token_mark: str, issued_at: float) -> bool:
        """Whether a token is void.

        Args:
            client_mark, token_mark: see ``mark``.
            issued_at: its claim ``iat``.
        """
        return (
            issued_at <= self._clients.get(client_mark, float("-inf")) or token_mark in self._tokens
        )

    async def run(self) -> None:
        """Ask again and again (an endless worker)."""
        failures = 0
        while self._url is not None:
            try:
                await self.refresh()
                failures = 0
            except Exception as error:
                failures += 1
                if failures == _TOLD_AT_FAILURE:  # once for each time that it goes away
                    log.warning("revoked tokens not to be had", error=describe(error))
            await asyncio.sleep(min(self._seconds, _AGAIN_SECONDS) if failures else self._seconds)
        await asyncio.Event().wait()

    async def refresh(self) -> None:
        """Ask once.

        Raises:
            httpx.HTTPError: there is no answer, or no good one.
            ValueError: it is not the document.
        """
        if self._url is None:
            return
        asked = {"if-none-match": self._tag} if self._tag else {}
        answer = await self._http.get(
            self._url, headers=asked, follow_redirects=False, timeout=_TIMEOUT_SECONDS
        )
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return
        answer.raise_for_status()
        if answer.status_code != httpx.codes.OK or len(answer.content) > _MOST_BYTES:
            raise ValueError("not the document of revoked tokens")
        self._clients, self._tokens = _read(answer.json())
        self._tag = answer.headers.get("etag", "")


def _read(told: Any) -> tuple[dict[str, float], frozenset[str]]:
    match told:
        case {"clients": dict(clients), "tokens": list(tokens)}:
            read = {str(name): float(at) for name, at in clients.items()}
            return read, frozenset(map(str, tokens))
    raise ValueError("not the document of revoked tokens")
