"""The port to assembly: documents are prepared for a signature, and put together with it.

Nothing here reaches out: whoever calls brings timestamp tokens, certificates and revocation data.
Everything that a later process needs stands in ``Prepared``, so that what one process prepared
another can finish.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Format = Literal["pades", "cades", "xades", "jades"]
Level = Literal["b-b", "b-t", "b-lt", "b-lta"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """A visible mark on a page.

    Attributes:
        lines: what it says, top to bottom (signer, agency, time, reason), in Vietnamese.
        anchor: text on the page above or beside which it is put; else ``page`` and ``box``.
        page: from 0; negative from the end.
        box: left, bottom, right, top in points (1/72 inch) from the page's lower left corner.
    """

    lines: tuple[str, ...]
    anchor: str | None = None
    page: int = -1
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """How a document is to be signed.

    Attributes:
        certificate: DER of the signer's.
        chain: DER certificates above it.
        digest_algorithm, mechanism: as in ``provider.Order``.
        claimed_at: the signing time that the signature claims, with a zone.
        field: name of the PDF's signature field; None: a new one.
        final: PDF only: the last signature (an agency's seal): no more may follow.
        detached: CAdES only: the signature alone, without the document in it.
    """

    format: Format
    certificate: bytes = field(repr=False)
    chain: tuple[bytes, ...] = field(repr=False)
    digest_algorithm: Literal["sha256", "sha384", "sha512"]
    mechanism: Literal["rsassa_pss", "rsassa_pkcs1v15", "ecdsa"]
    claimed_at: datetime
    reason: str | None = None
    location: str | None = None
    stamp: Stamp | None = None
    field: str | None = None
    final: bool = False
    detached: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that waits for its signature.

    Attributes:
        content: of PAdES the PDF with the region reserved for the signature; of the other formats
            the document to be signed.
        to_sign: the bytes whose signature is wanted (signed attributes, SignedInfo, JWS input).
        digest: of ``to_sign``, by the wish's algorithm: what goes to the provider.
        facts: JSON values that ``finish`` needs (offsets, certificates), fit to be stored.
    """

    format: Format
    content: bytes = field(repr=False)
    to_sign: bytes = field(repr=False)
    digest: bytes
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ValidationData:
    """What a long-term signature carries along: all DER.

    Attributes:
        certificates: of the chains of signer, timestamps and responders.
        ocsps: OCSPResponse values.
        crls: CertificateList values.
    """

    certificates: Sequence[bytes] = ()
    ocsps: Sequence[bytes] = ()
    crls: Sequence[bytes] = ()

    def joined(self, other: "ValidationData") -> "ValidationData":
        """This and other data, each value once."""
        return ValidationData(
            tuple(dict.fromkeys((*self.certificates, *other.certificates))),
            tuple(dict.fromkeys((*self.ocsps, *other.ocsps))),
            tuple(dict.fromkeys((*self.crls, *other.crls))),
        )


class Unfit(Exception):
    """A document, signature or token that cannot be assembled.

    Attributes:
        code: of a finding in ``domain.sentences.SENTENCES``.
    """

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


class Assembler(Protocol):
    """Assembly in isolated processes. Every call may raise ``Unfit``."""

    async def prepare(self, content: bytes, wish: Wish) -> Prepared:
        """Reserve the place and say what is to be signed."""

    async def finish(self, prepared: Prepared, signature: bytes) -> bytes:
        """Verify the raw signature against the wish's certificate, then embed it (level B-B).

        ``Unfit("bad-signature")`` where it is not one by that certificate over ``to_sign``.
        """

    async def imprint(self, content: bytes, kind: Format) -> bytes:
        """SHA-256 that a timestamp token for the last signature of this document has to carry."""

    async def timestamped(self, content: bytes, kind: Format, token: bytes) -> bytes:
        """The document at B-T, with the token (DER of a CMS ContentInfo) in its last signature."""

    async def long_term(self, content: bytes, kind: Format, data: ValidationData) -> bytes:
        """The document at B-LT."""

    async def archive_imprint(self, content: bytes, kind: Format) -> Prepared:
        """For B-LTA, and for each later re-timestamping: ``digest`` is what the token carries."""

    async def archived(self, prepared: Prepared, token: bytes) -> bytes:
        """The document at B-LTA."""
