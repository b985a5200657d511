"""The table, made from the JSON of a run.

    .venv/bin/python -m benchmarks.chain.table [RESULT.json]     prints it
    .venv/bin/python -m benchmarks.chain.table [RESULT.json] --into docs/performance.md

``--into`` puts it between the two marks of the document, so that nobody types a figure.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

RESULT = Path(".run/bench/chain.json")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
FLOOR = "least"
SERVERS = ("PostgreSQL", "RabbitMQ")
_STAGES = ("intake answers", "accepted → applied", "applied → known", "accepted → known")
_WRITTEN = {
    "log": "PostgreSQL's log, bytes per request",
    "size": "databases grow, bytes per request",
    "broker": "broker writes, bytes per request",
}

Rounds = Sequence[Mapping[str, Any]]


def markdown(result: Mapping[str, Any]) -> str:
    """The table, and what a run adds to it, as Markdown."""
    columns: dict[str, Rounds] = {**result["chains"], **result.get("paced", {})}
    rows = [["", *columns], ["---", *("---:" for _ in columns)]]
    rows += [[label, *cells] for label, cells in _rows(columns, result) if any(cells)]
    parts = [f"`{result['command']}`: {_conditions(result)}", _lines(rows)]
    parts += [f"Not run: {name} ({why})." for name, why in result.get("not_run", {}).items()]
    parts += [make(result[part], result) for part, make in _FURTHER.items() if part in result]
    return "\n\n".join(parts) + "\n"


def _conditions(result: Mapping[str, Any]) -> str:
    return (
        f"{result['count']:,} requests a round, {result['rounds']} interleaved rounds (medians), "
        f"{result['connections']} connections, {result['agencies']} agencies, "
        f"{result['bytes']:,} bytes a dossier, {result['delay'] * 1000:.0f} ms a call, "
        f"{result['cores']} cores, {result['code']}"
    )


def _rows(
    columns: Mapping[str, Rounds], result: Mapping[str, Any]
) -> Iterator[tuple[str, list[str]]]:
    def row(label: str, cell: Callable[..., str], *what: str) -> tuple[str, list[str]]:
        return label, [cell(rounds, *what) for rounds in columns.values()]

    def of_floor(figure: str, form: str) -> list[str]:
        floor = result["chains"].get(FLOOR, ())
        paced = result.get("paced", {})
        return [
            "" if not floor or name in paced else format(ratio(rounds, floor, figure), form)
            for name, rounds in columns.items()
        ]

    yield row("end to end, per second", _whole, "rate")
    yield f"… of {FLOOR}", of_floor("rate", ".0%")
    yield row("intake, per second", _whole, "intake_rate")
    for stage in _STAGES:
        yield row(f"{stage}, p50 / p99 ms", _stage, stage)
    yield row("**CPU seconds per 1,000**", _hundredths, "cpu")
    yield f"… times {FLOOR}", of_floor("cpu", ".1f")
    for role in _roles(columns.values(), "cpu_by_role"):
        yield row(f"CPU {role}", _cpu, "cpu_by_role", role)
    for role in _roles(columns.values(), "cpu_beside"):
        yield row(f"not counted: {role}", _cpu, "cpu_beside", role)
    yield row("not counted: others' share of the machine", _share, "elsewhere")
    for role in _roles(columns.values(), "memory"):
        yield row(f"MiB {role}, RSS / USS", _memory, role)
    yield row("transactions per request", _hundredths, "written", "transactions")
    counted = result.get("statements", {})
    told = {name: sum(by_database.values()) for name, by_database in counted.items()}
    yield "statements per request", [_optional(told.get(name)) for name in columns]
    for what, label in _WRITTEN.items():
        yield row(label, _whole, "written", what)


def ratio(rounds: Rounds, floor: Rounds, figure: str) -> float:
    """Median of a figure's ratio to the floor's, round by round."""
    pairs = zip(rounds, floor, strict=True)
    return float(median(one[figure] / other[figure] for one, other in pairs))


def _median(rounds: Rounds, *path: str) -> float:
    def at(one: Any) -> float:
        for name in path:
            one = one[name]
        return float(one)

    return median(at(one) for one in rounds)


def _whole(rounds: Rounds, *path: str) -> str:
    return f"{_median(rounds, *path):,.0f}"


def _hundredths(rounds: Rounds, *path: str) -> str:
    return f"{_median(rounds, *path):.2f}"


def _share(rounds: Rounds, *path: str) -> str:
    return f"{_median(rounds, *path):.0%}"


def _optional(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _stage(rounds: Rounds, stage: str) -> str:
    if stage not in rounds[0]["stages"]:
        return ""
    half, most = (_median(rounds, "stages", stage, share) for share in ("p50", "p99"))
    return f"{half:.0f} / {most:.0f}"


def _roles(columns: Any, part: str) -> list[str]:
    """Roles without the numbers of replicas, as they come, the servers last."""
    found = dict.fromkeys(
        role.partition("/")[0] for rounds in columns for one in rounds for role in one[part]
    )
    servers = [role for role in SERVERS if found.pop(role, 0) is None]
    return [*found, *servers]


def _cpu(rounds: Rounds, part: str, role: str) -> str:
    """The replicas' sum."""
    spent = [_of_role(one[part], role) for one in rounds]
    return f"{median(sum(one) for one in spent):.3f}" if spent[0] else ""


