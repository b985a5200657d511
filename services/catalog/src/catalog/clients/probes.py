"""What can be found out about a portal from outside: AAAA record, answer over IPv6, certificate.

One request for ``/`` is made, to an address that was looked at before; redirections count as
answers and are not followed; of an answer only the status line is read.
"""

import asyncio
import errno
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID
from pydantic import JsonValue

from catalog.domain.channels import Check, Finding, State
from common.addresses import Address, Reach, Resolver, ResolverAway

CHECKS: tuple[Check, ...] = ("aaaa", "ipv6-answer", "tls")

_LONGEST_LINE = 1024
_MOST_TRIED = 2
_LONGEST_NAME = 100
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? ([1-5]\d\d)(?: |\r|\n)")
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
# Codes of OpenSSL (x509_vfy.h).
_VERIFICATION = {9: "certificate-not-yet-valid", 10: "certificate-expired"}
_OTHER_HOST = frozenset({62, 64})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: of the HTTP answer; None where there was none that could be read.
        certificate: the server's, DER.
    """

    status: int | None
    certificate: bytes | None = None


class Caller(Protocol):
    """Makes one request to one address."""

    async def call(
        self, address: Address, port: int, host: str, tls: ssl.SSLContext | None
    ) -> Reply:
        """Ask for ``/`` of the host.

        Raises:
            ssl.SSLError: no TLS connection came about.
            OSError: no connection came about, or it broke (TimeoutError included).
        """


class SocketCaller:
    """Over a socket of this machine.

    Args:
        seconds: how long connection and answer may take together.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def call(
        self, address: Address, port: int, host: str, tls: ssl.SSLContext | None
    ) -> Reply:
        """See ``Caller``."""
        async with asyncio.timeout(self._seconds):
            reader, writer = await asyncio.open_connection(
                str(address),
                port,
                limit=_LONGEST_LINE,
                ssl=tls,
                server_hostname=host if tls else None,
            )
            try:
                secured = writer.get_extra_info("ssl_object")
                certificate = secured.getpeercert(binary_form=True) if secured else None
                writer.write(
                    f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: lienthong-conformance\r\n"
                    "Accept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
                )
                return Reply(await _status(reader), certificate)
            finally:
                writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> int | None:
    try:
        line = await reader.readline()
    except ValueError:  # longer than any status line
        return None
    found = _STATUS.match(line)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class _Visit:
    """How a host was met at one address: the answer, and what became of TLS."""

    answer: Finding
    tls: Finding


class Prober:
    """Checks hosts.

    Args:
        resolver: tells addresses.
        caller: makes requests.
        reach: which addresses may be asked.
        trust: path of a PEM bundle in place of the machine's own trusted roots.
        ports: of HTTPS and of HTTP.
    """

    def __init__(
        self,
        resolver: Resolver,
        caller: Caller,
        reach: Reach,
        *,
        trust: str | None = None,
        ports: tuple[int, int] = (443, 80),
    ) -> None:
        self._resolver = resolver
        self._caller = caller
        self._reach = reach
        self._ports = ports
        self._strict = ssl.create_default_context(cafile=trust)
        self._any = ssl.create_default_context()
        self._any.check_hostname = False
        # Only to read the certificate that was refused, and to see whether there is an answer.
        self._any.verify_mode = ssl.CERT_NONE

    async def check(self, host: str) -> Sequence[Finding]:
        """Every check of a host. Never raises but for a cancellation."""
        try:
            six = await self._resolver.addresses(host, "ipv6")
            four = await self._resolver.addresses(host, "ipv4")
        except ResolverAway as away:
            facts: dict[str, JsonValue] = {"resolver": str(away)}
            return [
                Finding(check=check, state="unknown", reason="resolver-failed", facts=facts)
                for check in CHECKS
            ]
        public = [one for one in six if self._reach.allows(one)]
        visit = await self._first(public, host) if public else None
        if visit is not None:
            answer, tls = visit.answer, visit.tls
            if four and tls.reason in {"no-tls", "no-route"}:
                tls = await self._tls_otherwise(four, host, exists=True)
        else:
            answer = Finding(check="ipv6-answer", state="not-met", reason="no-aaaa")
            if six:
                answer = Finding(check="ipv6-answer", state="unknown", reason="not-probed")
            tls = await self._tls_otherwise(four, host, exists=bool(six or four))
        return [_aaaa(six, public, four), answer, tls]

    async def _tls_otherwise(self, four: Sequence[Address], host: str, *, exists: bool) -> Finding:
        """The certificate of a portal that is not to be met over IPv6."""
        open_to_us = [one for one in four if self._reach.allows(one)]
        if open_to_us:
            return (await self._first(open_to_us, host)).tls
        reason = "not-probed" if exists else "no-such-host"
        return Finding(check="tls", state="unknown", reason=reason)

    async def _first(self, addresses: Sequence[Address], host: str) -> _Visit:
        """The first address that answers; else how the last one did not."""
        visit = await self._visit(addresses[0], host)
        for address in addresses[1:_MOST_TRIED]:
            if visit.answer.state == "met":
                break
            visit = await self._visit(address, host)
        return visit

    async def _visit(self, address: Address, host: str) -> _Visit:
        facts: dict[str, JsonValue] = {"address": str(address)}
        https, http = self._ports
        attempt = await _tried(lambda: self._caller.call(address, https, host, self._strict))
        if isinstance(attempt, ssl.SSLCertVerificationError):
            refused = attempt
            attempt = await _tried(lambda: self._caller.call(address, https, host, self._any))
            der = attempt.certificate if isinstance(attempt, Reply) else None
            tls = Finding(
                check="tls",
                state="not-met",
                reason=_why(refused),
                facts={**facts, **_certificate(der)},
            )
        elif isinstance(attempt, Reply):
            tls = Finding(
                check="tls",
                state="met",
                reason="certificate-valid",
                facts={**facts, **_certificate(attempt.certificate)},
            )
        else:
            told: dict[str, JsonValue] = {**facts, "error": _kind(attempt)}
            tls = Finding(check="tls", state="not-met", reason="no-tls", facts=told)
            if _no_route(attempt):
                tls = Finding(check="tls", state="unknown", reason="no-route", facts=told)
        scheme = "https"
        if not isinstance(attempt, Reply) and not _no_route(attempt):
            plain = await _tried(lambda: self._caller.call(address, http, host, None))
            if isinstance(plain, Reply):
                scheme, attempt = "http", plain
        return _Visit(_answer(attempt, {**facts, "scheme": scheme}), tls)


