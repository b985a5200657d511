"""Tokens are made void before their end, and services that check tokens themselves are told."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import orjson

from common.auth import LEEWAY_SECONDS, LONGEST_TOKEN, MALFORMED
from common.database import Database
from common.revocations import mark
from gateway.store import registry, revoked
from gateway.use_cases.registry import Registry
from gateway.use_cases.tokens import Tokens

_LONGEST_LIFE = timedelta(hours=24, seconds=2 * LEEWAY_SECONDS).total_seconds()
_MOST_OF_CLIENT = 1000
_ALGORITHM = "ES256"


class Revocation:
    """Revokes tokens.

    Args:
        database: where that is put down.
        clients: the registry as requests see it.
        tokens: what may be revoked here: tokens of our own.
    """

    def __init__(self, database: Database, clients: Registry, tokens: Tokens) -> None:
        self._database = database
        self._clients = clients
        self._tokens = tokens
        self._document: tuple[tuple[int, int], bytes, str] | None = None

    async def of_token(self, client_id: str, token: str) -> bool:
        """Revoke a client's token; what is no good token (any more) needs nothing.

        A client with a thousand revoked tokens at once has all its tokens made void instead, so
        that the list stays short.

        Returns:
            False: it is another client's, and stays good.
        """
        claims = self._claims(token)
        if claims is None:
            return True
        if claims.get("client_id") != client_id:
            return False
        expires_at = datetime.fromtimestamp(float(claims["exp"]) + LEEWAY_SECONDS, UTC)
        async with self._database.transaction() as connection:
            if await registry.locked(connection, client_id) is None:
                return True
            if await revoked.live_of(connection, client_id) >= _MOST_OF_CLIENT:
                await registry.void(connection, client_id)
            else:
                await revoked.revoke(connection, client_id, str(claims["jti"]), expires_at)
        await self._clients.refresh()
        return True

    async def document(self) -> tuple[bytes, str]:
        """What ``common.revocations`` reads, and its entity tag.

        Raises:
            NotReady: the registry is not to be had.
        """
        if not self._clients.is_fresh:
            await self._clients.freshen()
        now = time.time()
        key = self._clients.edition, int(now // 60)
        if self._document is None or self._document[0] != key:
            clients = {
                mark("client", client.client_id): client.stale_until
                for client in self._clients.clients.values()
                if client.stale_until > now - _LONGEST_LIFE
            }
            tokens = sorted(mark("token", jti) for jti in self._clients.revoked)
            body = orjson.dumps({"clients": clients, "tokens": tokens}, option=orjson.OPT_SORT_KEYS)
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._document = key, body, tag
        return self._document[1:]

    def _claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that was issued here and has not expired."""
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._tokens.key.private.public_key(),
                algorithms=[_ALGORITHM],
                audience=self._tokens.audience,
                issuer=self._tokens.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "jti", "client_id"]},
            )
        except MALFORMED:
            return None
        return claims
