"""Records from a file or a REST call: ``LayThuTuc`` records, or entries in our own form.

A line is one JSON object: a record of the portal; a procedure; or ``{"procedure": …}``,
``{"agency": …}``, ``{"code_list": …}`` with an optional ``valid_from``. The same lines again change
nothing, so an import that broke off is simply repeated.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from catalog.clients.conversion import SILENT, Unreadable, code_of, is_record, procedure_of
from catalog.domain.catalogue import Agency, CodeList, Origin, Procedure
from catalog.domain.versions import vietnam_day
from catalog.store import runs, versions
from catalog.store.runs import Fault, Progress, Run, RunKind
from catalog.store.search import agency_names
from catalog.use_cases.loading import checked
from catalog.use_cases.writing import Said, Written, write
from common.identifiers import new_id
from common.outbox import Outbox

LONGEST_LINE = 1024 * 1024
"""Bytes."""
_BATCH = 200
_SERVED = ("version", "valid_to", "origin", "revision", "revision_to", "version_to", "parent")
"""What the catalogue adds to what it serves; not part of an entry."""
_DAY = TypeAdapter(date | None)


@dataclass(frozen=True, slots=True)
class Line:
    """One object of an import: where it stood, and its JSON text (None: too long)."""

    place: str
    text: bytes | None


@dataclass
class Import:
    """An import under way: lines are collected and written in batches."""

    outbox: Outbox
    run: Run
    holder: UUID
    names: Mapping[str, str]
    _waiting: list[tuple[Origin, Said]] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _read: int = 0
    _place: str = ""

    async def take(self, line: Line) -> None:
        """Take a line; what cannot be read is put down as a fault."""
        try:
            taken = said_by(line.text, self.names)
        except Unreadable as error:
            self._faults.append(Fault(line.place, _code_of(line.text), str(error)[:300]))
        else:
            # One entry twice, such as two versions of it, is written one after the other.
            if any(_key(taken) == _key(other) for other in self._waiting):
                await self.flush()
            self._waiting.append(taken)
        self._read += 1
        self._place = line.place
        if self._read >= _BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected."""
        if not self._read:
            return
        today = vietnam_day()
        async with self.outbox.transaction() as unit:
            await versions.lock(unit.connection)
            written = Written()
            for group in _groups(self._waiting):
                written += await write(unit, group[0][0], [said for _, said in group], today)
            done = Progress(
                self._read,
                written.changed,
                written.unchanged + written.outranked,
                tuple(self._faults),
            )
            await runs.advance(
                unit.connection, self.run.id, self.holder, "records", self._place, done
            )
        self._waiting, self._faults, self._read = [], [], 0


async def import_lines(
    outbox: Outbox, kind: RunKind, lines: AsyncIterable[Line], asked_by: str | None = None
) -> Run:
    """Import lines, with an entry in the run log.

    Raises:
        Exception: whatever broke the import off; the run is then ended as failed, and what was
            written before stays.
    """
    holder = new_id()
    async with outbox.transaction() as unit:
        run = await runs.begin(unit.connection, kind, holder, asked_by)
        names = await agency_names(unit.connection)
    under_way = Import(outbox, run, holder, names)
    error: str | None = "broken off"
    try:
        async for line in lines:
            await under_way.take(line)
        await under_way.flush()
        error = None
    finally:
        async with asyncio.timeout(10), outbox.transaction() as unit:
            await runs.end(unit.connection, run.id, holder, error)
            ended = await runs.run(unit.connection, run.id)
    return ended or replace(run, error="not found")


