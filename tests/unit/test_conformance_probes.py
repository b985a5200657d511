"""What is found out about portals: real servers on this machine, over IPv6 and IPv4."""

import asyncio
import errno
import ipaddress
import socket
from pathlib import Path

import pytest

from catalog.clients.probes import Prober, SocketCaller
from catalog.domain.channels import Finding
from common.addresses import Reach, ResolverAway, SystemResolver, translated
from tests.support.portals import Authority, Names, Portal

HOST = "dichvucong.thanhhoa.gov.vn"
HERE = (ipaddress.ip_network("::1/128"), ipaddress.ip_network("127.0.0.0/8"))
BOTH = Names(ipv6={HOST: ["::1"]}, ipv4={HOST: ["127.0.0.1"]})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def closed_port() -> int:
    """A port where nobody listens."""
    return 9


def prober(
    names: Names,
    authority: Authority,
    *,
    https: int | None = None,
    http: int | None = None,
    networks=HERE,
    seconds: float = 5.0,
) -> Prober:
    ports = (https or closed_port(), http or closed_port())
    return Prober(
        names, SocketCaller(seconds), Reach(networks), trust=str(authority.bundle), ports=ports
    )


async def found(probing: Prober, host: str = HOST) -> dict[str, Finding]:
    return {one.check: one for one in await probing.check(host)}


def told(findings: dict[str, Finding]) -> dict[str, tuple[str, str]]:
    return {check: (one.state, one.reason) for check, one in findings.items()}


async def test_a_portal_with_aaaa_record_and_valid_certificate_meets_every_check(authority):
    async with Portal().serving(tls=authority.context(HOST, days=30)) as portal:
        findings = await found(prober(BOTH, authority, https=portal.port))
    assert told(findings) == {
        "aaaa": ("met", "has-aaaa"),
        "ipv6-answer": ("met", "answers"),
        "tls": ("met", "certificate-valid"),
    }
    assert findings["aaaa"].facts == {"aaaa": ["::1"], "a_records": 1}
    answer = findings["ipv6-answer"].facts
    assert answer == {"address": "::1", "scheme": "https", "status": 200}
    assert findings["tls"].facts["days_left"] == 30
    assert findings["tls"].facts["issuer"] == "Gốc thử nghiệm"
    (request,) = portal.requests
    assert request.startswith(b"GET / HTTP/1.1\r\nHost: dichvucong.thanhhoa.gov.vn\r\n")


async def test_an_agency_without_aaaa_record_is_told_so_with_evidence(authority):
    names = Names(ipv4={HOST: ["127.0.0.1"]})
    async with Portal().serving("127.0.0.1", authority.context(HOST)) as portal:
        findings = await found(prober(names, authority, https=portal.port))
    assert told(findings) == {
        "aaaa": ("not-met", "no-aaaa"),
        "ipv6-answer": ("not-met", "no-aaaa"),
        "tls": ("met", "certificate-valid"),  # the certificate can be looked at all the same
    }
    assert findings["aaaa"].facts == {"aaaa": [], "a_records": 1}
    assert findings["tls"].facts["address"] == "127.0.0.1"


async def test_a_portal_that_answers_over_ipv4_only_does_not_answer_over_ipv6(authority):
    async with Portal().serving("127.0.0.1", authority.context(HOST)) as portal:
        findings = await found(prober(BOTH, authority, https=portal.port))
    assert told(findings) == {
        "aaaa": ("met", "has-aaaa"),
        "ipv6-answer": ("not-met", "refused"),
        "tls": ("met", "certificate-valid"),
    }
    assert findings["ipv6-answer"].facts["error"] == "ECONNREFUSED"
    assert len(portal.requests) == 1  # over IPv4, for the certificate alone


async def test_an_expired_certificate_is_no_valid_one_though_the_portal_answers(authority):
    async with Portal().serving(tls=authority.context(HOST, days=-3)) as portal:
        findings = await found(prober(BOTH, authority, https=portal.port))
    assert told(findings) == {
        "aaaa": ("met", "has-aaaa"),
        "ipv6-answer": ("met", "answers"),
        "tls": ("not-met", "certificate-expired"),
    }
    assert findings["tls"].facts["days_left"] == -3


async def test_a_certificate_of_another_host_or_of_nobody_known_is_refused(authority, tmp_path):
    other = authority.context("dichvucong.nghean.gov.vn")
    async with Portal().serving(tls=other) as portal:
        findings = await found(prober(BOTH, authority, https=portal.port))
    assert findings["tls"].reason == "certificate-other-host"
    stranger = Authority(tmp_path, "Người lạ")
    async with Portal().serving(tls=stranger.context(HOST)) as portal:
        findings = await found(prober(BOTH, authority, https=portal.port))
    assert (findings["tls"].state, findings["tls"].reason) == ("not-met", "certificate-untrusted")
    assert findings["ipv6-answer"].state == "met"


async def test_a_portal_without_tls_answers_over_http_and_has_no_certificate(authority):
    moved = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/inside\r\n\r\n"
    async with Portal(answer=moved).serving() as portal:
        findings = await found(prober(BOTH, authority, http=portal.port))
    assert told(findings)["ipv6-answer"] == ("met", "answers")
    assert findings["ipv6-answer"].facts == {"address": "::1", "scheme": "http", "status": 301}
    assert told(findings)["tls"] == ("not-met", "no-tls")
    assert len(portal.requests) == 1  # the redirection was not followed


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "server-error"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not-http"),
        (b"x" * 100_000, "not-http"),
    ],
)
async def test_what_is_no_proper_answer_is_not_met(authority, answer, reason):
    async with Portal(answer=answer).serving(tls=authority.context(HOST)) as portal:
        findings = await found(prober(BOTH, authority, https=portal.port))
    assert told(findings)["ipv6-answer"] == ("not-met", reason)


