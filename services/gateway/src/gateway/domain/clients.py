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
