"""How long personal data is kept: versioned data, which an operator gives.

No official period was found, so the policy of this release has no rules, and what no rule speaks
of is kept. Of several rules for one status the first that names the dossier's procedure, or names
none, counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.contracts.codes import ProcedureCode

Ended = Literal["3", "7", "8", "9", "10"]
"""Statuses in which a dossier can come to rest: refused, withdrawn, paused, done, returned."""
ENDED: tuple[Ended, ...] = get_args(Ended)

_SHAPE = ConfigDict(frozen=True, extra="forbid")


class Period(BaseModel):
    """A time after the dossier came into its status."""

    model_config = _SHAPE

    years: int = Field(default=0, ge=0, le=200)
    months: int = Field(default=0, ge=0, le=2400)
    days: int = Field(default=0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if not (self.years or self.months or self.days):
            raise ValueError("a period of nothing: leave the rule out to keep, or say how long")
        return self


class Rule(BaseModel):
    """Dossiers that have ended like this keep their personal data for a period."""

    model_config = _SHAPE

    statuses: tuple[Ended, ...] = Field(min_length=1)
    procedures: tuple[ProcedureCode, ...] | None = None
    """None: every procedure."""
    keep: Period
    basis: str = Field(min_length=1)
    """The law or decision that the period is from."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Dossiers of one status that one rule speaks of.

    Attributes:
        procedures: only these; None for all.
        excluded: procedures that an earlier rule speaks of.
    """

    status: Ended
    procedures: tuple[str, ...] | None
    excluded: tuple[str, ...]
    keep: Period


class Policy(BaseModel):
    """A retention policy.

    Raises:
        ValueError: a rule that can never apply, since one before it speaks of all procedures.
    """

    model_config = _SHAPE

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,29}$")
    source: str
    confidence: str
    rules: tuple[Rule, ...] = ()
    notes: str = ""

    @property
    def title(self) -> str:
        """Name and version, as events and erased dossiers carry it."""
        return f"{self.name} {self.version}"

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        closed: set[str] = set()
        for number, rule in enumerate(self.rules):
            if closed.issuperset(rule.statuses):
                raise ValueError(
                    f"rule {number} never applies: one before it takes every procedure"
                )
            if rule.procedures is None:
                closed.update(rule.statuses)
        return self

    def selections(self) -> Sequence[Selection]:
        """The rules taken apart by status, each with what those before it have taken."""
        found: list[Selection] = []
        for status in ENDED:
            taken: list[str] = []
            for rule in self.rules:
                if status not in rule.statuses:
                    continue
                found.append(Selection(status, rule.procedures, tuple(taken), rule.keep))
                if rule.procedures is None:
                    break
                taken += rule.procedures
        return found


def load(path: Path | None = None) -> Policy:
    """The operator's policy, or that of this release, which keeps everything.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no policy.
    """
    data = path or resources.files("dossier") / "data" / "retention.json"
    return Policy.model_validate_json(data.read_bytes())
