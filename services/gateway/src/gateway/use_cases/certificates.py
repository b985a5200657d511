"""Certificates that clients present to the proxy in front, which tells of them in a header.

TLS ends at the proxy. It has the client prove that it holds the key, and hands the certificate on
in ``Client-Cert`` (RFC 9440). Anybody can write a header: it counts only where the connection
comes from a proxy that is trusted by its address.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

Network = IPv4Network | IPv6Network
_LONGEST_HEADER = 16 * 1024


class BadCertificate(Exception):
    """What a trusted proxy told is no certificate, more than one, or one that is not valid now."""


@dataclass(frozen=True, slots=True)
class _Certificate:
    thumbprint: str
    not_before: datetime
    not_after: datetime


class Certificates:
    """Reads the header.

    Args:
        proxies: networks whose word is taken.
    """

    def __init__(self, proxies: Sequence[Network] = ()) -> None:
        self._proxies = tuple(proxies)

    def thumbprint(self, peer: str | None, told: Sequence[str]) -> str | None:
        """SHA-256 thumbprint (base64url) of the client's certificate, or None without one.

        Args:
            peer: address from which the connection comes.
            told: values of the header ``Client-Cert``.

        Raises:
            BadCertificate: see there.
        """
        if not told or not self._trusts(peer):
            return None
        if len(told) > 1:
            raise BadCertificate
        found = _read(told[0])
        if not found.not_before <= datetime.now(UTC) <= found.not_after:
            raise BadCertificate
        return found.thumbprint

    def _trusts(self, peer: str | None) -> bool:
        if not self._proxies or peer is None:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)


@lru_cache(maxsize=1024)
def _read(told: str) -> _Certificate:
    """RFC 9440 §2.1: a byte sequence of RFC 8941, ``:base64:``, that holds DER."""
    value = told.strip()
    try:
        if len(value) > _LONGEST_HEADER or len(value) < 3 or value[0] + value[-1] != "::":
            raise ValueError("not a byte sequence")
        der = base64.b64decode(value[1:-1], validate=True)
        certificate = x509.load_der_x509_certificate(der)
        if certificate.public_bytes(Encoding.DER) != der:
            raise ValueError("more than a certificate")
        return _Certificate(
            base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode(),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadCertificate from error
