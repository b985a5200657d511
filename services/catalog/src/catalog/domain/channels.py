"""An agency's channels and statements, and what was found out about a channel's host."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from catalog.domain.hostnames import LONGEST, hostname

Kind = Literal["portal-vi", "portal-en", "web-portal", "app", "other"]
"""The portal under its Vietnamese and its English domain (NĐ 42/2022 Điều 13.2.a), the agency's own
web portal (cổng thông tin điện tử), the host that an app talks to, and whatever else there is."""

Check = Literal["aaaa", "ipv6-answer", "tls"]
State = Literal["met", "not-met", "unknown"]

MOST_CHANNELS = 20
"""Channels that an agency can register."""

_Line = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
_Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=2000,
        pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$",
    ),
]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Entry):
    """A channel as an agency registers it."""

    kind: Kind
    host: Annotated[str, StringConstraints(max_length=LONGEST), AfterValidator(hostname)] = Field(
        description="Host name alone: no address, port or path; international names too"
    )
    name: _Line | None = None


class RegisteredChannel(Channel):
    """A channel with its id, who registered it like this, and when."""

    id: str
    registered_by: str
    registered_at: datetime


class Statement(_Entry):
    """What an agency states about a point that no machine can check."""

    text: _Text
    document: _Line | None = None
    """Number of the document that says so."""
    dated: date | None = None


class GivenStatement(Statement):
    """A statement with the part it is about, who gave it, and when."""

    part: str
    given_by: str
    given_at: datetime


class Change(_Entry):
    """What was done to an agency's channels or statements, by whom and when."""

    number: int
    thing: Literal["channel", "statement"]
    key: str
    action: Literal["put", "delete"]
    client: str
    at: datetime
    content: dict[str, JsonValue] | None


class Finding(_Entry):
    """What one check found out about a host."""

    check: Check
    state: State
    reason: str
    """A slug; ``catalog.domain.reasons`` has its sentences."""
    facts: dict[str, JsonValue] = {}


class Found(Finding):
    """A finding as it is kept."""

    agency: str
    channel: str
    target: str
    checked_at: datetime


class Exchanged(_Entry):
    """What is known of an agency's exchanges with an outside system."""

    system: str
    agency: str
    last_success_at: datetime | None
    last_failure_at: datetime | None
    succeeded: int = 0
    failed: int = 0
    """Counts of the last days (``measures.exchange_days``)."""
