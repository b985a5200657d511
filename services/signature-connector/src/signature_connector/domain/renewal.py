"""When an archive timestamp is renewed (EN 319 142-1, level B-LTA).

A timestamp proves something for as long as the certificate of its authority can be judged; a newer
one over it, made before that ends, carries the proof on.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

_SPREAD = 3
_LONGEST_PAUSE = timedelta(days=1)
_LATE = 3


@dataclass(frozen=True, slots=True)
class Schedule:
    """When documents are due.

    Attributes:
        margin: how long before the end of the authority's certificate a document is due at the
            latest; some are due up to a third of that earlier, so that not all documents of one
            authority are due at once.
        first: shortest pause between two tries.
    """

    margin: timedelta
    first: timedelta

    def due(self, ends: datetime, request_id: UUID) -> datetime:
        """The moment from which a document is renewed; the same whoever works it out.

        Args:
            ends: of the certificate of the authority that made the newest timestamp.
        """
        drawn = hashlib.sha256(request_id.bytes).digest()[:4]
        return ends - self.margin - self.margin / _SPREAD * (int.from_bytes(drawn) / 2**32)

    def again(self, since: datetime, now: datetime, ends: datetime | None) -> datetime:
        """When a renewal that did not work is tried again: after a quarter of the time for which
        it was tried, a day at the most.

        Args:
            since: when it was tried first.
            ends: nothing is tried later; None: not known.
        """
        pause = min(max((now - since) / 4, self.first), _LONGEST_PAUSE)
        return now + pause if ends is None else min(now + pause, ends)

    def tomorrow(self, now: datetime, ends: datetime) -> datetime:
        """When to try again where only time can help."""
        return min(now + _LONGEST_PAUSE, ends)

    def late(self, ends: datetime, now: datetime) -> bool:
        """Whether so little time is left that a timestamp without all that should come with it is
        better than none."""
        return ends - now < self.margin / _LATE


def worthwhile(before: datetime, after: datetime, now: datetime) -> bool:
    """Whether a timestamp carries the proof on far enough.

    Most authorities change their certificate long before it ends, but a token by the same one, or
    one that ends hardly later, only makes the document longer. What at least doubles the time that
    is left is worth it: little is enough shortly before the end.

    Args:
        before, after: when the authority's certificate ends, of the timestamp before and of the
            new one.
    """
    return after > before and after - before >= before - now
