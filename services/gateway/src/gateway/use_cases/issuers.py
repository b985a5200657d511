"""Other issuers (OpenID Connect) whose access tokens name clients of the registry.

Their tokens say who calls, and nothing else: what the client may do stands in the registry.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.auth import TokenKeys, checked_claims, invalid_token
from common.jwks import ASYMMETRIC

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_JWKS_BYTES = 512 * 1024
_TIMEOUT_SECONDS = 5.0
_LONGEST_SUBJECT = 255


class ExternalIssuer(BaseModel):
    """An issuer that is trusted to name clients."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(min_length=1, max_length=500)
    """The claim ``iss``, to the letter."""
    jwks_url: str
    """Where its public keys are; the only place from which they are ever taken."""
    audience: str = Field(min_length=1, max_length=500)
    """What its tokens for this gateway carry as ``aud``."""
    algorithms: tuple[str, ...] = Field(default=("ES256", "PS256", "RS256"), min_length=1)
    subject_claim: str = Field(default="sub", min_length=1, max_length=100)
    """The claim that names the client; ``azp`` or ``client_id`` at some issuers."""

    @field_validator("jwks_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        parts = urlsplit(url)
        loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not (loopback or (parts.scheme == "https" and parts.hostname)):
            raise ValueError("must begin with https:// (http:// on this machine only)")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials")
        return url

    @field_validator("algorithms")
    @classmethod
    def _asymmetric(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(algorithms) - ASYMMETRIC:
            raise ValueError(f"not allowed: {', '.join(sorted(unknown))}")
        return algorithms


class Issuers:
    """Checks the tokens of other issuers.

    Args:
        http: fetches their keys.
        trusted: who they are.
    """

    def __init__(self, http: httpx.AsyncClient, trusted: Sequence[ExternalIssuer]) -> None:
        self._http = http
        self._trusted: Mapping[str, tuple[ExternalIssuer, TokenKeys]] = {
            one.issuer: (one, self._keys(one)) for one in trusted
        }

    def __contains__(self, issuer: object) -> bool:
        return issuer in self._trusted

    async def claims(self, issuer: str, token: str) -> tuple[dict[str, Any], str]:
        """The claims of a good token of this issuer, and who it says calls.

        Raises:
            Unauthorised: it is none, or names nobody.
            NotReady: the issuer's keys are not to be had.
        """
        one, keys = self._trusted[issuer]
        claims = await checked_claims(token, keys, one.issuer, one.audience, one.algorithms)
        subject = claims.get(one.subject_claim)
        if not (isinstance(subject, str) and 0 < len(subject) <= _LONGEST_SUBJECT):
            raise invalid_token()
        return claims, subject

    def _keys(self, one: ExternalIssuer) -> TokenKeys:
        async def fetch() -> dict[str, Any]:
            got = bytearray()
            async with self._http.stream(
                "GET",
                one.jwks_url,
                headers={"accept": "application/jwk-set+json, application/json"},
                follow_redirects=False,
                timeout=_TIMEOUT_SECONDS,
            ) as answer:
                answer.raise_for_status()
                async for part in answer.aiter_bytes():
                    got += part
                    if len(got) > _MOST_JWKS_BYTES:
                        raise ValueError("too many keys")
            return dict(orjson.loads(bytes(got)))

        return TokenKeys(fetch, one.algorithms)
