"""Which steps are usual, unusual or impossible: versioned data, read once.

No official table was found (``data/transitions.json`` says so). An unusual step of a system of
record is recorded and flagged; only an impossible one is refused.
"""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

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
]
KINDS: tuple[Kind, ...] = get_args(Kind)
STATUSES: tuple[Status, ...] = get_args(Status)
PLACES = ("none", *STATUSES)
REFUSALS = frozenset({"unknown-dossier", "dossier-exists", "dossier-closed"})

_SHAPE = ConfigDict(frozen=True, extra="forbid")


class Wording(BaseModel):
    """A sentence or label in both languages."""

    model_config = _SHAPE

    vi: str
    en: str


class StatusLabel(Wording):
    """A status; nothing follows a closed one."""

    closed: bool


class Guard(BaseModel):
    """Makes an otherwise usual step unusual, by something that the status does not show."""

    model_config = _SHAPE

    step: Kind
    when: str
    reason: str


FACTS: Mapping[str, Callable[[Dossier], bool]] = {
    "received": lambda d: d.state.received_at is not None,
    "open-supplement": lambda d: d.open_supplement is not None,
    "no-open-supplement": lambda d: d.open_supplement is None,
    "no-fee-known": lambda d: not d.state.fees and not d.fee_open,
    "open-fee": lambda d: d.fee_open,
    "fee-paid": lambda d: d.state.paid_online is not None and not d.fee_open,
    "unsigned-result": lambda d: any(
        result.signing in ("asked", "held", "failed") for result in d.state.results
    ),
}
"""What a guard can ask of a dossier."""


class Table(BaseModel):
    """The transition table.

    Raises:
        ValueError: a cell is missing, or a reason, refusal or fact is unknown.
    """

    model_config = _SHAPE

    version: str
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
    _guards: dict[str, list[tuple[Callable[[Dossier], bool], str]]] = PrivateAttr(
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

    def flag(self, dossier: Dossier | None, kind: Kind) -> str | None:
        """Why a possible step is unusual, as a key of ``reasons``; None for a usual one."""
        if dossier is None:
            return self._flags[kind, "none"]
        reason = self._flags[kind, dossier.state.status]
        if reason is None:
            for holds, why in self._guards.get(kind, ()):
                if holds(dossier):
                    return why
        return reason


def load() -> Table:
    """The table of this release."""
    data = resources.files("dossier") / "data" / "transitions.json"
    return Table.model_validate_json(data.read_bytes())
