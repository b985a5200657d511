"""The verdicts, for people and for machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from backbone.conformance.exchanges import Exchange
from backbone.conformance.obligations import OBLIGATIONS, Obligation

State = Literal["met", "not met", "not seen"]
_WORDS = {"met": "đạt · met", "not met": "KHÔNG ĐẠT · NOT MET", "not seen": "chưa thấy · not seen"}
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was seen of one obligation.

    Attributes:
        cases: how often it could be met.
        failures: in which cases it was not.
    """

    of: Obligation
    cases: int
    failures: tuple[str, ...]

    @property
    def state(self) -> State:
        """Met only where there was a case, and in every one."""
        if self.failures:
            return "not met"
        return "met" if self.cases else "not seen"

    def members(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "obligation": self.of.name,
            "title": self.of.title,
            "title_en": self.of.title_en,
            "state": self.state,
            "cases": self.cases,
            "failures": list(self.failures),
        }


def judged(exchanges: Sequence[Exchange]) -> list[Verdict]:
    """Every obligation held against what came."""
    verdicts = []
    for one in OBLIGATIONS:
        cases = list(one.judge(exchanges))
        failures = tuple(words for met, words in cases if not met)
        verdicts.append(Verdict(one, len(cases), failures))
    return verdicts


def show(console: Console, verdicts: Sequence[Verdict], requests: int) -> None:
    """A table, and below it what was not met."""
    table = Table(title=f"{requests} yêu cầu · requests")
    for column in ("nghĩa vụ · obligation", "lần · cases", "kết quả · verdict"):
        table.add_column(column)
    for verdict in verdicts:
        words = f"{verdict.of.title}\n{verdict.of.title_en}"
        table.add_row(words, str(verdict.cases), _WORDS[verdict.state])
    console.print(table)
    for verdict in verdicts:
        for failure in verdict.failures[:_MOST_NAMED]:
            console.print(f"- {verdict.of.title_en}: {failure}", highlight=False, markup=False)


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0: all met; 1: one is not met; 3: nothing wrong, but not everything was seen."""
    states = {verdict.state for verdict in verdicts}
    if "not met" in states:
        return 1
    return 3 if "not seen" in states else 0