async def test_a_portal_that_never_answers_is_given_up(authority):
    async with Portal(silent=True).serving(tls=authority.context(HOST)) as portal:
        async with asyncio.timeout(10):
            findings = await found(prober(BOTH, authority, https=portal.port, seconds=0.5))
    assert told(findings)["ipv6-answer"] == ("not-met", "no-answer")


async def test_private_addresses_are_never_probed_by_default(authority):
    async with (
        Portal().serving("::1") as six,
        Portal().serving("127.0.0.1", port=six.port) as four,
    ):
        findings = await found(prober(BOTH, authority, https=six.port, http=six.port, networks=()))
        assert six.requests == four.requests == []
    assert told(findings) == {
        "aaaa": ("not-met", "not-public"),
        "ipv6-answer": ("unknown", "not-probed"),
        "tls": ("unknown", "not-probed"),
    }


@pytest.mark.parametrize(
    "address",
    [
        *("::1", "fe80::1", "fc00::7", "fd12::1", "ff02::1", "::", "2001:db8::1"),
        *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::"),
        *("::7f00:1", "2001:0:7f00:1::1"),
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255"),
    ],
)
def test_addresses_that_lead_inside_are_out_of_reach(address):
    assert not Reach().allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["2405:4800::1", "2001:ee0:1::5", "203.162.0.11"])
def test_public_addresses_are_in_reach(address):
    assert Reach().allows(ipaddress.ip_address(address))


def test_a_network_that_is_named_is_in_reach_and_nothing_beside_it():
    reach = Reach((ipaddress.ip_network("fd12::/64"),))
    assert reach.allows(ipaddress.ip_address("fd12::9"))
    assert not reach.allows(ipaddress.ip_address("fd13::9"))


def test_an_address_that_a_translator_made_up_is_no_aaaa_record():
    assert translated(ipaddress.ip_address("64:ff9b::cba2:b"))
    assert not translated(ipaddress.ip_address("2405:4800::1"))


async def test_while_nobody_can_be_asked_for_addresses_nothing_is_known(authority):
    findings = await found(prober(Names(away=True), authority))
    assert set(told(findings).values()) == {("unknown", "resolver-failed")}


async def test_a_name_that_does_not_exist_has_no_record_at_all(authority):
    findings = await found(prober(Names(), authority))
    assert told(findings)["aaaa"] == ("not-met", "no-such-host")
    assert told(findings)["tls"] == ("unknown", "no-such-host")


class Lookup:
    """The loop's look-up, with an answer of the test's."""

    def __init__(self, *told: str, error: Exception | None = None) -> None:
        self.told = told
        self.error = error
        self.asked: list[object] = []

    async def getaddrinfo(self, host, port, *, family, type):  # noqa: A002 - the loop's name
        self.asked.append((host, family))
        if self.error:
            raise self.error
        return [(family, type, 6, "", (one, 0, 0, 0)) for one in self.told]


async def looked_up(monkeypatch, lookup: Lookup) -> list[str]:
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: lookup)
    try:
        return [str(one) for one in await SystemResolver(5.0).addresses(HOST, "ipv6")]
    finally:
        monkeypatch.undo()


async def test_the_machines_resolver_asks_for_exactly_that_host_and_family(monkeypatch):
    lookup = Lookup("2405:4800::1", "2405:4800::1", "fe80::1%eth0", "64:ff9b::cba2:b")
    assert await looked_up(monkeypatch, lookup) == ["2405:4800::1", "fe80::1"]
    assert lookup.asked == [(HOST + ".", socket.AF_INET6)]  # the dot: no search domains


async def test_no_record_and_no_answer_of_the_resolver_are_different_things(monkeypatch):
    for code in (socket.EAI_NONAME, socket.EAI_NODATA):
        assert await looked_up(monkeypatch, Lookup(error=socket.gaierror(code, "x"))) == []
    with pytest.raises(ResolverAway):
        await looked_up(monkeypatch, Lookup(error=socket.gaierror(socket.EAI_AGAIN, "x")))


class Swallowing:
    """A network that lets every call run into its timeout, and counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def call(self, address, port, host, tls):
        self.calls += 1
        raise TimeoutError


async def test_a_host_with_many_dead_addresses_is_given_up_after_a_bounded_number_of_calls():
    names = Names(
        ipv6={HOST: [f"2405:4800::{number}" for number in range(1, 17)]},
        ipv4={HOST: [f"203.162.0.{number}" for number in range(1, 17)]},
    )
    network = Swallowing()
    findings = await found(Prober(names, network, Reach()))
    assert told(findings) == {
        "aaaa": ("met", "has-aaaa"),
        "ipv6-answer": ("not-met", "no-answer"),
        "tls": ("not-met", "no-tls"),
    }
    assert network.calls <= 12


async def test_a_machine_without_ipv6_says_nothing_about_portals():
    class NoRoute(Swallowing):
        async def call(self, address, port, host, tls):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    names = Names(ipv6={HOST: ["2405:4800::1"]})
    findings = await found(Prober(names, NoRoute(), Reach()))
    assert told(findings)["ipv6-answer"] == ("unknown", "no-route")
    assert told(findings)["tls"] == ("unknown", "no-route")
