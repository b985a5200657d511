"""Certificates that name hostile places to look up revocation: what is read of them is bounded,
and holds nothing that could be taken for another address than the one that was judged."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest
from asn1crypto import core, x509
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.addresses import Reach
from common.http import Guard
from signature_connector.verification.isolation import _lookups
from signature_connector.verification.lookups import (
    LONGEST_ADDRESS,
    MOST_ADDRESSES,
    completed,
    good_until,
    lookups,
)
from tests.support.signing import authority, root
from tests.support.verification import Addressed, addressed, crl, der, ocsp_answer

FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
AIA, CDP = "1.3.6.1.5.5.7.1.1", "2.5.29.31"
OCSP = bytes.fromhex("06082b06010505073001")
HOLDER = addressed("Người ký", authority(), Addressed())
PLAIN = der(HOLDER)


def tagged(tag: int, content: bytes) -> bytes:
    """DER of a value."""
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def uri(text: str | bytes) -> bytes:
    return tagged(0x86, text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)


def responders(*names: bytes) -> bytes:
    """AuthorityInfoAccess of OCSP responders."""
    return tagged(0x30, b"".join(tagged(0x30, OCSP + one) for one in names))


def points(*names: bytes) -> bytes:
    """CRLDistributionPoints, each with one name."""
    return tagged(0x30, b"".join(tagged(0x30, tagged(0xA0, tagged(0xA0, one))) for one in names))


def naming(*extensions: tuple[str, bytes]) -> bytes:
    """A certificate with these extensions in place of its own; the signature does not matter."""
    made = x509.Certificate.load(PLAIN)
    whole = made["tbs_certificate"]
    kept = [one.dump() for one in whole["extensions"] if one["extn_id"].dotted not in (AIA, CDP)]
    kept += [
        tagged(0x30, core.ObjectIdentifier(kind).dump() + tagged(0x04, value))
        for kind, value in extensions
    ]
    # Put together by hand: the library would mend what it is given.
    fields = b"".join(whole[name].dump() for name in whole if name != "extensions")
    tbs = tagged(0x30, fields + tagged(0xA3, tagged(0x30, b"".join(kept))))
    rest = made["signature_algorithm"].dump() + made["signature_value"].dump()
    return tagged(0x30, tbs + rest)


def read(certificate: bytes) -> list[tuple[str, str]]:
    calls = lookups([certificate, der(authority()), der(root())])
    assert len(calls) <= 2
    return [(one.kind, one.url) for one in calls[0]]


HOSTILE = [
    "file:///etc/passwd",
    "ldap://127.0.0.1/cn=a?certificateRevocationList",
    "ftp://example.vn/ca.crl",
    "gopher://example.vn:70/x",
    "javascript:alert(1)",
    "//example.vn/ca.crl",
    "http:example.vn",
    "http:///ca.crl",
    "http://",
    "http://user@example.vn/",
    "http://example.vn@127.0.0.1/",
    "http://127.0.0.1\\@example.vn/",
    "http://example.vn\\@127.0.0.1/",
    "http://example.vn#@127.0.0.1/",
    "http://example.vn\t/",
    "http://example.vn\r\nHost: inside/",
    " http://example.vn/",
    "http://example.vn/ ",
    "http://example.vn:0/",
    "http://example.vn:65536/",
    "http://example.vn:8a/",
    "http://example.vn:/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://[::1%25lo]/",
    "http://[::ffff:127.0.0.1/",
    "http://[fe80::1%lo]/",
    "http://ví-dụ.vn/",
    "http://example。vn/",
    "http://exa\u00admple.vn/",
    "http://%31%32%37.0.0.1/",
    "http://a..vn/",
    "http://.vn/",
    "http://example.vn/" + "a" * LONGEST_ADDRESS,
    "http://example.vn/\x00",
    "http://example.vn/ă",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_could_be_taken_for_another_is_not_asked(address: str) -> None:
    good = "http://ocsp.example.vn/"
    certificate = naming(
        (AIA, responders(uri(address), uri(good))), (CDP, points(uri(address), uri(good)))
    )
    assert read(certificate) == [("ocsp", good), ("crl", good)]


@pytest.mark.parametrize(
    "address",
    [
        "http://ocsp.example.vn",
        "HTTP://OCSP.Example.vn/",
        "https://crl.example.vn:8443/a%20b/ca.crl?x=1&y=(2)",
        "http://xn--v-d-xja3y.vn/ca_1.crl",
        "http://203.0.113.7/ca.crl",
        "http://[2001:db8::7]:8080/ca.crl",
        "http://ca_1.example.vn?x",
    ],
)
def test_an_address_is_asked_as_it_is_written(address: str) -> None:
    certificate = naming((AIA, responders(uri(address))), (CDP, points(uri(address))))
    assert read(certificate) == [("ocsp", address), ("crl", address)]


def test_the_same_address_is_asked_once_and_few_are() -> None:
    many = [uri(f"http://{number}.example.vn/") for number in range(2000) for _ in range(2)]
    found = read(naming((AIA, responders(*many)), (CDP, points(*many))))
    assert [url for _, url in found] == [
        f"http://{number}.example.vn/" for _ in "ab" for number in range(MOST_ADDRESSES)
    ]


def test_a_broken_extension_takes_nothing_from_the_other() -> None:
    good = "http://crl.example.vn/ca.crl"
    for broken in (b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x05\x00", responders(b"\x86\x7f")):
        assert read(naming((AIA, broken), (CDP, points(uri(good))))) == [("crl", good)]
        assert read(naming((AIA, responders(uri(good))), (CDP, broken))) == [("ocsp", good)]


def test_an_extension_that_stands_there_twice_is_none() -> None:
    first, second = responders(uri("http://a.vn/")), responders(uri("http://b.vn/"))
    assert read(naming((AIA, first), (AIA, second))) == []


def test_a_broken_certificate_takes_nothing_from_the_others() -> None:
    chain = [PLAIN, b"\x30\x00", b"", der(authority()), b"\xff" * 100, der(root())]
    assert len(lookups(chain)[0]) == 2
    assert completed([b"\x30\x00"], [der(root())]) == [b"\x30\x00"]


name = st.one_of(
    st.sampled_from(HOSTILE).map(uri),
    st.text(max_size=60).map(lambda text: uri("http://" + text)),
    st.from_regex(r"\Ahttps?://[!-~]{0,40}\Z").map(uri),
    st.builds(
        lambda host, rest: uri(f"http://{host}{rest}"),
        st.one_of(
            st.ip_addresses().map(str),
            st.ip_addresses(v=6).map(lambda one: f"[{one}]"),
            st.integers(0, 2**33).map(str),
            st.integers(0, 2**33).map(hex),
            st.from_regex(r"\A[0-9a-fx.]{1,20}\Z"),
        ),
        st.sampled_from(["", "/", ":80", ":99999", "@a.vn/", "/%00", "?", "\\", "#"]),
    ),
    st.builds(
        tagged,
        st.sampled_from([0x82, 0x86, 0x87, 0x88, 0xA0, 0xA4, 0xA5, 0xA6, 0x04, 0x26]),
        st.binary(max_size=40),
    ),
    st.binary(max_size=30),
)
extension = st.one_of(
    st.binary(max_size=60),
    st.lists(name, max_size=8).map(lambda names: responders(*names)),
    st.lists(name, max_size=8).map(lambda names: points(*names)),
    st.lists(name, max_size=3).map(lambda names: tagged(0x30, b"".join(names))),
)


@FUZZ
@given(st.lists(st.tuples(st.sampled_from([AIA, CDP]), extension), max_size=4))
@example([(AIA, responders(uri("http://ok.vn/"))), (AIA, responders(uri("http://twice.vn/")))])
@example([(CDP, points(tagged(0x86, b"http://a.vn/") * 3000))])
def test_whatever_a_certificate_names_reading_it_ends_well(
    extensions: Sequence[tuple[str, bytes]],
) -> None:
    found = read(naming(*extensions))
    assert len(found) <= 2 * MOST_ADDRESSES
    assert len(set(found)) == len(found)
    for _, address in found:
        check_plain(address)
    if not extensions:
        assert found == []


def check_plain(address: str) -> None:
    """Every reader takes it for the same, and the guard sees the address that is connected to."""
    assert len(address) <= LONGEST_ADDRESS
    assert address.isascii()
    assert address.isprintable()
    split, url = urlsplit(address), httpx.URL(address)
    assert split.scheme in {"http", "https"}
    assert (split.hostname, split.username, split.password) == (url.host, None, None)
    assert url.userinfo == b""
    assert split.port in (url.port, {"http": 80, "https": 443}[split.scheme])
    try:
        taken = ipaddress.ip_address(socket.inet_aton(url.host))
    except OSError:
        return  # a name: the guard looks at what it resolves to
    assert ipaddress.ip_address(url.host) == taken
    if not taken.is_global:
        guard = Guard(_Nobody(), Reach(()))
        with pytest.raises(httpx.UnsupportedProtocol):
            asyncio.run(guard.check(httpx.Request("GET", url)))


class _Nobody:
    async def addresses(self, host: str, family: str) -> list[ipaddress.IPv4Address]:
        raise AssertionError(host)


GOOD = (PLAIN, crl(authority()), ocsp_answer(HOLDER, authority()))


@FUZZ
@given(st.data())
def test_changed_bytes_of_certificates_and_answers_never_break_the_reading(
    data: st.DataObject,
) -> None:
    for good in GOOD:
        content = bytearray(good)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        chain = (bytes(content), der(authority()))
        for calls in lookups(completed(chain, [der(root())])):
            for one in calls:
                check_plain(one.url)
        for kind in ("crl", "ocsp"):
            until = good_until(kind, bytes(content))
            assert until is None or until > datetime(1, 1, 2, tzinfo=UTC)


def test_the_isolated_process_answers_whatever_the_chain_is() -> None:
    from signature_connector.verification import isolation
    from tests.support.verification import policies

    isolation._begin(policies())
    for chain in ((), (b"",), (b"\x30\x00",), (PLAIN, b"\xff")):
        assert not _lookups(chain).refusal
