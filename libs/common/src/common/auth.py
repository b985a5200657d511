"""Who calls, and what they may do: access tokens (JWT, RFC 9068 claims), scopes, agencies.

A right is a scope for an agency subtree and a set of procedures. Nothing is allowed that no token
says.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import httpx
import jwt
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from common.contracts.codes import within
from common.errors import Forbidden, NotReady, Unauthorised, describe
from common.jwks import usable_key
from common.revocations import Revocations, mark
from common.settings import ClientSettings, TokenSettings

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
LEEWAY_SECONDS = 30
"""By which clocks may differ."""
LONGEST_TOKEN = 16 * 1024
"""Characters."""
TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
"""Values of the header ``typ`` (RFC 9068 §4), in lower case: receipts and assertions are no access
tokens, whoever signed them."""
MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a token can raise that is none."""
_KEYS_FRESH_SECONDS = 300.0
_KEYS_RETRY_SECONDS = 30.0
_UNKNOWN_KEY_SECONDS = 2.0
_MOST_CACHED = 2000

log = structlog.get_logger()

bearer = HTTPBearer(auto_error=False, description="Access token of the gateway (OAuth 2)")


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

    def may_handle(self, procedure: str | None) -> bool:
        """Whether the procedure (its code) is one that it deals with; of what is about none, or
        about one that is not known here, only who deals with all may know."""
        return procedure in self.procedures or "*" in self.procedures


