"""What goes out together."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from common.delivery.line import Line, Lines
from common.delivery.partner import Ability, Claimed, Partner
from common.delivery.rows import Turn


@dataclass(frozen=True, slots=True)
class Call:
    """What goes out together over a line, or is asked about together.

    Attributes:
        size: items that one request takes; a subject with more needs several.
        turns: lane and agencies of the items.
    """

    line: Line
    ask: bool
    items: list[Claimed]
    size: int
    turns: frozenset[Turn]


def calls_of(
    items: Sequence[Claimed], partner: Partner, line_of: Lines, sizes: Mapping[str, int]
) -> list[Call]:
    """Calls for claimed items; a subject is never torn apart, and agencies alternate."""
    groups: dict[tuple[Line, bool, str, Hashable], dict[str, list[Claimed]]] = {}
    for item in items:
        ask = item.asking and partner.ability(item.kind) is Ability.LOOK_UP
        group = line_of(item.agency), ask, item.lane, partner.group(item)
        groups.setdefault(group, {}).setdefault(item.subject, []).append(item)
    calls: list[Call] = []
    for (line, ask, lane, _), subjects in groups.items():
        kind = next(iter(subjects.values()))[0].kind
        size = min(sizes.get(kind, partner.batch), partner.batch)
        parts: list[list[Claimed]] = [[]]
        for of_subject in _alternating(subjects.values()):
            if parts[-1] and len(parts[-1]) + len(of_subject) > size:
                parts.append([])
            parts[-1].extend(of_subject)
        for part in parts:
            turns = frozenset((lane, item.agency) for item in part)
            calls.append(Call(line, ask, part, size, turns))
    return calls


def _alternating(subjects: Iterable[list[Claimed]]) -> list[list[Claimed]]:
    """One subject of each agency after the other, those of an agency in their order."""
    places: Counter[str] = Counter()
    ranked: list[tuple[int, list[Claimed]]] = []
    for subject in subjects:
        agency = subject[0].agency
        ranked.append((places[agency], subject))
        places[agency] += 1
    ranked.sort(key=lambda one: one[0])
    return [subject for _, subject in ranked]
