"""Addresses of hosts, and which of them may be connected to.

Host names that others give can point anywhere: into this network, at this machine. So
nothing is connected to but an address that was looked at first and is a public one.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Family = Literal["ipv4", "ipv6"]

MOST_ADDRESSES = 16
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_TRY_LATER = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM})
# An IPv6-only network makes such addresses up for hosts that have none (RFC 6052).
_TRANSLATED = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)


class ResolverAway(Exception):
    """Whether the host has addresses cannot be said now."""


class Resolver(Protocol):
    """Tells the addresses of hosts."""

    async def addresses(self, host: str, family: Family) -> Sequence[Address]:
        """Those of one family; none where the host has none or does not exist.

        Raises:
            ResolverAway: nobody can say.
        """


class SystemResolver:
    """The machine's own resolver.

    Args:
        seconds: how long an answer may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def addresses(self, host: str, family: Family) -> Sequence[Address]:
        """See ``Resolver``. The dot at the end keeps search domains of this machine out."""
        try:
            async with asyncio.timeout(self._seconds):
                told = await asyncio.get_running_loop().getaddrinfo(
                    host + ".", None, family=_FAMILIES[family], type=socket.SOCK_STREAM
                )
        except TimeoutError as error:
            raise ResolverAway("no answer in time") from error
        except socket.gaierror as error:
            if error.errno in _TRY_LATER:
                raise ResolverAway("temporary failure") from error
            return []
        except OSError as error:
            raise ResolverAway(type(error).__name__) from error
        texts = dict.fromkeys(str(one[4][0]).partition("%")[0] for one in told)
        found = [ipaddress.ip_address(one) for one in texts]
        return [one for one in found if not translated(one)][:MOST_ADDRESSES]


def translated(address: Address) -> bool:
    """Whether a translator's prefix was put before an IPv4 address: no AAAA record of the host."""
    return isinstance(address, ipaddress.IPv6Address) and any(
        address in network for network in _TRANSLATED
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """Which addresses may be connected to: public ones, and networks that are named (for tests and
    rehearsals)."""

    networks: tuple[Network, ...] = ()

    def allows(self, address: Address) -> bool:
        """Whether the address is public or in one of the networks."""
        if any(address in network for network in self.networks):
            return True
        return all(_public(one) for one in (address, *_within(address)))


def _public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _within(address: Address) -> list[Address]:
    """IPv4 addresses that an IPv6 address leads to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        found += address.teredo
    if translated(address) or int(address) < 2**32:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]
