"""Which steps are usual, unusual or impossible: versioned data, read once.

No official table was found (``data/transitions.json`` says so). An unusual step of a system of
record is recorded and flagged; only an impossible one is refused. Each file
``data/transitions*.json`` holds a version; a step is judged by the one of its day.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from importlib import resources
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from common.contracts.commands import Command
from common.contracts.dossier import Status
from dossier.domain.model import Dossier

Kind = Literal[
    "submit",
    "receive",
    "refuse",
    "progress",
    "request-supplement",
    "give-supplement",
    "request-fee",
    "record-fee",
    "pause",
    "withdraw",
    "complete",
    "return",
    "extend",
    "transfer",
    "rate",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
STATUSES: tuple[Status, ...] = get_args(Status)
PLACES = ("none", *STATUSES)
REFUSALS = frozenset({"unknown-dossier", "dossier-exists", "dossier-closed"})

_VIETNAM = timezone(timedelta(hours=7))
_SHAPE = ConfigDict(frozen=True, extra="forbid")


class Wording(BaseModel):
    """A sentence or label in both languages."""

    model_config = _SHAPE

    vi: str
    en: str


class StatusLabel(Wording):
    """A status; the work of a dossier in a closed one has ended."""

    closed: bool


class Guard(BaseModel):
    """Makes an otherwise usual step unusual, by something that the status does not show."""

    model_config = _SHAPE

    step: Kind
    when: str
    reason: str


FACTS: Mapping[str, Callable[[Dossier, Any], bool]] = {
    "received": lambda d, _: d.state.received_at is not None,
    "open-supplement": lambda d, _: d.open_supplement is not None,
    "no-open-supplement": lambda d, _: d.open_supplement is None,
    "no-fee-known": lambda d, _: (
        not d.state.fees and not d.fee_open and not any(one.fees for one in d.state.supplements)
    ),
    "open-fee": lambda d, _: d.fee_open,
    "fee-paid": lambda d, _: d.state.paid_online is not None and not d.fee_open,
    "unsigned-result": lambda d, _: any(
        result.signing in ("asked", "held", "failed") for result in d.state.results
    ),
    "no-due-date": lambda d, _: d.state.due_at is None,
    "due-not-later": lambda d, step: d.state.due_at is not None and step.due_at <= d.state.due_at,
    "was-there-before": lambda d, step: step.agency in d.state.former_agencies,
    "rated": lambda d, _: d.state.rating is not None,
}
"""What a guard can ask of a dossier and the step that is to be taken."""


class Version(BaseModel):
    """The transition table as it is from a day on.

    Raises:
        ValueError: a cell is missing, or a reason, refusal or fact is unknown.
    """

    model_config = _SHAPE

    version: str
    effective_from: date | None
    """First day in Vietnam; null for the version before all others."""
    source: str
    confidence: str
    statuses_source: str
    statuses: dict[Status, StatusLabel]
    reasons: dict[str, Wording]
    steps: dict[Kind, dict[str, str]]
    guards: tuple[Guard, ...]
    notes: dict[Kind, str]

    _flags: dict[tuple[str, str], str | None] = PrivateAttr(default_factory=dict)
    _refusals: dict[tuple[str, str], str] = PrivateAttr(default_factory=dict)
    _guards: dict[str, list[tuple[Callable[[Dossier, Any], bool], str]]] = PrivateAttr(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.statuses) != set(STATUSES) or set(self.steps) != set(KINDS):
            raise ValueError("a status or a kind of step is missing")
        for kind, cells in self.steps.items():
            if set(cells) != set(PLACES):
                raise ValueError(f"the row of {kind} is not complete")
            for place, cell in cells.items():
                self._enter(kind, place, cell)
        for guard in self.guards:
            if guard.reason not in self.reasons or guard.when not in FACTS:
                raise ValueError(f"guard of {guard.step}: unknown reason or fact")
            self._guards.setdefault(guard.step, []).append((FACTS[guard.when], guard.reason))
        return self

    def _enter(self, kind: Kind, place: str, cell: str) -> None:
        verdict, _, reason = cell.partition(" ")
        if verdict == "usual" and not reason:
            self._flags[kind, place] = None
        elif verdict == "unusual" and reason in self.reasons:
            self._flags[kind, place] = reason
        elif verdict == "impossible" and reason in REFUSALS:
            self._refusals[kind, place] = reason
        else:
            raise ValueError(f"{kind} in {place}: {cell!r} is no verdict")

    def refusal(self, dossier: Dossier | None, kind: Kind) -> str | None:
        """The slug of the problem that makes a step impossible; None for a possible one."""
        return self._refusals.get((kind, dossier.state.status if dossier else "none"))

    def flag(self, dossier: Dossier | None, step: Command) -> str | None:
        """Why a possible step is unusual, as a key of ``reasons``; None for a usual one."""
        if dossier is None:
            return self._flags[step.kind, "none"]
        reason = self._flags[step.kind, dossier.state.status]
        if reason is None:
            for holds, why in self._guards.get(step.kind, ()):
                if holds(dossier, step):
                    return why
        return reason


class Table:
    """The transition table in all its versions.

    Args:
        versions: one of them without a first day, each other with its own.

    Raises:
        ValueError: none or several begin on the same day, or none was there before all others.
    """

    def __init__(self, versions: Iterable[Version]) -> None:
        self.versions = sorted(versions, key=lambda one: one.effective_from or date.min)
        days = [one.effective_from for one in self.versions]
        if days[:1] != [None] or len(set(days)) < len(days):
            raise ValueError("versions must begin on different days, one of them without a day")
        self._days = [one.effective_from or date.min for one in self.versions]
        self.reasons: Mapping[str, Wording] = {
            key: words for version in self.versions for key, words in version.reasons.items()
        }
        """Every reason there has been; the last version's words count."""

    def at(self, moment: datetime) -> Version:
        """The version of a moment's day in Vietnam."""
        if len(self.versions) == 1:
            return self.versions[0]
        day = moment.astimezone(_VIETNAM).date()
        return self.versions[bisect_right(self._days, day) - 1]


def load() -> Table:
    """The table of this release."""
    folder = resources.files("dossier") / "data"
    return Table(
        Version.model_validate_json(file.read_bytes())
        for file in folder.iterdir()
        if file.name.startswith("transitions") and file.name.endswith(".json")
    )
