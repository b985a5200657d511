"""Kinds of values in clients' bodies, each with its limits."""

import re
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_RFC3339_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEARS = range(1900, 2201)
_NO_CONTROLS = r"[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"
_WITH_CONTENT = rf"^{_NO_CONTROLS}*[^\s\x00-\x1F\x7F]{_NO_CONTROLS}*$"


def _moment(value: object) -> datetime:
    """An RFC 3339 time with its offset, as UTC, so that one moment is written in one way."""
    if not (isinstance(value, str) and _RFC3339.fullmatch(value)):
        raise PydanticCustomError("datetime_parsing", "Input should be an RFC 3339 date-time")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise PydanticCustomError(
            "datetime_parsing", "Input should be a moment that exists"
        ) from None
    if moment.tzinfo is None:
        raise PydanticCustomError("timezone_aware", "Input should have timezone info")
    if moment.year not in _YEARS:
        raise PydanticCustomError("moment_range", "Input should lie between 1900 and 2200")
    return moment.astimezone(UTC)


def _day(value: object) -> date:
    """An RFC 3339 full-date; a bare number, which could be read as a Unix time, is none."""
    if not (isinstance(value, str) and _RFC3339_DAY.fullmatch(value)):
        raise PydanticCustomError("date_parsing", "Input should be an RFC 3339 full-date")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("date_parsing", "Input should be a day that exists") from None


Day = Annotated[date, BeforeValidator(_day)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with an offset, from 1900 to 2200",
            "examples": ["2026-11-02T08:00:00+07:00"],
        }
    ),
]


def text(longest: int) -> StringConstraints:
    """Some text, without control characters other than tab and line ends."""
    return StringConstraints(min_length=1, max_length=longest, pattern=_WITH_CONTENT)


Code = Annotated[str, text(100)]
Name = Annotated[str, text(300)]
Text = Annotated[str, text(2000)]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^https?://[!-~]+$")]
Email = Annotated[
    str, StringConstraints(max_length=254, pattern=r"^[^\s@\x00-\x1F\x7F]+@[^\s@\x00-\x1F\x7F]+$")
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
