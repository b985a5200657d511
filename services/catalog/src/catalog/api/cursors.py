"""Where a page ends, as a text that clients pass back and cannot make up."""

import base64
import binascii
import hashlib
from collections.abc import Iterable

import orjson

from common.errors import Invalid


def page_end(rank: int, code: str, asked: Iterable[object]) -> str:
    """The end of a page of what was asked for."""
    return _packed([_seal(asked), rank, code])


def page_start(cursor: str, asked: Iterable[object]) -> tuple[int, str]:
    """Rank and code behind which the next page begins.

    Raises:
        Invalid: no cursor of ours, or one of another search.
    """
    if not cursor:
        return -1, ""
    match _unpacked(cursor):
        case [str(seal), int(rank), str(code)] if 0 <= rank < 2**31 and len(code) <= 60:
            if "\x00" not in code and seal == _seal(asked):
                return rank, code
    raise _no_cursor("/after")


def change_cursor(change: int) -> str:
    """The cursor of the feed behind a change."""
    return _packed(["c", change])


def change_of(cursor: str) -> int:
    """The change behind which the feed goes on; 0 at its beginning.

    Raises:
        Invalid: no cursor of ours.
    """
    if not cursor:
        return 0
    match _unpacked(cursor):
        case ["c", int(change)] if 0 <= change < 2**63:
            return change
    raise _no_cursor("/since")


def _packed(content: list[object]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _unpacked(cursor: str) -> object:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
        return None


def _seal(asked: Iterable[object]) -> str:
    return hashlib.blake2b(orjson.dumps(list(asked)), digest_size=4).hexdigest()


def _no_cursor(pointer: str) -> Invalid:
    return Invalid(
        "Con trỏ trang không dùng được cho truy vấn này",
        "The cursor does not belong to this query",
        errors=[{"pointer": pointer, "detail": "không hợp lệ", "detail_en": "not valid"}],
    )
