"""Names of hosts, as they may be registered for a channel."""

import re
import unicodedata

LONGEST = 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOP = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
_NOT_PUBLIC = frozenset(
    {
        *("alt", "arpa", "corp", "example", "home", "internal", "intranet", "invalid"),
        *("lan", "local", "localhost", "onion", "private", "test"),
    }
)


class NotAHostname(ValueError):
    """The text does not name a public host."""


def hostname(given: str) -> str:
    """The host in its ASCII form: lower case, international labels as ``xn--``, no dot at the end.

    Raises:
        NotAHostname: an address, a URL, a name of a single label or of no public zone, or one that
            has no unambiguous ASCII form.
    """
    name = unicodedata.normalize("NFC", given).removesuffix(".").lower()
    if not 1 <= len(name) <= LONGEST:
        raise NotAHostname("a host name has 1 to 253 characters")
    labels = name.split(".")
    if len(labels) < 2:
        raise NotAHostname("a host name has several labels")
    plain = [_ascii(label) for label in labels]
    if not _TOP.fullmatch(plain[-1]):
        raise NotAHostname("the last label is no top-level domain")
    if plain[-1] in _NOT_PUBLIC:
        raise NotAHostname("the zone is not a public one")
    host = ".".join(plain)
    if len(host) > LONGEST:
        raise NotAHostname("a host name has 1 to 253 characters")
    return host


def readable(host: str) -> str:
    """The host as people write it."""
    try:
        return host.encode("ascii").decode("idna")
    except UnicodeError:
        return host


def _ascii(label: str) -> str:
    """A label's ASCII form.

    Both ways must lead back to the label: so a name that a reader of another IDNA version would
    take for a different host (``ß``, joiners, letters of compatibility) is no name.
    """
    try:
        if label.isascii():
            if label.startswith("xn--") and _unicode(label).encode("idna").decode() != label:
                raise NotAHostname("an international label is not in its one form")
            if _LABEL.fullmatch(label) and (label.startswith("xn--") or label[2:4] != "--"):
                return label
        else:
            converted = label.encode("idna").decode("ascii")
            if converted.startswith("xn--") and _unicode(converted) == label:
                return converted
    except UnicodeError as error:
        raise NotAHostname("a label cannot be read") from error
    raise NotAHostname("a label has letters, digits and inner hyphens, 63 at the most")


def _unicode(label: str) -> str:
    return label.encode("ascii").decode("idna")
