"""Whether a certificate belongs to the person who is asked to sign.

Vietnamese certificates name the holder by numbers in the subject: ``UID=CCCD:…``, ``CMND:…``,
``MST:…``, ``HC:…`` (seen with several CAs, from no specification), ``serialNumber`` in the same
form or as ETSI EN 319 412-1 has it (``PNOVN-…``, ``IDCVN-…``, ``TINVN-…``, ``PASVN-…``), or bare.
Which kind a number is, its form says; the prefix alone does not: since 2025 the tax code of a
person is the number of the citizen.

Numbers never leave this module: findings say what was found, not about whom.
"""

import re
from collections.abc import Iterator
from typing import Any

from asn1crypto import x509

from signature_connector.domain.findings import Finding, passed, refused, warning

_KINDS = (
    ("citizen", re.compile(r"[0-9]{12}")),
    ("old-citizen", re.compile(r"[0-9]{9}")),
    ("tax", re.compile(r"[0-9]{10}(-?[0-9]{3})?")),
    ("passport", re.compile(r"[A-Z][0-9]{7,8}")),
)
_PREFIX = re.compile(
    r"^(?:(?:CCCD|CMND|CMT|CMTND|ĐDCN|DDCN|MST|HC|PASSPORT)\s*[:\-=]\s*"
    r"|(?:PNO|IDC|TIN|PAS|VAT|NTR|TAX)VN-)",
    re.IGNORECASE,
)
_PLACES = ("user_id", "serial_number", "organization_identifier", "2.5.4.97")


def holder_matches(certificate: x509.Certificate, user: str) -> Finding:
    """Compare the holder of a certificate with a person's number.

    Returns:
        ``holder-matches`` (passed), ``holder-differs`` (refused: it names another number of the
        same kind), or ``holder-unknown`` (a warning: it names none of the kind).
    """
    asked = _read(user)
    named = list(_numbers(certificate))
    if asked is None:
        return warning("holder-unknown")
    if asked in named:
        return passed("holder-matches")
    if any(kind == asked[0] for kind, _ in named):
        return refused("holder-differs")
    return warning("holder-unknown")


def _numbers(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    subject: dict[str, Any] = certificate.subject.native
    for place in _PLACES:
        values = subject.get(place, ())
        for value in values if isinstance(values, list) else [values]:
            for part in re.split(r"[,;|]", str(value)) if value else ():
                if (number := _read(part)) is not None:
                    yield number


def _read(text: str) -> tuple[str, str] | None:
    """Kind and number; None: none that is known."""
    number = re.sub(r"\s", "", _PREFIX.sub("", text.strip())).upper()
    kind = next((kind for kind, form in _KINDS if form.fullmatch(number)), None)
    return (kind, number.replace("-", "")) if kind else None