class TokenKeys:
    """The issuer's public keys, fetched when one is unknown or they are old; not more often than
    every few seconds, whatever is asked for."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[dict[str, Any]]],
        algorithms: Sequence[str] = ALGORITHMS,
    ) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
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
            keys = [usable_key(jwk, self._algorithms) for jwk in told["keys"]]
        except Exception as error:
            log.warning("token keys not to be had", error=describe(error))
            return
        self._keys = {key.key_id: key for key in keys if key and key.key_id}
        self._fetched_at = self._tried_at


def keys_over_http(http: httpx.AsyncClient, url: str) -> TokenKeys:
    """Keys from the issuer's JWKS address."""

    async def fetch() -> dict[str, Any]:
        answer = await http.get(url)
        answer.raise_for_status()
        return dict(answer.json())

    return TokenKeys(fetch)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A good token, with what can make it void before its end."""

    until: float
    issued_at: float
    client_mark: str
    token_mark: str
    inner: bool
    principal: Principal


class TokenChecker:
    """Turns a bearer token into a principal, remembering what it has checked.

    A token that is bound to a certificate (``cnf``, RFC 8705) is good at the gateway alone, which
    sees the certificate. One that the gateway made for a single call (``inner``) says what the
    registry says now, so that revocations of the client are no matter here.

    Args:
        settings: issuer and audience.
        keys: the issuer's.
        revocations: tokens that are void before their end.
    """

    def __init__(
        self, settings: TokenSettings, keys: TokenKeys, revocations: Revocations | None = None
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._revocations = revocations
        self._checked: dict[str, _Checked] = {}

    async def admit(self, request: Request, token: str) -> Principal:
        """The principal of a request with this token.

        Raises:
            Unauthorised, NotReady: see ``check``.
        """
        return await self.check(token)

    async def check(self, token: str) -> Principal:
        """The principal of a valid token.

        Raises:
            Unauthorised: malformed, expired, revoked, of another issuer or audience, badly
                signed, or bound to a certificate.
            NotReady: the issuer's keys are not to be had.
        """
        known = self._checked.get(token)
        if known is None or known.until <= time.time():
            known = await self._check(token)
            if len(self._checked) >= _MOST_CACHED:
                self._checked.clear()
            self._checked[token] = known
        if (
            self._revocations is not None
            and not known.inner
            and self._revocations.voids(known.client_mark, known.token_mark, known.issued_at)
        ):
            raise invalid_token()
        return known.principal

    async def _check(self, token: str) -> _Checked:
        claims = await checked_claims(
            token, self._keys, self._settings.token_issuer, self._settings.token_audience
        )
        if "cnf" in claims or "client_id" not in claims:
            raise invalid_token()
        principal = Principal(
            client_id=str(claims["client_id"]),
            scopes=frozenset(str(claims.get("scope", "")).split()),
            agencies=_texts(claims.get("agencies", ())),
            token=token,
            procedures=frozenset(_texts(claims.get("procedures", ()))),
            sandbox=claims.get("sandbox") is True,
        )
        return _Checked(
            until=float(claims["exp"]),
            issued_at=float(claims["iat"]),
            client_mark=mark("client", principal.client_id),
            token_mark=mark("token", str(claims.get("jti"))),
            inner=claims.get("inner") is True,
            principal=principal,
        )


async def checked_claims(
    token: str,
    keys: TokenKeys,
    issuer: str,
    audience: str,
    algorithms: Sequence[str] = ALGORITHMS,
) -> dict[str, Any]:
    """The claims of an access token that is what it says.

    The key comes from ``keys`` alone: ``kid`` only looks it up, and what else a header may name
    (``jku``, ``x5u``, ``jwk``) is not read. The algorithm is the key's own.

    Raises:
        Unauthorised: it is not.
        NotReady: the issuer's keys are not to be had.
    """
    try:
        if len(token) > LONGEST_TOKEN:
            raise jwt.DecodeError("too long")
        header = jwt.get_unverified_header(token)
        if str(header.get("typ", "JWT")).lower() not in TOKEN_TYPES:
            raise jwt.InvalidTokenError("not an access token")
        key = await keys.get(str(header.get("kid")))
        return jwt.decode(
            token,
            key,
            algorithms=list(algorithms),
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "iss", "aud"]},
        )
    except MALFORMED as error:
        raise invalid_token() from error


def invalid_token() -> Unauthorised:
    """The refusal of a token, whatever is wrong with it (RFC 6750 §3.1)."""
    return Unauthorised(
        "Token không hợp lệ hoặc đã hết hạn",
        "The token is invalid or has expired",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def _texts(claim: object) -> tuple[str, ...]:
    """The claim as a list, also where it is one text such as ``*``; anything else is no right."""
    if isinstance(claim, str):
        return (claim,)
    return tuple(str(code) for code in claim) if isinstance(claim, list | tuple) else ()


async def principal_of(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Principal:
    """The caller (a dependency of routes).

    Raises:
        Unauthorised: no valid bearer token, or more than one.
    """
    if credentials is None or len(request.headers.getlist("authorization")) > 1:
        raise Unauthorised(
            "Cần token truy cập",
            "An access token is needed",
            headers={"WWW-Authenticate": "Bearer"},
        )
    checker: TokenChecker = request.app.state.core.tokens
    principal = await checker.admit(request, credentials.credentials)
    request.state.principal = principal
    await admit(request.app.state, principal)
    return principal


async def admit(state: Any, principal: Principal) -> None:
    """Let a principal's request through, as the service's ``admission`` does where it has one.

    Raises:
        TooManyRequests: it asks too often.
    """
    admission: Callable[[Principal], Awaitable[None]] | None = getattr(state, "admission", None)
    if admission is not None:
        await admission(principal)


def requires(scope: str, *, procedures: Literal["some", "all", "unasked"] = "some") -> Any:
    """A dependency that yields the principal if its token carries the scope.

    Args:
        procedures: ``some``: it deals with one at least, and the route looks at which; ``all``:
            with every one, since what the route shows or does cannot be told apart by procedure;
            ``unasked``: a route for services, which have to see everything.
    """

    async def check(
        principal: Annotated[Principal, Depends(principal_of)],
    ) -> Principal:
        if scope not in principal.scopes:
            raise Forbidden(
                f"Token không có quyền {scope}",
                f"The token does not carry the scope {scope}",
            )
        if procedures == "some" and not principal.procedures:
            raise Forbidden(
                "Token không có quyền với thủ tục nào", "The token deals with no procedure"
            )
        if procedures == "all" and not principal.may_handle("*"):
            raise Forbidden(
                "Chỉ dành cho token có quyền với mọi thủ tục",
                "Only for tokens that deal with every procedure",
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
