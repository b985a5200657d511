"""Versions: when one is valid, whose word counts, and when content has changed."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import orjson
from pydantic import BaseModel

from catalog.domain.catalogue import Origin

_VIETNAM = timezone(timedelta(hours=7))
"""Asia/Ho_Chi_Minh; without summer time since 1975."""

DAY = timedelta(days=1)


def vietnam_day(moment: datetime | None = None) -> date:
    """The day in Vietnam, today unless a moment is given."""
    return (moment or datetime.now(UTC)).astimezone(_VIETNAM).date()


def may_follow(origin: Origin, newest: Origin | None) -> bool:
    """Whether a source may put a version behind the newest one.

    What comes with the service never goes over what the national portal or an operator said since.
    Between those two the later word counts: an operator's correction stands until the portal's
    record itself changes.
    """
    return newest in (None, "package") or origin != "package"


def digest(entry: BaseModel) -> bytes:
    """A digest of the content that says when it has changed.

    Nulls are left out, so that a field that is new in the model is no change of every entry.
    """
    return digest_of(entry.model_dump(mode="json"))


def digest_of(content: Mapping[str, Any]) -> bytes:
    """The same of content that is already plain data."""
    return hashlib.sha256(orjson.dumps(_stated(content), option=orjson.OPT_SORT_KEYS)).digest()


def _stated(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _stated(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_stated(one) for one in value]
    return value