def said_by(text: bytes | None, names: Mapping[str, str]) -> tuple[Origin, Said]:
    """What a line says, and whose word it is.

    Raises:
        Unreadable: with the reason.
    """
    if text is None:
        raise Unreadable(f"longer than {LONGEST_LINE} bytes")
    if b"\\u0000" in text:
        raise Unreadable("a text holds the character NUL")
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Unreadable("not JSON") from None
    if not isinstance(content, dict):
        raise Unreadable("not a JSON object")
    if is_record(content):
        return "national", Said(procedure_of(content, names), silent=SILENT)
    try:
        return "operator", _own(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Unreadable(f"{where}: {first['msg']}") from None


def _own(content: dict[str, Any]) -> Said:
    """An entry in our own form; what the catalogue adds when it serves one is ignored."""
    wrapped: dict[str, type[Procedure | Agency | CodeList]] = {
        "procedure": Procedure,
        "agency": Agency,
        "code_list": CodeList,
    }
    for name, model in wrapped.items():
        if isinstance(content.get(name), dict):
            if unknown := content.keys() - {name, "valid_from"}:
                raise Unreadable(f"unknown: {', '.join(sorted(unknown))[:100]}")
            entry = _without(content[name], "version_from", "revision_from")
            if model is Procedure:
                entry.pop("valid_from", None)
            return _said(model.model_validate(entry), content.get("valid_from"))
    entry = _without(content, "valid_from")
    return _said(Procedure.model_validate(entry), content.get("valid_from"))


def _said(content: Procedure | Agency | CodeList, valid_from: Any) -> Said:
    if isinstance(content, Procedure):
        content = checked(content)
    said = Said(content, _DAY.validate_python(valid_from))
    if not is_code(said.code):
        raise Unreadable("code of an unknown form")
    return said


def is_code(code: str) -> bool:
    """Whether the catalogue can serve an entry of this code."""
    return 0 < len(code) <= 60 and all(letter.isalnum() or letter in "_. -" for letter in code)


def _without(entry: dict[str, Any], *more: str) -> dict[str, Any]:
    own = {"version"} if "items" in entry else set()  # a code list's version is its source's
    left_out = {*_SERVED, *more} - own
    return {name: value for name, value in entry.items() if name not in left_out}


def _key(taken: tuple[Origin, Said]) -> tuple[str, str]:
    return taken[1].kind, taken[1].code


def _groups(
    taken: Iterable[tuple[Origin, Said]],
) -> Iterable[list[tuple[Origin, Said]]]:
    """By origin and kind, as they are written."""
    groups: dict[tuple[str, str], list[tuple[Origin, Said]]] = {}
    for one in taken:
        groups.setdefault((one[0], one[1].kind), []).append(one)
    return groups.values()


def _code_of(text: bytes | None) -> str | None:
    try:
        content = orjson.loads(text or b"null")
    except orjson.JSONDecodeError:
        return None
    code = code_of(content) or (content.get("code") if isinstance(content, dict) else None)
    return code[:60].replace("\x00", "") if isinstance(code, str) else None


async def lines_of_file(path: Path) -> AsyncIterator[Line]:
    """The lines of a file: NDJSON, or where its name ends in ``.json`` one JSON list or object
    (an object with a list ``procedures`` stands for that list).

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON.
    """
    if path.suffix == ".json":
        content = await asyncio.to_thread(lambda: orjson.loads(path.read_bytes()))
        listed = content.get("procedures", [content]) if isinstance(content, dict) else content
        for number, entry in enumerate(listed if isinstance(listed, list) else [listed], 1):
            yield Line(f"{number:09}", orjson.dumps(entry))
        return
    with path.open("rb") as file:
        number = 0
        while text := file.readline(LONGEST_LINE + 1):
            number += 1
            too_long = len(text) > LONGEST_LINE and not text.endswith(b"\n")
            while too_long and not text.endswith(b"\n") and (text := file.readline(LONGEST_LINE)):
                pass
            if too_long or text.strip():
                yield Line(f"{number:09}", None if too_long else text)


async def lines_of_stream(parts: AsyncIterable[bytes]) -> AsyncIterator[Line]:
    """The lines of an NDJSON body, read as it comes."""
    number, rest, too_long = 0, b"", False
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for text in whole:
            number += 1
            if too_long or len(text) > LONGEST_LINE:
                yield Line(f"{number:09}", None)
            elif text.strip():
                yield Line(f"{number:09}", text)
            too_long = False
        if len(rest) > LONGEST_LINE:
            rest, too_long = b"", True
    if too_long or rest.strip():
        yield Line(f"{number + 1:09}", None if too_long else rest)
