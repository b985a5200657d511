"""Timestamps (RFC 3161) from the first authority that answers with a good one."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import structlog
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from common.delivery.breaker import Breaker
from common.errors import describe
from common.http import retry_after

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"
_LARGEST_REPLY = 64 * 1024
_FAILURES_TO_OPEN, _PAUSE_SECONDS, _LONGEST_SECONDS = 3, 5.0, 300.0

log = structlog.get_logger()


class NotStamped(Exception):
    """No authority gave a timestamp that may be kept."""


class _Unusable(Exception):
    """An authority's answer that is no timestamp of what was asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A timestamp that was verified.

    Attributes:
        token: TimeStampToken (CMS, DER).
        tsa: address of the authority.
        at: the time that it certifies.
    """

    token: bytes
    tsa: str
    at: datetime


@dataclass
class Tsa:
    """One authority, and how it has answered so far.

    Attributes:
        given: timestamps that were good.
        failed: calls that ended without one.
        error: why the last one did; None where it was good.
    """

    url: str
    breaker: Breaker = field(
        default_factory=lambda: Breaker(_FAILURES_TO_OPEN, _PAUSE_SECONDS, _LONGEST_SECONDS)
    )
    given: int = 0
    failed: int = 0
    error: str | None = None


def trusted_certificates(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text.

    Raises:
        ValueError: it holds none, or something else.
    """
    return tuple(x509.load_pem_x509_certificates(pem.encode()))


class Authorities:
    """The authorities that may be asked, the first one first.

    Args:
        http: the client.
        urls: their addresses.
        trusted: root certificates; a token has to lead to one of them.
        seconds: how long one may take to answer.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        urls: Sequence[str],
        trusted: Sequence[x509.Certificate],
        seconds: float,
    ) -> None:
        self._http = http
        self._trusted = trusted
        self._seconds = seconds
        self.all = [Tsa(url) for url in urls]

    def wait(self) -> float:
        """Seconds until one of them may be asked."""
        return min(tsa.breaker.wait() for tsa in self.all)

    async def stamp(self, content: bytes) -> Stamp:
        """A timestamp over the SHA-256 of a content.

        Raises:
            NotStamped: nobody gave a good one; those that failed often are left alone for a while.
        """
        for tsa in self.all:
            if tsa.breaker.wait() > 0:
                continue
            try:
                async with asyncio.timeout(self._seconds):
                    stamp = await self._asked(tsa, content)
            except (TimeoutError, httpx.HTTPError, _Unusable) as error:
                tsa.failed += 1
                tsa.error = str(error) if isinstance(error, _Unusable) else describe(error)
                tsa.breaker.record(failed=True)
                log.warning("no timestamp", tsa=tsa.url, error=tsa.error)
                continue
            tsa.given += 1
            tsa.error = None
            tsa.breaker.record(failed=False)
            return stamp
        raise NotStamped

    async def _asked(self, tsa: Tsa, content: bytes) -> Stamp:
        request = TimestampRequestBuilder(
            content, HashAlgorithm.SHA256, nonce=True, cert_req=True
        ).build()
        answer = await self._http.post(
            tsa.url,
            content=request.as_bytes(),
            headers={"content-type": _QUERY, "accept": _REPLY},
            follow_redirects=False,
        )
        if answer.status_code != 200:
            if (seconds := retry_after(answer)) is not None:
                tsa.breaker.hold(seconds)
            raise _Unusable(f"status {answer.status_code}")
        if len(answer.content) > _LARGEST_REPLY:
            raise _Unusable("the answer is too large")
        try:
            response = decode_timestamp_response(answer.content)
            verifier = VerifierBuilder(roots=list(self._trusted), nonce=request.nonce).build()
            verifier.verify(response, hashlib.sha256(content).digest())
        except (VerificationError, ValueError) as error:
            raise _Unusable(f"not a good timestamp: {error}") from error
        return Stamp(response.time_stamp_token(), tsa.url, response.tst_info.gen_time)
