"""Timestamps (RFC 3161) as they are asked for."""

from dataclasses import dataclass, field
from datetime import timedelta

CLOCKS_APART = timedelta(minutes=1)
"""How far an authority's clock and our own may differ."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a time-stamping authority.

    Attributes:
        imprint: SHA-256 of what is to be stamped.
        nonce: tells this answer from one to another request.
        policy: under which tokens have to be made (dotted identifier); None: any.
    """

    imprint: bytes = field(repr=False)
    nonce: int
    policy: str | None = None
