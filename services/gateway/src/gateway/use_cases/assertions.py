"""``private_key_jwt``: a client signs who it is with a key of its own (RFC 7523, OIDC Core §9)."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import jwt

from common.auth import ALGORITHMS, LEEWAY_SECONDS, MALFORMED
from common.database import Database
from common.jwks import usable_key
from gateway.domain.clients import CLIENT_ID_PATTERN, Client
from gateway.store import registry, revoked

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_SECONDS = 300
"""From now until an assertion ends, at the most."""
_LONGEST_ASSERTION = 8 * 1024
_LONGEST_JTI = 200
_CLIENT_ID = re.compile(CLIENT_ID_PATTERN)
_TYPES = frozenset({"jwt", "client-authentication+jwt"})


class Assertions:
    """Checks assertions; each is good once, in whichever process it arrives.

    Args:
        database: where those used are put down.
        audiences: names of this token endpoint, one of which an assertion must be for.
        stand_in: a public key (JWK) that assertions of unknown clients are checked against, so
            that they take the same work.
    """

    def __init__(
        self, database: Database, audiences: Sequence[str], stand_in: Mapping[str, Any]
    ) -> None:
        self._database = database
        self._audiences = tuple(audiences)
        self._stand_in = dict(stand_in)

    async def client(self, assertion: str, client_id: str | None) -> Client | None:
        """The active client that signed this, or None for whatever is wrong with it.

        Args:
            assertion: the JWT.
            client_id: as the form names it, if it does; it must be the same.
        """
        named = subject_of(assertion)
        if named is None or (client_id is not None and client_id != named):
            return None
        async with self._database.reading() as connection:
            known = await registry.find(connection, named)
        claims = self._claims(assertion, named, known.keys if known else ())
        if claims is None or known is None or not known.active:
            return None
        expires_at = datetime.fromtimestamp(float(claims["exp"]) + LEEWAY_SECONDS, UTC)
        async with self._database.transaction() as connection:
            fresh = await revoked.use(connection, named, claims["jti"], expires_at)
        return known if fresh else None

    def _claims(
        self, assertion: str, client_id: str, keys: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """The claims if one of the keys has signed them and they say what they have to."""
        found = _candidates(assertion, keys)
        for key in found or _candidates(assertion, [self._stand_in], named=False):
            try:
                claims = jwt.decode(
                    assertion,
                    key,
                    algorithms=list(ALGORITHMS),
                    audience=self._audiences,
                    issuer=client_id,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["iss", "sub", "aud", "exp", "jti"]},
                )
            except MALFORMED:
                continue
            # Signed for us and for others it could be used here by one of those.
            alone = isinstance(claims["aud"], str) or len(claims["aud"]) == 1
            named = isinstance(claims["jti"], str) and 0 < len(claims["jti"]) <= _LONGEST_JTI
            short = float(claims["exp"]) - time.time() <= LONGEST_SECONDS + LEEWAY_SECONDS
            if found and alone and named and short and "\0" not in claims["jti"]:
                return claims
        return None


def subject_of(assertion: str) -> str | None:
    """Whom an assertion names, before anything of it is believed."""
    if len(assertion) > _LONGEST_ASSERTION:
        return None
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except MALFORMED:
        return None
    named = claims.get("sub")
    fits = isinstance(named, str) and _CLIENT_ID.fullmatch(named)
    return named if fits and claims.get("iss") == named else None


def _candidates(
    assertion: str, keys: Sequence[Mapping[str, Any]], *, named: bool = True
) -> list[jwt.PyJWK]:
    """Keys of the client that may have signed: its ``kid`` looks one up, where there is one."""
    try:
        header = jwt.get_unverified_header(assertion)
    except MALFORMED:
        return []
    kid, algorithm = header.get("kid"), header.get("alg")
    if algorithm not in ALGORITHMS or str(header.get("typ", "JWT")).lower() not in _TYPES:
        return []
    fitting = [key for key in keys if not named or kid is None or key.get("kid", kid) == kid]
    return [key for one in fitting if (key := usable_key(one, (str(algorithm),)))]
