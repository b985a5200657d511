"""The port to signing providers: list a person's certificates, have documents signed, ask.

An adapter never raises for what the provider or the network does: every call has an outcome, and
the outcomes of ``submit`` say what may have happened to the person. Adapters keep nothing: what
has to be known later (transaction ids) goes out with an answer and comes back as an argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
        serial_number: as the provider writes it, hexadecimal.
        transaction_id: what the provider wants to see again in the signing call (the eSign
            gateway's transaction, the credential id of MySign and CSC). It may hold the person's
            number (MySign's was seen to): kept sealed with the certificate, never noted anywhere.
        chain: DER certificates above it, as far as the provider gives them.
    """

    certificate: bytes
    serial_number: str
    transaction_id: str = field(repr=False)
    chain: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """The certificates of a person."""

    found: Sequence[Credential]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Paper:
    """One document of an order.

    Attributes:
        request_id: shown to the person, to be compared with what the agency shows.
        name: the document's name.
        content: the whole document, for a provider that signs files.
        digest: what is to be signed, for a provider that signs hashes: the digest of the signed
            attributes (or of the signing input), by the order's digest algorithm.
    """

    request_id: UUID
    name: str
    content: bytes | None = field(default=None, repr=False)
    digest: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """Documents to be signed by one person with one confirmation.

    Attributes:
        outgoing_id: our transaction id of this submission.
        user: the person's number. Never noted anywhere.
        digest_algorithm: of the papers' digests and of the signatures.
        mechanism: how the provider is to sign.
        expires_at: when the question to the person should be void.
    """

    outgoing_id: UUID
    user: str = field(repr=False)
    ca_name: str
    credential: Credential = field(repr=False)
    papers: tuple[Paper, ...]
    digest_algorithm: Literal["sha256", "sha384", "sha512"] = "sha256"
    mechanism: Literal["rsassa_pss", "rsassa_pkcs1v15", "ecdsa"] = "rsassa_pss"
    expires_at: datetime | None = None


Outcome = Literal["rejected-by-user", "expired", "failed"]


@dataclass(frozen=True, slots=True)
class Declined:
    """A clear no: no signature was made, and none will be."""

    outcome: Outcome
    reply: Reply


@dataclass(frozen=True, slots=True)
class Signed:
    """The person confirmed. Whether what came back is right is for the verdict to say.

    Attributes:
        results: by request id: the signed document, or the raw signature (PKCS#1 or PSS octets;
            of ECDSA the DER sequence) where hashes were sent. A paper that is missing here was
            told nothing of; one that the provider refused by itself is a ``Declined``.
    """

    results: Mapping[UUID, bytes | Declined]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the order and is asking the person; the outcome is told by ``status``.

    Attributes:
        submission: what ``status`` asks by: the provider's transaction.
        expires_at: when the provider stops asking, where it says so.
    """

    submission: str
    reply: Reply
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Not decided yet.

    Attributes:
        pause: seconds after which the provider wants to be asked again, where it says so.
    """

    reply: Reply
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class NotKnown:
    """The provider does not know the submission. It may still be on its way: never a clear no."""

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


@dataclass(frozen=True, slots=True)
class Called:
    """What a provider's callback is about. Its content is never trusted, only asked about.

    Attributes:
        submission: the provider's transaction; one of the two is there.
        outgoing_id: ours.
    """

    submission: str | None = None
    outgoing_id: UUID | None = None


class Unreadable(ValueError):
    """A callback that is none of this provider's."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a provider can do.

    Attributes:
        signs: whole files, or hashes that we prepare.
        waits: ``submit`` returns only when the person has decided (a connection for minutes).
        confirms: what can be asked afterwards about a submission: nothing; only one that it
            accepted, by the provider's transaction; any, by our transaction id too.
        most: papers in one order.
        mechanisms: how it can sign, by preference.
    """

    signs: Literal["files", "hashes"]
    waits: bool
    confirms: Literal["nothing", "accepted", "any"]
    most: int = 1
    mechanisms: tuple[str, ...] = ("rsassa_pss", "ecdsa", "rsassa_pkcs1v15")


class Provider(Protocol):
    """An adapter for one provider's dialect."""

    name: str
    abilities: Abilities

    async def credentials(self, user: str, ca_name: str) -> Credentials | Declined | Unavailable:
        """The person's certificates with this CA. May be asked again at will."""

    async def submit(self, order: Order) -> Signed | Accepted | Declined | NeverSent | Unclear:
        """Ask the person; to be called once per submission."""

    async def status(
        self, order: Order, submission: str | None
    ) -> Signed | Pending | Declined | NotKnown | Unavailable:
        """What became of a submission. May be asked again at will.

        Args:
            order: as it was submitted; contents and digests may be missing.
            submission: of ``Accepted``; None where no answer came (only with confirms "any").
        """

    def called(self, body: bytes) -> Called:
        """What a callback is about.

        Raises:
            Unreadable: not this provider's.
        """
