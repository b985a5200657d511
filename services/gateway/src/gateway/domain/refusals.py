"""Refused requests, as they are put down: who, from where, what form, why; nothing of the content.

They are part of the system log, which is kept for 12 months at least (NĐ 53/2022).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

AUDITED = range(400, 500)
"""Statuses that refuse; what failed here (5xx) is no refusal."""
OTHER = "other"
_TYPE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request, or the last of many that were alike.

    Attributes:
        client_id: who proved to be it; None for a stranger.
        claimed: who a stranger said to be.
        address: from where, in the form that the settings allow; None where they allow none.
        route: template of the path, never the path itself.
        type: last part of the problem's type.
        repeated: how many further ones were alike, in the same moment, and are not told singly.
    """

    id: UUID
    at: datetime
    client_id: str | None
    claimed: str | None
    address: str | None
    method: str
    route: str
    status: int
    type: str
    request_id: str
    repeated: int = 0


def type_of(told: object) -> str:
    """The kind of a refusal, from the member that tells it in one of our answers' forms.

    What is not a word of ours is told as ``other``: it could have come from outside.
    """
    word = str(told).rpartition(":")[2]
    return word if _TYPE.fullmatch(word) else OTHER
