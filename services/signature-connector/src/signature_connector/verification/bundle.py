"""The trust bundle as a file."""

from pathlib import Path

from asn1crypto import pem


class TrustError(ValueError):
    """The trust bundle cannot be used."""


def read_bundle(path: Path) -> list[bytes]:
    """The DER certificates of a PEM bundle.

    Raises:
        TrustError: no file, no PEM, or nothing that is a certificate in it.
    """
    try:
        blocks = list(pem.unarmor(path.read_bytes(), multiple=True))
    except (OSError, ValueError) as error:
        raise TrustError(f"the trust bundle {path.name} cannot be read: {error}") from error
    found = [der for kind, _, der in blocks if kind == "CERTIFICATE"]
    if not found:
        raise TrustError(f"the trust bundle {path.name} holds no certificate")
    return found
