"""What a client prefers (RFC 7240) and on what it makes a step depend (RFC 9110 section 13.1.1)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.datastructures import Headers

from gateway.errors import IfMatchMalformed

LONGEST_WAIT = 30
"""Seconds that ``Prefer: wait`` can ask for."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_WORD = rf'(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
_PREFERENCE = re.compile(
    rf"[\s,]*(?P<name>{_TOKEN})(?:\s*=\s*(?P<value>{_WORD}))?"
    rf"(?:\s*;(?:\s*{_TOKEN}(?:\s*=\s*{_WORD})?)?)*\s*(?=,|$)"
)
_SECONDS = re.compile(r"[0-9]{1,6}")
CONDITION = r'^(\*|(W/)?"[!#-~]*"( ?, ?(W/)?"[!#-~]*")*)$'
"""``If-Match``: any state, or entity tags."""
LONGEST_CONDITION = 500
_CONDITION = re.compile(CONDITION)


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the header ``Prefer`` says of things that are known here; the rest is left alone.

    Attributes:
        wait: seconds, at most ``LONGEST_WAIT``; 0 without.
        respond_async: not to wait longer than that.
        receipt: a signed receipt with the answer.
    """

    wait: int = 0
    respond_async: bool = False
    receipt: bool = False

    def applied(self, *, asynchronous: bool) -> list[str]:
        """What an answer was made by, for ``Preference-Applied``.

        Args:
            asynchronous: whether it was answered before the outcome was known.
        """
        told = [f"wait={self.wait}"] if self.wait else []
        return [*told, "respond-async"] if asynchronous and self.respond_async else told


def preferences(headers: Headers) -> Preferences:
    """The preferences of a request; of one that is named twice the first counts."""
    if "prefer" not in headers:
        return _NONE
    named: dict[str, str] = {}
    for name, value in _named(",".join(headers.getlist("prefer"))):
        named.setdefault(name, value)
    wait = named.get("wait", "")
    return Preferences(
        wait=min(int(wait), LONGEST_WAIT) if _SECONDS.fullmatch(wait) else 0,
        respond_async="respond-async" in named,
        receipt="receipt" in named,
    )


_NONE = Preferences()


def _named(header: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(header):
        found = _PREFERENCE.match(header, place)
        if found is None:  # not of the standard's form: what stands behind the comma may be
            place = header.find(",", place) + 1
            if not place:
                return
            continue
        yield found["name"].lower(), (found["value"] or "").strip('"')
        place = found.end() + 1


def expected_of(headers: Headers) -> str | None:
    """The entity tags of ``If-Match``, or ``*``; None without it.

    Raises:
        IfMatchMalformed: it is neither, or too long.
    """
    if "if-match" not in headers:
        return None
    given = ",".join(headers.getlist("if-match")).strip()
    if len(given) <= LONGEST_CONDITION and _CONDITION.fullmatch(given):
        return given
    raise IfMatchMalformed(
        "If-Match là * hoặc các thẻ ETag trong ngoặc kép, như khi đọc hồ sơ",
        "If-Match is * or entity tags in double quotes, as reading the dossier answered them",
    )
