"""Who calls, and what they may do: access tokens (JWT, RFC 9068 claims), scopes, agencies.

A right is a scope for an agency subtree. Nothing is allowed that no token says.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import jwt
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from common.contracts.codes import within
from common.errors import Forbidden, NotReady, Unauthorised, describe
from common.settings import ClientSettings, TokenSettings

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
_LEEWAY_SECONDS = 30
_KEYS_FRESH_SECONDS = 300.0
_KEYS_RETRY_SECONDS = 30.0
_UNKNOWN_KEY_SECONDS = 2.0
_MOST_CACHED = 2000

log = structlog.get_logger()

_bearer = HTTPBearer(auto_error=False, description="Access token of the gateway (OAuth 2)")


@dataclass(frozen=True, slots=True)
class Principal:
    """A client with its rights.

    Attributes:
        agencies: roots of the subtrees it acts for, in the new code form; ``*`` for all.
        procedures: codes of the procedures it deals with; ``*`` for all.
        sandbox: it works with simulators only.
    """

    client_id: str
    scopes: frozenset[str]
    agencies: tuple[str, ...]
    token: str
    procedures: frozenset[str] = frozenset()
    sandbox: bool = False

    def may_act_for(self, agency: str) -> bool:
        """Whether the agency (new form) lies in one of its subtrees."""
        return any(within(agency, subtree) for subtree in self.agencies)

    def may_handle(self, procedure: str) -> bool:
        """Whether the procedure (its code) is one that it deals with."""
        return procedure in self.procedures or "*" in self.procedures


class TokenKeys:
    """The issuer's public keys, fetched when one is unknown or they are old; not more often than
    every few seconds, whatever is asked for."""

    def __init__(self, fetch: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -math.inf
        self._lock = asyncio.Lock()

    async def get(self, key_id: str) -> jwt.PyJWK:
        """The key of this id.

        Raises:
            NotReady: the issuer cannot be asked and the key is not known.
            Unauthorised: the issuer has no such key.
        """
        if self._asks_for(key_id):
            async with self._lock:
                if self._asks_for(key_id):
                    await self._refresh()
        if key_id in self._keys:
            return self._keys[key_id]
        if self._fetched_at < self._tried_at:
            raise NotReady(
                "Chưa kiểm tra được token",
                "Tokens cannot be checked now",
                headers={"Retry-After": "2"},
            )
        raise Unauthorised("Khóa ký của token không được biết", "Unknown signing key")

    def _asks_for(self, key_id: str) -> bool:
        now = time.monotonic()
        if key_id not in self._keys:
            return now - self._tried_at > _UNKNOWN_KEY_SECONDS
        return (
            now - self._fetched_at > _KEYS_FRESH_SECONDS
            and now - self._tried_at > _KEYS_RETRY_SECONDS
        )

    async def _refresh(self) -> None:
        """Fetch the keys; those known stay in use where the issuer cannot be asked."""
        self._tried_at = time.monotonic()
        try:
            told = await self._fetch()
            keys = jwt.PyJWKSet.from_dict(told).keys if told["keys"] else []
        except Exception as error:
            log.warning("token keys not to be had", error=describe(error))
            return
        self._keys = {key.key_id: key for key in keys if key.key_id}
        self._fetched_at = self._tried_at


def keys_over_http(http: httpx.AsyncClient, url: str) -> TokenKeys:
    """Keys from the issuer's JWKS address."""

    async def fetch() -> dict[str, Any]:
        answer = await http.get(url)
        answer.raise_for_status()
        return dict(answer.json())

    return TokenKeys(fetch)


class TokenChecker:
    """Turns a bearer token into a principal, remembering what it has checked."""

    def __init__(self, settings: TokenSettings, keys: TokenKeys) -> None:
        self._settings = settings
        self._keys = keys
        self._checked: dict[str, tuple[float, Principal]] = {}

    async def check(self, token: str) -> Principal:
        """The principal of a valid token.

        Raises:
            Unauthorised: malformed, expired, of another issuer or audience, or badly signed.
            NotReady: the issuer's keys are not to be had.
        """
        known = self._checked.get(token)
        if known is not None and known[0] > time.time():
            return known[1]
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.get(str(header.get("kid")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.token_audience,
                issuer=self._settings.token_issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "client_id"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthorised(
                "Token không hợp lệ hoặc đã hết hạn",
                "The token is invalid or has expired",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            ) from error
        principal = Principal(
            client_id=str(claims["client_id"]),
            scopes=frozenset(str(claims.get("scope", "")).split()),
            agencies=_texts(claims.get("agencies", ())),
            token=token,
            procedures=frozenset(_texts(claims.get("procedures", ()))),
            sandbox=claims.get("sandbox") is True,
        )
        if len(self._checked) >= _MOST_CACHED:
            self._checked.clear()
        self._checked[token] = (float(claims["exp"]), principal)
        return principal


def _texts(claim: object) -> tuple[str, ...]:
    """The claim as a list, also where it is one text such as ``*``; anything else is no right."""
    if isinstance(claim, str):
        return (claim,)
    return tuple(str(code) for code in claim) if isinstance(claim, list | tuple) else ()


async def principal_of(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """The caller (a dependency of routes).

    Raises:
        Unauthorised: no valid bearer token.
    """
    if credentials is None:
        raise Unauthorised(
            "Cần token truy cập",
            "An access token is needed",
            headers={"WWW-Authenticate": "Bearer"},
        )
    checker: TokenChecker = request.app.state.core.tokens
    return await checker.check(credentials.credentials)


def requires(scope: str) -> Any:
    """A dependency that yields the principal if its token carries the scope."""

    async def check(
        principal: Annotated[Principal, Depends(principal_of)],
    ) -> Principal:
        if scope not in principal.scopes:
            raise Forbidden(
                f"Token không có quyền {scope}",
                f"The token does not carry the scope {scope}",
            )
        return principal

    check.scope = scope  # type: ignore[attr-defined]  # read by the test of rights
    return Depends(check)


class OwnToken:
    """A service's own token for calls to other services (client credentials)."""

    def __init__(self, settings: ClientSettings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        self._token = ""
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def headers(self) -> dict[str, str]:
        """The Authorization header; the token is renewed a minute before it ends.

        Raises:
            httpx.HTTPError: the issuer cannot be asked or refuses.
        """
        async with self._lock:
            if time.monotonic() > self._until:
                secret = self._settings.client_secret
                if not (self._settings.token_url and self._settings.client_id and secret):
                    return {}
                answer = await self._http.post(
                    self._settings.token_url,
                    data={"grant_type": "client_credentials"},
                    auth=(self._settings.client_id, secret.get_secret_value()),
                )
                answer.raise_for_status()
                body = answer.json()
                self._token = str(body["access_token"])
                self._until = time.monotonic() + float(body["expires_in"]) - 60
        return {"Authorization": f"Bearer {self._token}"}

    def forget(self) -> None:
        """The token was refused, though it should still be good: keys or clocks have changed."""
        self._until = 0.0
