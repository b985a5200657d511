"""Certificates of clients, told by proxies."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from gateway.use_cases.certificates import BadCertificate, Certificates
from tests.support.identity import certificate, shown, thumbprint

PROXY = "10.1.2.3"
TRUSTED = Certificates((ip_network("10.1.2.0/24"), ip_network("fd00::/8")))


def told(der: bytes) -> str:
    """The header's value (RFC 9440)."""
    return shown(der)["client-cert"]


GOOD = certificate()
THUMBPRINT = thumbprint(GOOD)


@pytest.mark.parametrize("peer", [PROXY, "fd00::7", "::ffff:10.1.2.3"])
def test_a_trusted_proxy_is_believed(peer: str) -> None:
    assert TRUSTED.thumbprint(peer, [told(GOOD)]) == THUMBPRINT


@pytest.mark.parametrize("peer", ["10.1.3.3", "127.0.0.1", "::1", "::ffff:10.1.3.3", "", "x", None])
def test_nobody_else_is(peer: str | None) -> None:
    assert TRUSTED.thumbprint(peer, [told(GOOD)]) is None
    assert TRUSTED.thumbprint(peer, ["nonsense", "twice"]) is None


def test_by_default_no_proxy_is_trusted() -> None:
    for peer in (PROXY, "127.0.0.1", "::1"):
        assert Certificates().thumbprint(peer, [told(GOOD)]) is None


def test_without_the_header_there_is_no_certificate() -> None:
    assert TRUSTED.thumbprint(PROXY, []) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        ":",
        "::",
        ":!!:",
        ":AAAA:",
        told(GOOD)[1:],
        told(GOOD)[:-1],
        told(GOOD) + ", " + told(GOOD),
        told(GOOD + b"x"),
        told(GOOD[:-1]),
        told(certificate((-9, -1))),
        told(certificate((1, 9))),
        "-----BEGIN CERTIFICATE-----",
        ":" + "A" * 20_000 + ":",
        "é" + told(GOOD),
    ],
)
def test_what_is_no_valid_certificate_is_refused(value: str) -> None:
    with pytest.raises(BadCertificate):
        TRUSTED.thumbprint(PROXY, [value])


def test_two_headers_are_refused() -> None:
    """One of them was not written by the proxy."""
    with pytest.raises(BadCertificate):
        TRUSTED.thumbprint(PROXY, [told(GOOD), told(GOOD)])


def test_a_certificate_that_was_read_before_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TRUSTED.thumbprint(PROXY, [told(GOOD)]) == THUMBPRINT
    later: Callable[[object], datetime] = lambda _: datetime.now(UTC) + timedelta(days=40)  # noqa: E731
    clock = type("Later", (), {"now": staticmethod(later)})
    monkeypatch.setattr("gateway.use_cases.certificates.datetime", clock)
    with pytest.raises(BadCertificate):
        TRUSTED.thumbprint(PROXY, [told(GOOD)])
