"""Who calls the gateway: a token, and what the registry says of its client now.

A token says who calls and may say less than the registry; it never says more. So a client that
was switched off, a right that was taken away and a token that was revoked take effect here as soon
as the registry was read again, within seconds, whatever was issued before.
"""

import time
from dataclasses import dataclass

import jwt
from fastapi import Request

from common.auth import (
    LONGEST_TOKEN,
    MALFORMED,
    Principal,
    TokenChecker,
    checked_claims,
    invalid_token,
)
from common.contracts.codes import within
from gateway.domain.clients import ALL, Client
from gateway.use_cases.certificates import BadCertificate, Certificates
from gateway.use_cases.issuers import Issuers
from gateway.use_cases.registry import Registry
from gateway.use_cases.tokens import Tokens

_ACCESS_TOKEN = frozenset({"at+jwt", "application/at+jwt"})
_MOST_REMEMBERED = 5000


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token of our own says that its client may do."""

    scopes: frozenset[str]
    agencies: tuple[str, ...]
    procedures: frozenset[str]


@dataclass(slots=True)
class _Token:
    """A good token, and who its client was when it was asked for last.

    Attributes:
        client_id: of our own tokens; ``external`` names the client otherwise.
        rights: None where the token says nothing of them.
        bound: thumbprint of the certificate that has to come with it.
    """

    text: str
    until: float
    issued_at: float
    jti: str
    client_id: str
    external: tuple[str, str] | None
    rights: Rights | None
    bound: str | None
    client: Client | None = None
    principal: Principal | None = None


class Callers(TokenChecker):
    """Turns the token of a request into a principal with the rights of the registry.

    Args:
        tokens: what the gateway issues itself.
        registry: the clients.
        issuers: others that may name them.
        certificates: what proxies tell of clients' certificates.
    """

    def __init__(
        self, tokens: Tokens, registry: Registry, issuers: Issuers, certificates: Certificates
    ) -> None:
        self._tokens = tokens
        self._own_keys = tokens.key.token_keys()
        self._registry = registry
        self._issuers = issuers
        self._certificates = certificates
        self._known: dict[str, _Token] = {}

    async def admit(self, request: Request, token: str) -> Principal:
        """The principal of a request with this token.

        Raises:
            Unauthorised: the token is no good, or not without its certificate.
            NotReady: the registry or an issuer's keys are not to be had.
        """
        known = await self._token(token)
        if known.bound is not None:
            peer = request.client.host if request.client else None
            try:
                shown = self._certificates.thumbprint(peer, request.headers.getlist("client-cert"))
            except BadCertificate as error:
                raise invalid_token() from error
            if shown != known.bound:
                raise invalid_token()
        return await self._principal(known)

    async def check(self, token: str) -> Principal:
        """As ``admit``, where there is no certificate to be seen."""
        known = await self._token(token)
        if known.bound is not None:
            raise invalid_token()
        return await self._principal(known)

    async def _principal(self, known: _Token) -> Principal:
        if not self._registry.is_fresh:
            await self._registry.freshen()
        client = self._client(known)
        if client is None:
            await self._registry.look_again()
            client = self._client(known)
        if (
            client is None
            or not client.active
            or known.jti in self._registry.revoked
            or (client.void_before and known.issued_at <= client.void_before.timestamp())
            or (known.bound is not None and known.bound not in client.certificates)
        ):
            raise invalid_token()
        if known.principal is None or known.client is not client:
            known.client, known.principal = client, _principal(known, client)
        return known.principal

    def _client(self, known: _Token) -> Client | None:
        if known.external is not None:
            return self._registry.known_as(*known.external)
        return self._registry.client(known.client_id)

    async def _token(self, token: str) -> _Token:
        known = self._known.get(token)
        if known is None or known.until <= time.time():
            known = await self._read(token)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[token] = known
        return known

    async def _read(self, token: str) -> _Token:
        """A token is its issuer's; which one it names only chooses what it is checked against."""
        if len(token) > LONGEST_TOKEN:
            raise invalid_token()
        try:
            header = jwt.get_unverified_header(token)
            named = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except MALFORMED as error:
            raise invalid_token() from error
        rights: Rights | None
        external: tuple[str, str] | None
        if isinstance(named, str) and named in self._issuers:
            claims, subject = await self._issuers.claims(named, token)
            rights, client_id, external = None, "", (named, subject)
        else:
            if str(header.get("typ")).lower() not in _ACCESS_TOKEN:
                raise invalid_token()
            claims = await checked_claims(
                token, self._own_keys, self._tokens.issuer, self._tokens.audience
            )
            if not isinstance(claims.get("client_id"), str) or "inner" in claims:
                raise invalid_token()
            client_id, external = claims["client_id"], None
            rights = Rights(
                frozenset(str(claims.get("scope", "")).split()),
                tuple(_texts(claims.get("agencies"))),
                frozenset(_texts(claims.get("procedures"))),
            )
        return _Token(
            text=token,
            until=float(claims["exp"]),
            issued_at=float(claims["iat"]),
            jti=str(claims.get("jti")) if external is None else "",
            client_id=client_id,
            external=external,
            rights=rights,
            bound=_bound(claims.get("cnf")) if "cnf" in claims else None,
        )


def _principal(known: _Token, client: Client) -> Principal:
    scopes, agencies = frozenset(client.scopes), client.agencies
    procedures = frozenset(client.procedures)
    if known.rights is not None:
        scopes &= known.rights.scopes
        agencies = _common(agencies, known.rights.agencies)
        procedures = (
            procedures & known.rights.procedures
            | (procedures if ALL in known.rights.procedures else frozenset())
            | (known.rights.procedures if ALL in procedures else frozenset())
        )
    return Principal(
        client_id=client.client_id,
        scopes=scopes,
        agencies=agencies,
        token=known.text,
        procedures=procedures,
        sandbox=client.sandbox,
    )


def _common(held: tuple[str, ...], said: tuple[str, ...]) -> tuple[str, ...]:
    """Roots of the subtrees that lie in both."""
    if held == said:
        return held
    narrower = [one for one in held if any(within(one, other) for other in said)]
    narrower += [one for one in said if any(within(one, other) for other in held)]
    return tuple(dict.fromkeys(narrower))


def _bound(claim: object) -> str:
    """The certificate of a bound token; another binding than this is none that can be checked."""
    match claim:
        case {"x5t#S256": str(thumbprint), **others} if not others:
            return thumbprint
    raise invalid_token()


def _texts(claim: object) -> list[str]:
    if isinstance(claim, str):
        return [claim]
    return [str(one) for one in claim] if isinstance(claim, list) else []
