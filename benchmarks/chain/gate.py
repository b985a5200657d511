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


def ratios(ours: Sequence[Mapping[str, Any]], least: Sequence[Mapping[str, Any]]) -> list[float]:
    """The ratio of each round."""
    return [one["cpu"] / other["cpu"] for one, other in zip(ours, least, strict=True)]


def verdict(found: Sequence[float], reference: Reference) -> tuple[bool, str]:
    """Whether it passes, and a sentence that says why."""
    now, most = median(found), reference.cpu_ratio * (1 + reference.margin)
    spread = ", ".join(f"{one:.2f}" for one in sorted(found))
    compared = (
        f"a dossier costs {now:.2f} times the CPU time of the least chain (rounds: {spread}); "
        f"{reference.cpu_ratio:.2f} is kept, and {reference.margin:.0%} more allowed: {most:.2f}"
    )
    if now > most:
        return False, f"SLOWER: {compared}"
    return True, f"as fast as before: {compared}"
