"""What is said of signatures that somebody asks about, in the terms of ETSI EN 319 102-1.

Light, since the service itself imports it; what reads the documents runs elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

Kind = Literal["pdf", "cms", "xml", "jws"]

MEDIA: Mapping[str, Kind] = {
    "application/pdf": "pdf",
    "application/cms": "cms",
    "application/pkcs7-mime": "cms",
    "application/pkcs7-signature": "cms",
    "application/xml": "xml",
    "text/xml": "xml",
    "application/jose": "jws",
    "application/jose+json": "jws",
}
"""Media types of signed documents."""


class Indication(StrEnum):
    """The three outcomes of a validation (EN 319 102-1, 5.1.3)."""

    PASSED = "TOTAL-PASSED"
    INDETERMINATE = "INDETERMINATE"
    FAILED = "TOTAL-FAILED"


ORDER = (Indication.PASSED, Indication.INDETERMINATE, Indication.FAILED)
"""From the best; of several signatures the worst counts."""

_F, _I = Indication.FAILED, Indication.INDETERMINATE

INDICATIONS: Mapping[str, tuple[Indication, str]] = {
    "not-a-pdf": (_F, "FORMAT_FAILURE"),
    "unreadable": (_F, "FORMAT_FAILURE"),
    "signature-unreadable": (_F, "FORMAT_FAILURE"),
    "encrypted": (_F, "FORMAT_FAILURE"),
    "no-signature": (_F, "FORMAT_FAILURE"),
    "signature-unsupported": (_I, "GENERIC"),
    "not-examinable": (_I, "GENERIC"),
    "too-many-signatures": (_I, "GENERIC"),
    "content-missing": (_I, "SIGNED_DATA_NOT_FOUND"),
    "content-twice": (_F, "FORMAT_FAILURE"),
    "signer-certificate-missing": (_I, "NO_SIGNING_CERTIFICATE_FOUND"),
    "signer-certificate-swapped": (_I, "NO_SIGNING_CERTIFICATE_FOUND"),
    "weak-algorithm": (_I, "CRYPTO_CONSTRAINTS_FAILURE"),
    "not-covered": (_F, "FORMAT_FAILURE"),
    "changed-after-signing": (_F, "FORMAT_FAILURE"),
    "extra-update": (_F, "FORMAT_FAILURE"),
    "form-filled": (_I, "SIG_CONSTRAINTS_FAILURE"),
    "part-signed": (_I, "SIG_CONSTRAINTS_FAILURE"),
    "digest-mismatch": (_F, "HASH_FAILURE"),
    "bad-signature": (_F, "SIG_CRYPTO_FAILURE"),
    "reference-ambiguous": (_F, "FORMAT_FAILURE"),
    "transform-refused": (_I, "SIG_CONSTRAINTS_FAILURE"),
    "header-refused": (_F, "FORMAT_FAILURE"),
    "algorithm-none": (_F, "SIG_CRYPTO_FAILURE"),
    "certificate-malformed": (_F, "FORMAT_FAILURE"),
    "certificate-expired": (_I, "OUT_OF_BOUNDS_NO_POE"),
    "certificate-not-yet-valid": (_I, "OUT_OF_BOUNDS_NO_POE"),
    "certificate-revoked": (_I, "REVOKED_NO_POE"),
    "certificate-usage": (_I, "CHAIN_CONSTRAINTS_FAILURE"),
    "certificate-untrusted": (_I, "NO_CERTIFICATE_CHAIN_FOUND"),
    "chain-constraints": (_I, "CHAIN_CONSTRAINTS_FAILURE"),
    "revocation-unchecked": (_I, "TRY_LATER"),
    "policy-unknown": (_I, "POLICY_PROCESSING_ERROR"),
}
"""What a finding that is no pass means for the signature; a warning missing here means nothing."""


@dataclass(frozen=True, slots=True)
class Material:
    """What is to be verified, and how.

    Attributes:
        kind: the format that the content claims to have.
        content: the signed document, or a detached signature.
        detached: what a detached signature is about.
        moment: now.
        at: the date as of which to judge; None: the best proven time, else now.
        policy: name of the trust policy; None: the first of the bundle.
        names: whether the report may name the signers.
        xml: whether the report is wanted by ETSI TS 119 102-2 as well.
    """

    kind: Kind
    content: bytes = field(repr=False)
    moment: datetime
    detached: bytes | None = field(default=None, repr=False)
    at: datetime | None = None
    policy: str | None = None
    names: bool = False
    xml: bool = False
