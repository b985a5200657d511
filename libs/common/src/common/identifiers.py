"""Time-ordered identifiers (UUIDv7, RFC 9562) and the time bounds they allow."""

import os
import time
from datetime import UTC, datetime
from uuid import UUID

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_RANDOM_BITS = (1 << 76) - 1 - (0x3 << 62)  # 12 + 62 random bits, without the variant's place


def new_id() -> UUID:
    """A UUIDv7: 48 bits of Unix milliseconds, the rest random."""
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM_BITS
    return UUID(int=(time.time_ns() // 1_000_000 << 80) | _VERSION_AND_VARIANT | random)


def lowest_id_at(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment: the bound of a partition by time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def moment_of(identifier: UUID) -> datetime:
    """When a UUIDv7 was made."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)
