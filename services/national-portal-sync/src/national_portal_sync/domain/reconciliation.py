"""Reconciliation (đối soát): what we hold the portal to have against what it shows.

Only what the portal shows is compared; what it does not show is named as not checkable. Values are
never part of a finding, since they may be personal: it has the names of the fields that differ and
hashes over those that are not personal. The status is told in clear.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import orjson

HEAL_MOST_TIMES = 3
"""How often one version of a dossier is sent again because of what reconciliation found."""


class Kind(StrEnum):
    """How the two sides differ."""

    MISSING_THERE = "missing-there"
    MISSING_HERE = "missing-here"
    DIFFERENT_CONTENT = "different-content"
    DIFFERENT_STATUS = "different-status"
    NOT_CHECKABLE = "not-checkable"


HEALABLE = frozenset({Kind.MISSING_THERE, Kind.DIFFERENT_CONTENT, Kind.DIFFERENT_STATUS})


class Healing(StrEnum):
    """What was done about a difference."""

    QUEUED = "queued"
    """The snapshot is on its way to the portal again."""
    HELD = "held"
    """Nothing: the portal refused this dossier before, which an operator has to look at."""
    GIVEN_UP = "given-up"
    """Nothing: this version was sent again several times, and the difference is still there."""
    LIMIT = "limit"
    """Nothing: the run had sent as much again as one run may."""
    SUPERSEDED = "superseded"
    """Nothing: something newer was sent while the portal was asked."""
    NOTHING_KEPT = "nothing-kept"
    """Nothing: no snapshot of it was taken by the portal since this is recorded."""
    NONE = "none"
    """Nothing is to be done by itself."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the portal answered about a dossier.

    Attributes:
        there: whether it has it; None where the answer does not say.
        fields: what it shows of it, by the names of the wire.
    """

    there: bool | None
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fields:
    """How fields are to be understood.

    Attributes:
        status: the name of the field with the status.
        key: the field that names the dossier: equal by itself.
        personal: names of fields whose values are personal.
        passing: names, at any depth, of values that change without the dossier changing.
    """

    status: str
    key: str
    personal: frozenset[str]
    passing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding about one dossier."""

    code: str
    kind: Kind
    fields: tuple[str, ...] = ()
    expected_status: str | None = None
    found_status: str | None = None
    expected_sha256: str | None = None
    found_sha256: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing one dossier gave.

    Attributes:
        compared: names of the fields that both sides have.
        not_shown: names of the fields that were sent and are not in the answer.
    """

    differences: tuple[Difference, ...]
    compared: frozenset[str] = frozenset()
    not_shown: frozenset[str] = frozenset()


def compare(
    code: str, sent: Mapping[str, Any] | None, status: str | None, seen: Seen, names: Fields
) -> Comparison:
    """Compare a dossier.

    Args:
        sent: its item as the portal took it; None where no snapshot is kept.
        status: the status that the portal took last; None where it took none.
    """
    if seen.there is None:
        return _not_checkable(code, "the answer does not say whether it is there")
    if not seen.there:
        return Comparison((Difference(code, Kind.MISSING_THERE, expected_status=status),))
    expected = dict(sent) if sent is not None else {}
    if sent is None and status is not None:
        expected[names.status] = status
    shown = set(seen.fields) & set(expected) - {names.key}
    hidden = frozenset(set(expected) - set(seen.fields) - {names.key})
    if not shown:
        return _not_checkable(code, "the answer shows no field to compare", hidden)
    unequal = sorted(
        name for name in shown if _plain(expected[name], names) != _plain(seen.fields[name], names)
    )
    told = (
        None if names.status not in shown else str(expected[names.status]),
        None if names.status not in shown else _text(seen.fields[names.status])[:20],
        content_hash({name: expected[name] for name in shown}, names),
        content_hash({name: seen.fields[name] for name in shown}, names),
    )
    found = []
    if names.status in unequal:
        found.append(Difference(code, Kind.DIFFERENT_STATUS, (names.status,), *told))
    if others := tuple(name for name in unequal if name != names.status):
        found.append(Difference(code, Kind.DIFFERENT_CONTENT, others, *told))
    return Comparison(tuple(found), frozenset(shown), hidden)


def content_hash(fields: Mapping[str, Any], names: Fields) -> str:
    """SHA-256 over the fields that are not personal, in canonical JSON."""
    plain = {
        name: _plain(value, names) for name, value in fields.items() if name not in names.personal
    }
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()


def day_of(submitted: datetime, received: datetime | None, vietnam: Any) -> date:
    """The day a dossier is reconciled under: of its reception, or until then of its submission."""
    return (received or submitted).astimezone(vietnam).date()


def report_hash(report: Mapping[str, Any]) -> str:
    """SHA-256 over a report's canonical content: sorted keys, no white space, UTF-8, times in UTC,
    without the member ``sha256`` itself."""
    content = {name: value for name, value in report.items() if name != "sha256"}
    text = orjson.dumps(content, default=_utc, option=orjson.OPT_SORT_KEYS | _DATES)
    return hashlib.sha256(text).hexdigest()


_DATES = orjson.OPT_PASSTHROUGH_DATETIME


def _utc(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _not_checkable(code: str, reason: str, hidden: frozenset[str] = frozenset()) -> Comparison:
    return Comparison((Difference(code, Kind.NOT_CHECKABLE, reason=reason),), not_shown=hidden)


def _plain(value: Any, names: Fields) -> Any:
    """A value in the form in which two that mean the same are equal."""
    if isinstance(value, Mapping):
        return {
            name: _plain(one, names) for name, one in value.items() if name not in names.passing
        }
    if isinstance(value, list | tuple):
        return [_plain(one, names) for one in value]
    return _text(value)


def _text(value: Any) -> str:
    return "" if value is None else unicodedata.normalize("NFC", str(value)).strip()
