"""What can be asked of the message log."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from uuid import UUID

from gateway.domain.proof import moment

_VIETNAM = timezone(timedelta(hours=7))


def moment_of(text: str) -> datetime:
    """A moment with its offset (RFC 3339).

    Raises:
        ValueError: it is none, or says no offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a moment needs an offset, such as Z or +07:00")
    return at


class NotInTheLog(LookupError):
    """The message log has nothing of what was asked for, or not here any more."""


class TooManyChosen(ValueError):
    """More single exchanges than one export proves."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A run of blocks of one partition."""

    partition: int
    first_block: int
    last_block: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Single exchanges: those that fit all that is given.

    Attributes:
        subject: what they were about, as records name it.
        submission: that one, and what was told of it.
        dossier: a dossier code; what was told of its submissions is part of it.
        client_id: whose they were.
        since, until: when they had come; the end is not part of it.
    """

    subject: str | None = None
    submission: UUID | None = None
    dossier: str | None = None
    client_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def told(self) -> dict[str, str]:
        """As the manifest says it."""
        given = {
            "subject": self.subject,
            "submission": self.submission,
            "dossier": self.dossier,
            "client_id": self.client_id,
        }
        times = {"since": self.since, "until": self.until}
        return {name: str(value) for name, value in given.items() if value is not None} | {
            name: moment(at) for name, at in times.items() if at is not None
        }


@dataclass(frozen=True, slots=True)
class Days:
    """What was sealed on these days, the last one included, in Vietnam's time."""

    first: date
    last: date

    def told(self) -> dict[str, str]:
        """As the manifest says it."""
        return {"day": self.first.isoformat(), "last_day": self.last.isoformat()}

    def span(self) -> tuple[datetime, datetime]:
        """When they begin, and when they are over."""
        begins, ends = (
            datetime.combine(day, time(), _VIETNAM)
            for day in (self.first, self.last + timedelta(days=1))
        )
        return begins, ends


@dataclass(frozen=True, slots=True)
class Numbers:
    """The records with these numbers of one partition, and those of their blocks beside them."""

    partition: int
    first: int
    last: int

    def told(self) -> dict[str, str]:
        """As the manifest says it."""
        return {
            "partition": str(self.partition),
            "first": str(self.first),
            "last": str(self.last),
        }


Selection = Choice | Days | Numbers
