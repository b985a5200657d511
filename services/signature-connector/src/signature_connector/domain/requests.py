"""A signing request and the states it goes through.

::

    received → prepared → submitting ─────────────────→ signed-raw ─┬─ file came back ──→ validated
       ↑___________|  ↑________|  │                       ↑         │                         ↑
       (only when the call        ├→ awaiting-user ───────┤         └→ assembled ─(augmented)─┘
        certainly never left)     │      ↕                │                    validated → completed
                                  └→ unknown ─────────────┘

Ends: rejected-by-user, expired, failed, cancelled. In ``manual-review`` it rests until an operator
decides: a person was, or may have been, asked, and what became of it cannot be found out.

A provider that signs files gives back the whole document: nothing is assembled. One that signs
hashes gives back a raw signature, which is put into the document that was prepared for it.
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
    AWAITING_USER = "awaiting-user"
    """The provider took the order and asks the person; it is asked now and then how that went."""
    UNKNOWN = "unknown"
    """The person may have been asked; the provider can still be asked what became of it."""
    SIGNED_RAW = "signed-raw"
    """Something came back and is stored, not yet examined."""
    ASSEMBLED = "assembled"
    """The raw signature verified and is in the document."""
    AUGMENTED = "augmented"
    """Timestamps and validation data are in it too."""
    VALIDATED = "validated"
    COMPLETED = "completed"
    REJECTED_BY_USER = "rejected-by-user"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MANUAL_REVIEW = "manual-review"


_OUTCOMES = frozenset(
    {
        State.SIGNED_RAW,
        State.REJECTED_BY_USER,
        State.EXPIRED,
        State.FAILED,
        State.MANUAL_REVIEW,
    }
)
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
        State.SUBMITTING: _OUTCOMES
        | {State.PREPARED, State.RECEIVED, State.AWAITING_USER, State.UNKNOWN},
        State.AWAITING_USER: _OUTCOMES | {State.UNKNOWN},
        State.UNKNOWN: _OUTCOMES | {State.AWAITING_USER},
        State.SIGNED_RAW: frozenset(
            {State.SIGNED_RAW, State.ASSEMBLED, State.VALIDATED, State.FAILED}
        ),
        State.ASSEMBLED: frozenset(
            {State.ASSEMBLED, State.AUGMENTED, State.VALIDATED, State.FAILED}
        ),
        State.AUGMENTED: frozenset({State.AUGMENTED, State.VALIDATED, State.FAILED}),
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

BY_OPERATOR: Mapping[State, frozenset[State]] = MappingProxyType(
    {State.MANUAL_REVIEW: frozenset({State.SIGNED_RAW, State.RECEIVED, State.FAILED})}
)
"""What an operator alone may do: confirm with the signed file, have it asked anew, give it up."""

FINAL = frozenset(state for state in State if not MOVES[state]) - {State.MANUAL_REVIEW}
AT_REST = FINAL | {State.MANUAL_REVIEW}
WAITING = frozenset({State.AWAITING_USER, State.UNKNOWN})
"""Nobody works on these: the provider is asked about them when they are due."""
CONTINUED = frozenset(
    {
        State.RECEIVED,
        State.PREPARED,
        State.SIGNED_RAW,
        State.ASSEMBLED,
        State.AUGMENTED,
        State.VALIDATED,
    }
)
"""States that any worker may take up; not ``submitting``: asking again would ask a person twice."""
UNSUBMITTED = frozenset({State.RECEIVED, State.PREPARED})
"""Nobody was asked yet, so all of it may be done again, or left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A signing request as its row holds it.

    Attributes:
        client: who asked; with ``request_id`` the key under which the same request is told apart.
        procedure: code of the dossier's procedure, or of the one that the request names; only who
            deals with all may know of a request without one.
        file: SHA-256 of the document in the file store.
        sealed_user: the signer's number, sealed for ``owner``.
        profile: format and level, such as ``pades-b-lt``.
        options: canonical JSON of what else was wished (see ``domain.profiles.Options``).
        workflow, place, after: of several signers of one document: what they have in common, the
            order, and the request whose result this one is to sign.
        batch: requests that are put to the same person with one confirmation.
        waits: whether the provider meant for it holds the call until the person decided: those
            are worked on by a pool of their own.
        attempts: how often a try ended without getting further.
        submissions: how often the call that asks the person was begun.
        source_file: SHA-256 of the document that is signed, where that is another's result.
        provider: the adapter's name.
        confirms: what can be asked of that provider afterwards (``provider.Abilities.confirms``).
        avoid: the provider that could not be reached last, to be tried after the others.
        order_id: our transaction id of the submission under way.
        transaction_id: the provider's, from the certificates into the signing call.
        submission: the provider's, of the order that it accepted.
        asked_at: when the order was given.
        deadline: when waiting for the person, or for news, ends.
        sealed_certificate: the chosen certificate (it names the person), sealed for ``owner``.
        sealed_preparation: what assembly needs to go on, sealed likewise.
        prepared_file: SHA-256 of the document with the reserved region.
        returned_file: SHA-256 of what came back.
        result_file: SHA-256 of the signed document.
        level: what the signed document has reached.
        augment_at: of a completed request, when what its level lacks is tried for again.
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
    options: str = "{}"
    workflow: UUID | None = None
    place: int = 0
    after: UUID | None = None
    batch: UUID | None = None
    waits: bool = True
    created_at: datetime
    state: State = State.RECEIVED
    attempts: int = 0
    submissions: int = 0
    prepared_at: datetime | None = None
    source_file: str | None = None
    provider: str | None = None
    confirms: str | None = None
    avoid: str | None = None
    order_id: UUID | None = None
    transaction_id: str | None = None
    submission: str | None = None
    asked_at: datetime | None = None
    deadline: datetime | None = None
    serial_number: str | None = None
    sealed_certificate: str | None = None
    sealed_preparation: str | None = None
    prepared_file: str | None = None
    returned_file: str | None = None
    returned_at: datetime | None = None
    result_file: str | None = None
    level: str | None = None
    augment_at: datetime | None = None
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
    def document(self) -> str:
        """SHA-256 of the document that is to be signed."""
        return self.source_file or self.file

    @property
    def signed_file(self) -> str | None:
        """SHA-256 of the signed document, once there is one."""
        return self.result_file or self.returned_file

    @property
    def outgoing_id(self) -> UUID:
        """Our own transaction id of the submission under way."""
        return self.order_id or outgoing_id(self.request_id, self.submissions)

    def same_wish(self, other: "Request") -> bool:
        """Whether another request of the same id asks for the same, the signer left aside.

        The signer is sealed under a fresh nonce each time; comparing needs the keys.
        """
        erased = self.sealed_user == ERASED
        return all(
            getattr(self, name) == getattr(other, name)
            for name in _FINGERPRINT
            if not (erased and name == "options")
        )


