"""Client systems and their rights."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

CLIENT_ID_PATTERN = r"^[A-Za-z0-9._~-]{1,64}$"

ALL = "*"
"""Every agency, or every procedure."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for; None is the gateway's default.

    Attributes:
        per_second: requests, on average.
        burst: requests at once.
        per_day: submissions of a day in Vietnam.
    """

    per_second: float | None = None
    burst: int | None = None
    per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A system that may call, with its rights: scopes, for agency subtrees, for procedures.

    Attributes:
        agencies: roots of subtrees in the new code form; ``*`` is all.
        procedures: codes of procedures; ``*`` is all.
        keys: public keys of ``private_key_jwt`` (JWKS members), if it has any.
        certificates: SHA-256 thumbprints (base64url) of the certificates it may present.
        external: issuer and subject of the tokens by which another issuer names it.
        sandbox: it works with simulators only.
        void_before: tokens issued earlier are void.
        second_hash: of the newer of two live secrets, while one takes the other's place.
        changed_at: when its rights were changed last.
    """

    client_id: str
    secret_hash: str
    scopes: tuple[str, ...]
    agencies: tuple[str, ...]
    active: bool
    procedures: tuple[str, ...] = (ALL,)
    keys: tuple[dict[str, Any], ...] = ()
    certificates: tuple[str, ...] = ()
    external: tuple[str, str] | None = None
    sandbox: bool = False
    limits: Limits = field(default_factory=Limits)
    void_before: datetime | None = None
    second_hash: str = ""
    changed_at: datetime | None = None

    @property
    def secret_hashes(self) -> tuple[str, ...]:
        """Of the secrets that are good now: none, one or two."""
        return tuple(hashed for hashed in (self.secret_hash, self.second_hash) if hashed)

    @property
    def stale_until(self) -> float:
        """Tokens issued up to this time (seconds of the epoch) say what is no longer so, or are
        void altogether."""
        moments = [moment for moment in (self.void_before, self.changed_at) if moment is not None]
        return max((moment.timestamp() for moment in moments), default=0.0)
