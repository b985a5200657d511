"""Expiring links to files."""

import base64
import os
import unicodedata
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from common.file_links import FileLinks, LinkExpired, LinkInvalid, links_of, safe_name
from common.settings import LinkSettings

DIGEST = "ab" * 32
DAY = 24 * 3600


def key() -> SecretStr:
    return SecretStr(base64.b64encode(os.urandom(32)).decode())


OLD, NEW = key(), key()


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def links(clock: Clock) -> FileLinks:
    return FileLinks("https://truc.example.vn/", {"k1": OLD}, "k1", DAY, clock=clock)


def taken_apart(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    return parts.path.rpartition("/")[2], dict(parse_qsl(parts.query))


def test_a_link_leads_to_the_file_under_its_name(links: FileLinks) -> None:
    url = links.url(DIGEST, "Giấy chứng nhận đăng ký.pdf")
    assert url.startswith(f"https://truc.example.vn/v1/files/{DIGEST}?")
    assert url.isascii()
    digest, query = taken_apart(url)
    assert links.check(digest, query) == "Giấy chứng nhận đăng ký.pdf"


def test_a_link_is_good_for_its_time_and_not_longer_than_an_eighth_more(
    links: FileLinks, clock: Clock
) -> None:
    digest, query = taken_apart(links.url(DIGEST, "a.pdf"))
    clock.now += DAY - 1
    assert links.check(digest, query) == "a.pdf"
    clock.now += DAY // 8 + 1
    with pytest.raises(LinkExpired):
        links.check(digest, query)


def test_the_same_file_asked_for_again_soon_has_the_same_link(
    links: FileLinks, clock: Clock
) -> None:
    clock.now = 1_800_000_000.0 // (DAY // 8) * (DAY // 8) + 1
    first = links.url(DIGEST, "a.pdf")
    clock.now += 3600
    assert links.url(DIGEST, "a.pdf") == first


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("n", "b.pdf"),
        ("n", ""),
        ("n", "x" * 10_000),
        ("e", "1999999999"),
        ("e", "９"),
        ("e", ""),
        ("e", "-1"),
        ("k", "k2"),
        ("k", ""),
        ("s", ""),
        ("s", "é"),
        ("s", "A" * 43),
    ],
)
def test_no_part_of_a_link_can_be_changed(links: FileLinks, part: str, value: str) -> None:
    digest, query = taken_apart(links.url(DIGEST, "a.pdf"))
    with pytest.raises(LinkInvalid):
        links.check(digest, {**query, part: value})
    with pytest.raises(LinkInvalid):
        links.check(digest, {name: given for name, given in query.items() if name != part})


@pytest.mark.parametrize("digest", ["cd" * 32, DIGEST.upper(), "", "../etc", DIGEST + "\n"])
def test_a_link_is_to_one_file(links: FileLinks, digest: str) -> None:
    _, query = taken_apart(links.url(DIGEST, "a.pdf"))
    with pytest.raises(LinkInvalid):
        links.check(digest, query)


def test_keys_rotate_and_old_links_stay_good(links: FileLinks) -> None:
    digest, query = taken_apart(links.url(DIGEST, "a.pdf"))
    both = FileLinks("https://a.vn", {"k1": OLD, "k2": NEW}, "k2", DAY, clock=Clock())
    assert both.check(digest, query) == "a.pdf"
    _, newer = taken_apart(both.url(DIGEST, "a.pdf"))
    assert newer["k"] == "k2"
    with pytest.raises(LinkInvalid):
        links.check(digest, newer)


def test_a_key_of_the_same_name_and_other_content_signs_nothing(links: FileLinks) -> None:
    other = FileLinks("https://a.vn", {"k1": NEW}, "k1", DAY, clock=Clock())
    digest, query = taken_apart(other.url(DIGEST, "a.pdf"))
    with pytest.raises(LinkInvalid):
        links.check(digest, query)


@given(name=st.text(), key_of=st.sampled_from(["k1"]))
def test_any_name_makes_a_link_that_is_good(name: str, key_of: str) -> None:
    links = FileLinks("https://a.vn", {key_of: OLD}, key_of, DAY, clock=Clock())
    url = links.url(DIGEST, name)
    assert len(url) < 2000
    assert links.check(*taken_apart(url)) == (safe_name(name) or DIGEST)


@given(name=st.text())
def test_a_safe_name_is_one_line_without_paths(name: str) -> None:
    safe = safe_name(name)
    assert len(safe) <= 150
    assert not set(safe) & set('\\/:*?"<>|')
    assert not safe.startswith((".", " "))
    assert all(unicodedata.category(character)[0] != "C" for character in safe)
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("../../etc/passwd", "etc passwd"),
        ("a\r\nSet-Cookie: x=1.pdf", "a Set-Cookie x=1.pdf"),
        ("hoa\u0301 đơn.pdf", "hoá đơn.pdf"),
        ("invoice\u202efdp.exe", "invoice fdp.exe"),
        ("x" * 300 + ".docx", "x" * 145 + ".docx"),
        ("..", ""),
        ("", ""),
    ],
)
def test_what_is_dangerous_in_a_name_goes(given: str, safe: str) -> None:
    assert safe_name(given) == safe


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "../" + "a" * 61])
def test_what_is_no_digest_gets_no_link(links: FileLinks, digest: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        links.url(digest, "a.pdf")


@pytest.mark.parametrize(
    ("base", "keys", "current", "seconds"),
    [
        ("ftp://a.vn", {"k1": OLD}, "k1", DAY),
        ("a.vn", {"k1": OLD}, "k1", DAY),
        ("https://a.vn?x=1", {"k1": OLD}, "k1", DAY),
        ("https://a.vn", {"k1": OLD}, "k2", DAY),
        ("https://a.vn", {}, "k1", DAY),
        ("https://a.vn", {"k1": SecretStr("c2hvcnQ=")}, "k1", DAY),
        ("https://a.vn", {"k 1": OLD}, "k 1", DAY),
        ("https://a.vn", {"k1": OLD}, "k1", 0),
    ],
)
def test_what_cannot_sign_is_told_at_the_start(
    base: str, keys: dict[str, SecretStr], current: str, seconds: int
) -> None:
    with pytest.raises(ValueError, match=r"link|base"):
        FileLinks(base, keys, current, seconds)


def test_settings_without_a_public_address_make_no_links() -> None:
    assert links_of(LinkSettings()) is None
    assert links_of(LinkSettings(link_keys={"k1": OLD}, link_key="k1")) is None
    made = links_of(LinkSettings(public_url="https://a.vn", link_keys={"k1": OLD}, link_key="k1"))
    assert made is not None
    assert made.check(*taken_apart(made.url(DIGEST, "a.pdf"))) == "a.pdf"


def test_settings_with_an_address_and_no_key_are_refused() -> None:
    with pytest.raises(ValidationError, match="link_key"):
        LinkSettings(public_url="https://a.vn")
