"""Where a request comes from: the address that the last trusted proxy saw."""

import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import Scope

Address = IPv4Address | IPv6Address
Kept = Literal["hashed", "plain", "none"]
UNKNOWN = "unknown"
_MOST_HOPS = 20
_IPV6_SITE = 64
_MARK_CHARACTERS = 24


class Addresses:
    """Tells callers apart by address.

    Args:
        proxies: networks whose ``X-Forwarded-For`` is believed.
        key: of the hash, the same in every replica.
        kept: in which form an address may be put down.
    """

    def __init__(
        self, proxies: Sequence[IPv4Network | IPv6Network], key: bytes, kept: Kept
    ) -> None:
        self._proxies = tuple(proxies)
        self._key = key
        self._kept = kept

    def of(self, scope: Scope) -> str:
        """The caller's address; of IPv6 the network of its site, which is one caller's."""
        peer = (scope.get("client") or ("", 0))[0]
        address = _read(peer)
        if address is None:
            return UNKNOWN
        if self._proxies and self._trusts(address):
            told = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
            for hop in reversed(told[-_MOST_HOPS:]):
                before = _read(hop.strip())
                if before is None:
                    break
                address = before
                if not self._trusts(before):
                    break
        if isinstance(address, IPv6Address):
            return str(IPv6Network((address, _IPV6_SITE), strict=False))
        return str(address)

    def mark(self, scope: Scope) -> str:
        """What stands for the address wherever it is kept for comparison only."""
        return hmac.new(self._key, self.of(scope).encode(), hashlib.sha256).hexdigest()[
            :_MARK_CHARACTERS
        ]

    def told(self, scope: Scope) -> str | None:
        """The address as it may be put down."""
        if self._kept == "none":
            return None
        return self.of(scope) if self._kept == "plain" else self.mark(scope)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


@lru_cache(maxsize=4096)
def _read(told: str) -> Address | None:
    try:
        address = ip_address(told)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