_FINGERPRINT = (
    "client",
    "file",
    "ca_name",
    "profile",
    "options",
    "workflow",
    "place",
    "after",
    "batch",
)
CHANGEABLE = frozenset(
    {
        "attempts",
        "submissions",
        "prepared_at",
        "waits",
        "provider",
        "confirms",
        "avoid",
        "order_id",
        "transaction_id",
        "submission",
        "asked_at",
        "deadline",
        "serial_number",
        "sealed_certificate",
        "sealed_preparation",
        "prepared_file",
        "returned_file",
        "returned_at",
        "result_file",
        "level",
        "augment_at",
        "signed_at",
        "outcome",
    }
)


def outgoing_id(request_id: UUID, submission: int) -> UUID:
    """Our transaction id of a request's n-th submission: the same whoever works it out."""
    return uuid5(request_id, str(submission))


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a request: where it goes, what is noted, and when work on it goes on.

    Attributes:
        facts: for the evidence; nothing personal, nothing secret.
        changes: new values of fields of the request.
        wait: seconds until any worker takes it up again, or the provider is asked how it went;
            None: the same worker goes on at once.
        reason: one sentence for events and pages.
    """

    to: State
    facts: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    wait: float | None = None
    reason: str | None = None


class ImpossibleMove(Exception):
    """A step that the table of moves does not know: a mistake in the program."""


def moved(request: Request, step: Step, moves: Mapping[State, frozenset[State]] = MOVES) -> Request:
    """The request after a step.

    Args:
        moves: the table that holds: an operator has another.

    Raises:
        ImpossibleMove: the states do not follow each other, or the step would change what was
            asked for.
    """
    if step.to not in moves.get(request.state, ()) or step.changes.keys() - CHANGEABLE:
        raise ImpossibleMove(f"{request.state} → {step.to}")
    changes = dict(step.changes)
    if step.to in AT_REST:
        changes.update(outcome=step.reason)
    if step.to in FINAL:
        changes.update(sealed_preparation=None)
        if changes.get("augment_at") is None:  # else it is needed once more
            changes.update(sealed_certificate=None)
    return replace(request, state=step.to, **changes)


def after_interruption(request: Request) -> State:
    """Where a request goes whose worker died, or failed in a way nobody foresaw.

    While the person was being asked, nobody can tell from here how far that got. A provider that
    can be asked by our own transaction id will tell; with any other it is for an operator to find
    out.
    """
    if request.state is not State.SUBMITTING:
        return request.state
    return State.UNKNOWN if request.confirms == "any" else State.MANUAL_REVIEW