async def _tried(call: Callable[[], Awaitable[Reply]]) -> Reply | OSError:
    try:
        return await call()
    except OSError as error:  # TimeoutError and every SSLError are among them
        return error
    except (ValueError, asyncio.IncompleteReadError, EOFError) as error:
        return ConnectionError(type(error).__name__)


def _aaaa(six: Sequence[Address], public: Sequence[Address], four: Sequence[Address]) -> Finding:
    facts: dict[str, JsonValue] = {
        "aaaa": [str(one) for one in six],
        "a_records": len(four),
    }
    if public:
        return Finding(check="aaaa", state="met", reason="has-aaaa", facts=facts)
    if six:
        return Finding(check="aaaa", state="not-met", reason="not-public", facts=facts)
    reason = "no-aaaa" if four else "no-such-host"
    return Finding(check="aaaa", state="not-met", reason=reason, facts=facts)


def _answer(attempt: Reply | OSError, facts: dict[str, JsonValue]) -> Finding:
    state: State = "not-met"
    if isinstance(attempt, Reply):
        facts = {**facts, "status": attempt.status}
        if attempt.status is None:
            reason = "not-http"
        elif attempt.status >= 500:
            reason = "server-error"
        else:
            state, reason = "met", "answers"
    elif _no_route(attempt):
        state, reason = "unknown", "no-route"
    else:
        reason = "refused" if isinstance(attempt, ConnectionRefusedError) else "no-answer"
        facts = {**facts, "error": _kind(attempt)}
    return Finding(check="ipv6-answer", state=state, reason=reason, facts=facts)


def _no_route(error: object) -> bool:
    """Whether this machine, not the portal, is what lacks the way."""
    return isinstance(error, OSError) and error.errno in _NO_ROUTE


def _kind(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _why(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_HOST:
        return "certificate-other-host"
    return _VERIFICATION.get(error.verify_code, "certificate-untrusted")


def _certificate(der: bytes | None) -> dict[str, JsonValue]:
    """Until when a certificate is valid, and who says so."""
    try:
        certificate = x509.load_der_x509_certificate(der or b"")
        until = certificate.not_valid_after_utc
        names = [
            *certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
            *certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME),
        ]
        told = ", ".join(str(name.value) for name in names)
    except ValueError:
        return {}
    return {
        "not_after": until.isoformat(),
        "days_left": (until - datetime.now(UTC)).days,
        "issuer": "".join(letter for letter in told if letter.isprintable())[:_LONGEST_NAME],
    }
