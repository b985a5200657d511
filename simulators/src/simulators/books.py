"""The books of a program: every call in order, and what came of it.

A call's effect is a plain record (`kept`) that is first appended to the journal, then folded into
the state by the program's `fold`. A restarted program folds the journal again, so its state
never depends on anything but the records. The books only grow: they are evidence, and a test that
wants fresh ones says so (`DELETE /_books`).

The journal is JSON lines, one unbuffered write per record, so a killed program loses nothing that
it had answered; a last line cut short by the kill is discarded.
"""

import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

Fold = Callable[[Any], None]
Row = TypeVar("Row")


@dataclass(slots=True)
class Entry:
    """One call: what was asked, what came of it, and whether the caller was told.

    Parameters:
        outcome: accepted, refused, partly, not_done, or a program's own word.
        end: answered, dropped, silent, gone (the caller had left) or open (under way, or cut
            short by a kill of the program).
    """

    number: int
    time: float
    service: str
    items: int = 0
    outcome: str = "not_done"
    end: str = "open"

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "time": round(self.time, 6),
            "service": self.service,
            "outcome": self.outcome,
            "end": self.end,
            "items": self.items,
        }


class Books:
    """Calls in memory, and in `<directory>/books.jsonl` when a directory is given.

    Parameters:
        directory: where the journal lives, or None to keep it in memory only.
        fold: applies one `kept` record to the program's state.
        forget_all: empties the program's state.
    """

    def __init__(self, directory: Path | None, fold: Fold, forget_all: Callable[[], None]) -> None:
        self._fold = fold
        self._forget_all = forget_all
        self._journal: io.RawIOBase | None = None
        self.calls: list[Entry] = []
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            journal = directory / "books.jsonl"
            if journal.exists():
                self._replay(journal)
            self._journal = journal.open("ab", buffering=0)

    def begin(self, service: str) -> Entry:
        """Take a number for a call that has arrived."""
        number = self.calls[-1].number + 1 if self.calls else 1
        entry = Entry(number, time.time(), service)
        self.calls.append(entry)
        return entry

    def keep(self, entry: Entry, outcome: str, kept: Any = None) -> None:
        """Record what came of a call, before it is answered."""
        entry.outcome = outcome
        self._write({**entry.as_json(), "kept": kept})
        if kept is not None:
            self._fold(kept)

    def finish(self, entry: Entry, end: str) -> None:
        """Record how the call ended for the caller."""
        entry.end = end
        known = entry.outcome != "not_done"  # then the journal has the rest already
        self._write({"number": entry.number, "end": end} if known else entry.as_json())

    def clear(self) -> None:
        """Start anew."""
        self.calls.clear()
        self._forget_all()
        if self._journal is not None:
            self._journal.truncate(0)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def summary(self) -> dict[str, Any]:
        by_service: dict[str, Counter[str]] = {}
        ends: Counter[str] = Counter()
        for entry in self.calls:
            by_service.setdefault(entry.service, Counter())[entry.outcome] += 1
            ends[entry.end] += 1
        return {"calls": len(self.calls), "by_service": by_service, "ends": ends}

    def _write(self, record: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))

    def _replay(self, journal: Path) -> None:
        by_number: dict[int, Entry] = {}
        whole = 0
        with journal.open("r+b") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._apply(orjson.loads(line), by_number)
            lines.truncate(whole)
        self.calls = [by_number[number] for number in sorted(by_number)]

    def _apply(self, record: dict[str, Any], by_number: dict[int, Entry]) -> None:
        kept = record.pop("kept", None)
        known = by_number.get(record["number"])
        if known is None:
            by_number[record["number"]] = Entry(**record)
        else:
            for name, value in record.items():
                setattr(known, name, value)
        if kept is not None:
            self._fold(kept)


@dataclass(slots=True)
class Counted:
    """Something that arrived, its text at first arrival, and how often it arrived."""

    key: Any
    text: bytes
    times: int = 0


class Tally:
    """Things by first arrival, exact repeats counted."""

    def __init__(self) -> None:
        self.rows: list[Counted] = []
        self._by_key: dict[Any, Counted] = {}

    def count(self, key: Any, text: bytes) -> None:
        row = self._by_key.get(key)
        if row is None:
            row = self._by_key[key] = Counted(key, text)
            self.rows.append(row)
        row.times += 1

    def repeated(self) -> int:
        return sum(row.times - 1 for row in self.rows)

    def clear(self) -> None:
        self.rows.clear()
        self._by_key.clear()


def json_text(value: Any) -> bytes:
    """JSON with sorted keys in memory of its own size (orjson hands out a larger buffer)."""
    return bytes(memoryview(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)))


def page(
    rows: Sequence[Row], after: int, limit: int, render: Callable[[Row], Any]
) -> dict[str, Any]:
    """Rows `after` + 1 to `after` + `limit`, and the position to go on from (None at the end)."""
    end = after + limit
    return {
        "total": len(rows),
        "next": end if end < len(rows) else None,
        "items": [render(row) for row in rows[after:end]],
    }