def _memory(rounds: Rounds, role: str) -> str:
    """The largest replica's."""
    held = [_of_role(one["memory"], role) for one in rounds]
    if not held[0]:
        return ""
    resident, private = (
        median(max(each[kind] for each in one) for one in held) for kind in ("resident", "private")
    )
    return f"{resident:.0f} / {private:.0f}"


def _of_role(roles: Mapping[str, Any], role: str) -> list[Any]:
    return [value for name, value in roles.items() if name.partition("/")[0] == role]


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _idle(found: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    rows = [["idle", "of one core", "RSS MiB", "USS MiB"], ["---", "---:", "---:", "---:"]]
    rows += [
        [role, f"{one['share']:.2%}", f"{one['resident']:.0f}", f"{one['private']:.0f}"]
        for role, one in found["roles"].items()
    ]
    share = found["services_share"]
    rows.append(["**six services**", f"**{share:.2%}**", "", ""])
    return f"Nothing to do for {found['seconds']:.0f} s:\n\n" + _lines(rows)


def _statements(found: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    told = sorted(found.get("ours", {}).items(), key=lambda one: -one[1])
    return "Statements of `ours` per request: " + ", ".join(f"{db} {n:.2f}" for db, n in told) + "."


def _stored(found: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> str:
    def change(then: Mapping[str, Any], figure: str) -> float:
        now = ratio(then["ours"], then[FLOOR], figure)
        return now / ratio(result["chains"]["ours"], result["chains"][FLOOR], figure)

    return "\n\n".join(
        f"With {then['count']:,} dossiers stored: {change(then, 'cpu'):.2f} times the CPU time and "
        f"{change(then, 'rate'):.2f} times the rate of before (both measured against `{FLOOR}`)."
        for then in found
    )


def _backlog(found: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    calm, meanwhile = found["calm"], found["meanwhile"]
    role, most = max(found["memory"].items(), key=lambda one: one[1] * (one[0] not in SERVERS))
    return (
        f"A backlog of {found['count']:,}: drained at {found['drain']:.0f}/s, "
        f"{found['drain'] / found['steady']:.0%} of the steady rate; intake at a quarter of that "
        f"rate meanwhile p50 {meanwhile['p50']:.1f}, p99 {meanwhile['p99']:.1f} ms (without it "
        f"{calm['p50']:.1f} and {calm['p99']:.1f}); the largest service was {role} "
        f"({most:.0f} MiB)."
    )


def _soak(found: Mapping[str, Any], _: Mapping[str, Any]) -> str:
    rows = [["RSS, MiB", "after 1 min", "most", "at the end"], ["---", "---:", "---:", "---:"]]
    rows += [
        [role, *(f"{one:.0f}" for one in (held[0], max(held), held[-1]))]
        for role, held in found["roles"].items()
    ]
    return f"{found['minutes']} minutes at {found['rate']:.0f}/s:\n\n" + _lines(rows)


_FURTHER: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "statements": _statements,
    "idle": _idle,
    "stored": _stored,
    "backlog": _backlog,
    "soak": _soak,
}


def put(table: str, document: str) -> str:
    """The document with the table between its marks.

    Raises:
        ValueError: it has no marks.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the figures: {BEGIN} … {END}")
    return f"{head}{begin}\n\n{table}\n{end}{tail}"


def main(options: argparse.Namespace) -> None:
    """Print the table, or put it where it belongs."""
    table = markdown(json.loads(options.result.read_text("utf-8")))
    if options.into is None:
        sys.stdout.write(table)
    else:
        options.into.write_text(put(table, options.into.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", default=RESULT)
    parser.add_argument("--into", type=Path)
    main(parser.parse_args())
