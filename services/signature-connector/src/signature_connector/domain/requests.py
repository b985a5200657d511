"""A signing request and the states it goes through.

::

    received → prepared → submitting → signed-raw → validated → completed
       ↑___________|  ↑________|  (only when the call certainly never left)

Ends: rejected-by-user, expired, failed, cancelled. In ``manual-review`` it rests until an operator
decides: a person was, or may have been, asked, and what became of it cannot be found out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid5

PROFILE = "pades-b-b"
ERASED = ""
"""What stands for the signer and the document's name once they were erased by policy."""


class State(StrEnum):
    """Where a request stands; the row says so before anything outside happens."""

    RECEIVED = "received"
    PREPARED = "prepared"
    """The document was examined and a certificate chosen."""
    SUBMITTING = "submitting"
    """The person may have been asked from here on."""
    SIGNED_RAW = "signed-raw"
    """Something came back and is stored, not yet examined."""
    VALIDATED = "validated"
    COMPLETED = "completed"
    REJECTED_BY_USER = "rejected-by-user"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MANUAL_REVIEW = "manual-review"


MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.RECEIVED: frozenset({State.RECEIVED, State.PREPARED, State.FAILED, State.CANCELLED}),
        State.PREPARED: frozenset(
            {
                State.PREPARED,
                State.RECEIVED,
                State.SUBMITTING,
                State.FAILED,
                State.CANCELLED,
            }
        ),
        State.SUBMITTING: frozenset(
            {
                State.PREPARED,
                State.SIGNED_RAW,
                State.REJECTED_BY_USER,
                State.EXPIRED,
                State.FAILED,
                State.MANUAL_REVIEW,
            }
        ),
        State.SIGNED_RAW: frozenset({State.SIGNED_RAW, State.VALIDATED, State.FAILED}),
        State.VALIDATED: frozenset({State.COMPLETED}),
        State.COMPLETED: frozenset(),
        State.REJECTED_BY_USER: frozenset(),
        State.EXPIRED: frozenset(),
        State.FAILED: frozenset(),
        State.CANCELLED: frozenset(),
        State.MANUAL_REVIEW: frozenset(),
    }
)
"""From each state the states that may follow; staying means waiting for another try."""

FINAL = frozenset(state for state in State if not MOVES[state]) - {State.MANUAL_REVIEW}
AT_REST = FINAL | {State.MANUAL_REVIEW}
CONTINUED = frozenset({State.RECEIVED, State.PREPARED, State.SIGNED_RAW, State.VALIDATED})
"""States that any worker may take up; not ``submitting``: asking again would ask a person twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A signing request as its row holds it.

    Attributes:
        client: who asked; with ``request_id`` the key under which the same request is told apart.
        procedure: code of the dossier's procedure, or of the one that the request names; only who
            deals with all may know of a request without one.
        file: SHA-256 of the document in the file store.
        sealed_user: the signer's number, sealed for ``owner``.
        attempts: how often a try ended without getting further.
        submissions: how often the call that asks the person was begun.
        transaction_id: the provider's, from the certificates into the signing call.
        sealed_certificate: the chosen certificate (it names the person), sealed for ``owner``.
        returned_file: SHA-256 of what came back.
        evidence_count, evidence_head: length and last hash of the chain of evidence.
    """

    request_id: UUID
    client: str
    dossier_code: str | None
    agency: str
    procedure: str | None = None
    document_id: str
    document_name: str
    file: str
    ca_name: str
    sealed_user: str
    profile: str = PROFILE
    created_at: datetime
    state: State = State.RECEIVED
    attempts: int = 0
    submissions: int = 0
    prepared_at: datetime | None = None
    transaction_id: str | None = None
    serial_number: str | None = None
    sealed_certificate: str | None = None
    returned_file: str | None = None
    returned_at: datetime | None = None
    signed_at: datetime | None = None
    outcome: str | None = None
    evidence_count: int = 0
    evidence_head: bytes = bytes(32)
    traceparent: str | None = None
    correlation: str | None = None
    causation: UUID | None = None

    @property
    def owner(self) -> str:
        """For whom personal fields are sealed: the dossier, or else the request itself."""
        return self.dossier_code or str(self.request_id)

    @property
    def outgoing_id(self) -> UUID:
        """Our own transaction id of the submission under way."""
        return uuid5(self.request_id, str(self.submissions))

    def same_wish(self, other: "Request") -> bool:
        """Whether another request of the same id asks for the same, the signer left aside.

        The signer is sealed under a fresh nonce each time; comparing needs the keys.
        """
        return (
            self.client == other.client
            and self.file == other.file
            and self.ca_name == other.ca_name
            and self.profile == other.profile
        )


CHANGEABLE = frozenset(
    {
        "attempts",
        "submissions",
        "prepared_at",
        "transaction_id",
        "serial_number",
        "sealed_certificate",
        "returned_file",
        "returned_at",
        "signed_at",
        "outcome",
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a request: where it goes, what is noted, and when work on it goes on.

    Attributes:
        facts: for the evidence; nothing personal, nothing secret.
        changes: new values of fields of the request.
        wait: seconds until any worker takes it up again; None: the same worker goes on at once.
        reason: one sentence for events and pages.
    """

    to: State
    facts: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    wait: float | None = None
    reason: str | None = None


class ImpossibleMove(Exception):
    """A step that the table of moves does not know: a mistake in the program."""


def moved(request: Request, step: Step) -> Request:
    """The request after a step.

    Raises:
        ImpossibleMove: the states do not follow each other, or the step would change what was
            asked for.
    """
    if step.to not in MOVES[request.state] or step.changes.keys() - CHANGEABLE:
        raise ImpossibleMove(f"{request.state} → {step.to}")
    changes = dict(step.changes)
    if step.to in AT_REST:
        changes.update(sealed_certificate=None, outcome=step.reason)
    return replace(request, state=step.to, **changes)


def after_interruption(state: State) -> State:
    """Where a request goes whose worker died, or failed in a way nobody foresaw."""
    return State.MANUAL_REVIEW if state is State.SUBMITTING else state
