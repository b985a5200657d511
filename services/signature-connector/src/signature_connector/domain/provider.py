"""The port to signing providers: list a person's certificates, have a document signed.

An adapter never raises for what the provider or the network does: every call has an outcome, and
the outcomes of ``sign`` say what may have happened to the person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider said, fit for the evidence: codes and a message without numbers."""

    code: str | None = None
    message: str | None = None
    transaction_id: str | None = None

    def body(self) -> dict[str, str]:
        """The parts there are."""
        parts = {
            "code": self.code,
            "message": self.message,
            "transaction_id": self.transaction_id,
        }
        return {name: value for name, value in parts.items() if value}


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate that a provider can sign with.

    Attributes:
        certificate: DER.
        serial_number: as the provider writes it.
        transaction_id: what the provider wants to see again in the signing call.
    """

    certificate: bytes
    serial_number: str
    transaction_id: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The certificates of a person."""

    found: Sequence[Credential]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Order:
    """One document to be signed by one person.

    Attributes:
        request_id: shown to the person, to be compared with what the agency shows.
        outgoing_id: our transaction id of this submission.
        user: the person's number. Never noted anywhere.
    """

    request_id: UUID
    outgoing_id: UUID
    user: str
    ca_name: str
    credential: Credential
    document_name: str
    content: bytes

    def __repr__(self) -> str:
        return f"<Order {self.request_id}>"


@dataclass(frozen=True, slots=True)
class Signed:
    """A document came back; whether it is the right one is for the verdict to say."""

    content: bytes
    reply: Reply


@dataclass(frozen=True, slots=True)
class Declined:
    """A clear no: no signature was made, and none will be."""

    outcome: Literal["rejected-by-user", "expired", "failed"]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The provider cannot be asked now.

    Attributes:
        reason: kind of the error.
        pause: seconds for which it asked to be left alone.
    """

    reason: str
    reply: Reply = Reply()
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class NeverSent:
    """The signing call failed before anything of it can have reached the provider."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unclear:
    """The signing call may have reached the person; there was no understandable answer."""

    reason: str
    reply: Reply = Reply()
    timed_out: bool = False


class Provider(Protocol):
    """An adapter for one provider's dialect."""

    name: str
    confirms: Literal["nothing", "status"]
    """What can be asked afterwards about a submission without an understandable answer."""

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """The person's certificates with this CA. May be asked again at will."""

    async def sign(self, order: Order) -> Signed | Declined | NeverSent | Unclear:
        """Ask the person and wait for the signature. To be called once per submission."""
