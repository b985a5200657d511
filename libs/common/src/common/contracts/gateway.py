"""What the gateway tells: submissions it has taken in."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from common.contracts.base import Event
from common.contracts.commands import Command, Lane


class SubmissionReceived(Event):
    """A client's command, durably taken in and answered with 202. Stream: the dossier code."""

    TYPE: ClassVar[str] = "submission.received.v1"
    PRODUCER: ClassVar[str] = "gateway"

    submission_id: UUID
    client_id: str
    agency: str
    dossier_code: str
    received_at: datetime
    command: Command
    lane: Lane = "live"
    expected: str | None = None
    """The dossier's state that the client had seen (``If-Match``): otherwise it is refused."""
    procedures: tuple[str, ...] | None = None
    """Codes of procedures, one of which the dossier has to be of: otherwise the client has no right
    to it. Null where the client deals with all."""
