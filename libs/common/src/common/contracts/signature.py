"""What the signature connector tells. Stream: the signing request's id."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from common.contracts.base import Event, RequiredNulls


class SignatureFact(RequiredNulls, Event):
    """What all facts about a signing request have in common."""

    PRODUCER: ClassVar[str] = "signature-connector"

    request_id: UUID
    dossier_code: str | None
    agency: str
    document_id: str
    at: datetime


class SignatureCompleted(SignatureFact):
    """Signed, and the result was verified before it was accepted."""

    TYPE: ClassVar[str] = "signature.completed.v1"

    file: str
    """SHA-256 of the signed PDF in the file store."""
    serial_number: str
    signed_at: datetime | None = None
    level: str | None = None
    """What the signature has reached, such as ``b-t``, where the connector assembled it."""


class SignatureAugmented(SignatureFact):
    """A signed document got the timestamp or validation data later that could not be had at once,
    or a further archive timestamp before the one that it had could not be judged any more.

    The signature is the same; whoever keeps the document replaces it.
    """

    TYPE: ClassVar[str] = "signature.augmented.v1"

    file: str
    """SHA-256 of the document as it is now."""
    replaces: str
    """SHA-256 of the document as it was told before."""
    level: str


class SignatureFailed(SignatureFact):
    """Not signed, finally."""

    TYPE: ClassVar[str] = "signature.failed.v1"

    outcome: Literal["rejected-by-user", "expired", "failed", "cancelled"]
    reason: str


class SignatureHeld(SignatureFact):
    """The outcome is unknown and cannot be asked about: an operator decides."""

    TYPE: ClassVar[str] = "signature.held.v1"

    reason: str
