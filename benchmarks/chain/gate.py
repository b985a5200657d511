"""The regression gate: CPU time of our chain over that of the least one, against a kept ratio.

Both take turns within one run, so what else the machine does weighs on both; CPU time is compared,
not time on the wall.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

_LEAST_ROUNDS = 2
REFERENCE = Path(__file__).with_name("reference.json")


@dataclass(frozen=True)
class Reference:
    """What was reached once.

    Attributes:
        cpu_ratio: CPU time per dossier, ours over the least chain's.
        margin: by which share it may be exceeded.
        count: dossiers a round; what is idle meanwhile weighs more in short rounds.
        rounds: whose median counts.
    """

    cpu_ratio: float
    margin: float
    count: int
    rounds: int

    @classmethod
    def kept(cls) -> "Reference":
        """The committed one."""
        return cls(**json.loads(REFERENCE.read_text("utf-8")))

    def keep(self) -> None:
        """Write it over the committed one."""
        REFERENCE.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")


Pair = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A round of ours, and the least chain's in turn with it."""


def ratios(pairs: Sequence[Pair], busy: float) -> list[float]:
    """The ratio of each pair of rounds; those in which others took more of the machine than that
    are left out. A busy machine hands work over in smaller pieces, which costs ours more."""
    quiet = [pair for pair in pairs if max(one["elsewhere"] for one in pair) <= busy]
    return [ours["cpu"] / least["cpu"] for ours, least in quiet]


def verdict(found: Sequence[float], reference: Reference) -> tuple[int, str]:
    """What the gate ends with, and a sentence that says why: 0 for as fast as before, 1 for slower,
    2 for not judged."""
    if len(found) < _LEAST_ROUNDS:
        return 2, (
            f"NOT JUDGED: in all but {len(found)} rounds others took too much of the machine; "
            "run it when it is quiet"
        )
    now, most = median(found), reference.cpu_ratio * (1 + reference.margin)
    spread = ", ".join(f"{one:.2f}" for one in sorted(found))
    compared = (
        f"a dossier costs {now:.2f} times the CPU time of the least chain (rounds: {spread}); "
        f"{reference.cpu_ratio:.2f} is kept, and {reference.margin:.0%} more allowed: {most:.2f}"
    )
    return (1, f"SLOWER: {compared}") if now > most else (0, f"as fast as before: {compared}")
