"""JSON that can be read in one way only (RFC 8259, I-JSON RFC 7493).

Two readers of one body must not see two things: a name that stands twice, a number that one of
them rounds or takes for infinite, half of a surrogate pair, a byte order mark or something behind
the end are refused, whoever reads the body afterwards.
"""

import json
import re
from typing import Any

import orjson

from gateway.errors import MalformedJson

DEEPEST = 32
"""Arrays and objects within each other; what clients send needs six."""

_INT64 = 2**63
# Every name of a member, and now and then a piece of a string that looks like one.
_NAMES = re.compile(rb'"[ \t\r\n]*:')
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBER = re.compile(rb"(-?)([0-9]+)(\.[0-9]+)?(?:[eE]([+-]?[0-9]+))?")
_MOST_DIGITS = 40
_LARGEST_EXPONENT = 308


def checked(raw: bytes) -> Any:
    """The value of a JSON text.

    Members are counted twice: those that a reader keeps, and those that the text seems to have.
    Where both are the same no name stands twice; only where they differ the text is gone through
    name by name.

    Raises:
        MalformedJson: no JSON text in UTF-8, a name twice in one object, nested deeper than
            ``DEEPEST``, a number beyond 64 bits or a double, or half of a surrogate pair.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        # The parser's own sentence could hold a part of the body.
        raise MalformedJson("Nội dung không phải JSON hợp lệ", "The JSON is not valid") from None
    seen = _Seen()
    kept = seen.members((value,), DEEPEST)
    if kept != len(_NAMES.findall(raw)):
        _names_once(raw)
    if seen.fractions:
        _numbers_sane(raw)
    return value


class _Seen:
    """What a walk through a value comes across."""

    __slots__ = ("fractions",)

    def __init__(self) -> None:
        self.fractions = False
        """Numbers that are no integers, or too large for one."""

    def members(self, values: Any, left: int) -> int:
        """How many members the objects below have."""
        count = 0
        for value in values:
            kind = type(value)
            if kind is str:
                continue
            if kind is dict or kind is list:
                if not left:
                    raise MalformedJson(
                        f"JSON lồng nhau quá {DEEPEST} cấp",
                        f"The JSON is nested deeper than {DEEPEST} levels",
                    )
                if kind is dict:
                    count += len(value)
                    value = value.values()  # noqa: PLW2901 - the members are walked as a list is
                count += self.members(value, left - 1)
            elif kind is float:
                self.fractions = True
            elif kind is int and not -_INT64 <= value < _INT64:
                raise _number()
        return count


def _names_once(raw: bytes) -> None:
    """Raise where a name stands twice in one object, however it is written.

    The standard library's reader is slower, but it shows every member.
    """

    def once(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise MalformedJson(
                "Một đối tượng JSON có tên trường lặp lại",
                "A JSON object names one of its members twice",
            )

    json.loads(raw, object_pairs_hook=once)


def _numbers_sane(raw: bytes) -> None:
    """Raise for numbers that a double cannot hold or that only cost time to read."""
    for sign, whole, fraction, exponent in _NUMBER.findall(_STRING.sub(b'""', raw)):
        if len(whole) + len(fraction) > _MOST_DIGITS or len(exponent) > len("+308"):
            raise _number()
        if exponent and abs(int(exponent)) > _LARGEST_EXPONENT:
            raise _number()
        if not fraction and not exponent and not -_INT64 <= int(sign + whole) < _INT64:
            raise _number()


def _number() -> MalformedJson:
    return MalformedJson(
        "JSON có số nằm ngoài phạm vi 64 bit",
        "The JSON has a number beyond 64 bits or a double",
    )
