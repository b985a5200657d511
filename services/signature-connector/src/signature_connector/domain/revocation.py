"""What is looked up to find out whether a certificate was revoked."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Lookup:
    """One call that could tell.

    Attributes:
        kind: an OCSP responder is asked about one certificate, a CRL is fetched whole.
        url: as the certificate names it (AIA, CDP): to be believed only as far as rules allow.
        body: DER of the OCSPRequest.
    """

    kind: Literal["ocsp", "crl"]
    url: str
    body: bytes | None = field(default=None, repr=False)
