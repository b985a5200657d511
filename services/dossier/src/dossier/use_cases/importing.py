"""Old dossiers enter: line by line, in batches, each batch with what it tells in one transaction.

The state of an import is the last line that was dealt with and a digest over all lines so far.
Sent again under its id, the same file goes on from there; under another id it changes nothing,
since what is there already is known or told as a difference, and never overwritten.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import structlog
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierImported, StepTaken
from common.database import Database
from common.outbox import Outbox, Unit
from common.problems import fields
from common.sealing import KeyRing, SealError
from dossier.domain import historic, historic_table
from dossier.domain.historic import HistoricDossier
from dossier.domain.historic_table import TableFault
from dossier.domain.model import Dossier, Taken
from dossier.errors import (
    ImportDiffers,
    ImportNotReadable,
    ImportTooFaulty,
    ImportUnderWay,
    UnknownImport,
)
from dossier.store import dossiers as dossier_store
from dossier.store import imports as store
from dossier.store.imports import Entered, Fault, Format, Import
from dossier.use_cases.indexing import Indexing
from dossier.use_cases.lines import Line, cells_of, lines_of, rows_of

BATCH = 300
_BATCH_BYTES = 4 * 1024 * 1024
_MOST_FAULTS = 10_000
_TRIES = 3
_BACKLOG, _BACKLOG_SECONDS, _BACKLOG_TURNS = 2000, 0.25, 40

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be imported, and how.

    Attributes:
        id: names the import; the same one again goes on with it.
        may_enter: for which agencies (new form) and procedures.
        tell_portal: whether the national portal is to hear of these dossiers.
        measure: whether they count in the measurements.
    """

    id: UUID
    client_id: str
    may_enter: Callable[[str, str], bool]
    format: Format
    tell_portal: bool = False
    measure: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """A line that was read: a dossier with its history, or what is wrong."""

    line: Line
    dossier: Dossier | None = None
    steps: tuple[StepTaken, ...] = ()
    content: bytes = b""
    personal: Any = None
    fault: Fault | None = None


class Importing:
    """Takes files of old dossiers in.

    Args:
        keys: seals personal fields; it must hold a key to seal with.
        indexing: enters persons in the index.
    """

    def __init__(
        self, outbox: Outbox, database: Database, keys: KeyRing, indexing: Indexing
    ) -> None:
        self._outbox = outbox
        self._database = database
        self._keys = keys
        self._indexing = indexing

    async def run(self, order: Order, parts: AsyncIterable[bytes]) -> Import:
        """Take a file in, from where the import of this id stands.

        Raises:
            ImportDiffers: under this id another file, or one with other options, was begun.
            ImportUnderWay: somebody else is at work on it.
            ImportNotReadable: a table without the heading that is needed.
            ImportTooFaulty: so many lines are not in order that this cannot be the right file.
            SealError: this service holds no key to seal with.
        """
        begun = await self._begin(order)
        if begun.state == "stopped":
            raise ImportTooFaulty
        done, faults = begun.lines, begun.refused
        batch, size = list[Line](), 0
        reader = _Reader(order, self._keys)
        digest, last, reached = b"", 0, begun.lines == 0
        async for line in _entries(order.format, parts):
            digest = hashlib.sha256(digest + (line.content or b"-")).digest()
            last = line.last
            if order.format == "csv" and reader.columns is None:
                reader.head(line)
            if line.last < begun.lines:
                continue
            if line.last == begun.lines and digest == begun.chain:
                reached = True
                continue
            if not reached or begun.state == "ended":
                raise _differs()
            batch.append(line)
            size += len(line.content or b"")
            if len(batch) >= BATCH or size >= _BATCH_BYTES:
                faults += await self._enter(order, reader, batch, done, digest)
                done, batch, size = last, [], 0
                if faults > _MOST_FAULTS:
                    await self._end(order.id, "stopped")
                    raise ImportTooFaulty
                await self._give_way()
        if not reached:
            raise _differs()
        if begun.state == "ended":
            return begun
        if batch:
            await self._enter(order, reader, batch, done, digest)
        ended = await self._end(order.id, "ended")
        log.info(
            "import ended",
            id=str(ended.id),
            lines=ended.lines,
            entered=ended.entered,
            known=ended.known,
            different=ended.different,
            refused=ended.refused,
        )
        return ended

    async def _begin(self, order: Order) -> Import:
        self._keys.seal("", "")  # raises where nothing could be sealed
        async with self._database.transaction() as connection:
            await store.begin(
                connection,
                order.id,
                order.client_id,
                order.format,
                tell_portal=order.tell_portal,
                measure=order.measure,
            )
            begun = await store.find(connection, order.id)
        asked = (order.client_id, order.format, order.tell_portal, order.measure)
        if begun is None or asked != (
            begun.client_id,
            begun.format,
            begun.tell_portal,
            begun.measure,
        ):
            raise _differs()
        return begun

    async def _end(self, id_: UUID, state: store.State) -> Import:
        async with self._database.transaction() as connection:
            await store.end(connection, id_, state)
            return _known(await store.find(connection, id_))

    async def _enter(
        self, order: Order, reader: "_Reader", batch: Sequence[Line], done: int, chain: bytes
    ) -> int:
        """Deal with a batch of lines; how many of them were refused."""
        read = await asyncio.to_thread(lambda: [reader.read(line) for line in batch])
        for tried in range(1, _TRIES + 1):
            try:
                return await self._write(order, [one for one in read if one], batch, done, chain)
            except IntegrityError:  # begun by a submission since we looked
                if tried == _TRIES:
                    raise
        raise AssertionError("unreachable")

    async def _write(
        self, order: Order, read: Sequence[_Read], batch: Sequence[Line], done: int, chain: bytes
    ) -> int:
        async with self._outbox.transaction() as unit:
            current = _known(await store.find(unit.connection, order.id, lock=True))
            if current.lines != done:
                raise ImportUnderWay(
                    "Tệp này đang được nhập ở nơi khác", "This import is under way elsewhere"
                )
            new, known, faults = await self._judged(unit.connection, read)
            taken = [
                Taken(one.dossier, step, _fact(order, one.dossier, one.steps[-1]))
                for one in new
                if one.dossier is not None
                for step in one.steps
            ]
            indexed = await self._indexing.enter(unit.connection, taken)
            await dossier_store.save(unit.connection, taken, indexed)
            _tell(unit, taken)
            await store.go_on(
                unit.connection,
                order.id,
                lines=batch[-1].last,
                chain=chain,
                entered=[
                    Entered(one.dossier.code, one.line.number, one.content)
                    for one in new
                    if one.dossier is not None
                ],
                known=known,
                faults=faults,
            )
        return sum(fault.reason != "different" for fault in faults)

    async def _judged(
        self, connection: AsyncConnection, read: Sequence[_Read]
    ) -> tuple[list[_Read], int, list[Fault]]:
        """Which lines are new, how many are known, and what is wrong with the others."""
        codes = sorted({one.dossier.code for one in read if one.dossier is not None})
        there = await dossier_store.lock(connection, codes)
        said = await store.contents(connection, codes)
        new: dict[str, _Read] = {}
        known, faults = 0, []
        for one in read:
            if one.dossier is None:
                if one.fault is not None:
                    faults.append(one.fault)
                continue
            code = one.dossier.code
            before = new[code].dossier if code in new else there.get(code)
            if before is None:
                new[code] = one
                continue
            content = new[code].content if code in new else said.get(code)
            differing = self._differing(one, before, content)
            if differing:
                faults.append(_different(one.line, code, differing))
            else:
                known += 1
        return list(new.values()), known, faults

    def _differing(self, one: _Read, before: Dossier, content: bytes | None) -> list[str]:
        """The fields in which a line differs from the dossier that is there."""
        if one.dossier is None:
            return []
        differing = []
        if before.erased is None and self._personal(before) != one.personal:
            differing.append("applicant")
        if content != one.content:
            old, new = dict(before.state), dict(one.dossier.state)
            skipped = {"id", "sealed", "historic"}
            differing += [name for name in old if name not in skipped and old[name] != new[name]]
            differing = differing or ["steps"]
        return differing

    def _personal(self, dossier: Dossier) -> Any:
        try:
            return self._keys.open(dossier.state.sealed, dossier.code)
        except SealError:
            return None

    async def _give_way(self) -> None:
        """Wait a while for the relay: events of live work stand behind those of a mass of lines."""
        for _ in range(_BACKLOG_TURNS):
            async with self._database.reading() as connection:
                if await store.backlog(connection, _BACKLOG) < _BACKLOG:
                    return
            await asyncio.sleep(_BACKLOG_SECONDS)


class _Reader:
    """Reads lines of one file."""

    def __init__(self, order: Order, keys: KeyRing) -> None:
        self._order = order
        self._keys = keys
        self._delimiter = ","
        self.columns: list[str] | None = None

    def head(self, line: Line) -> None:
        """The heading of a table; semicolons separate where the first line has them."""
        row = (line.content or b"").removeprefix(b"\xef\xbb\xbf")
        self._delimiter = ";" if row.count(b";") > row.count(b",") else ","
        try:
            self.columns = historic_table.heading(cells_of(row, self._delimiter))
        except (TableFault, ValueError) as error:
            said = str(error) if isinstance(error, TableFault) else "not a CSV file in UTF-8"
            raise ImportNotReadable(
                "Dòng đầu của tệp không phải là tiêu đề cột hợp lệ",
                f"The first line is no valid heading: {said}",
            ) from None

    def read(self, line: Line) -> _Read | None:
        """A line; None for an empty one and for the heading."""
        if self.columns is not None and line.number == 1:
            return None
        if line.content is None:
            return _refused(line, None, [_fault("", "dòng quá dài", "the line is too long")])
        if not line.content.strip():
            return None
        try:
            said = self._said(line.content)
        except ValidationError as error:
            return _refused(line, None, fields(error.errors(include_input=False)))
        except ValueError:
            fault = _fault("", "không đọc được dòng này", "the line cannot be read")
            return _refused(line, None, [fault])
        if not self._order.may_enter(said.home(), said.procedure.code):
            fault = _fault("/agency", "không có quyền với cơ quan hoặc thủ tục này", "not allowed")
            return _refused(line, said.code, [fault], "forbidden")
        wrong = historic.faults(said, datetime.now(UTC))
        if wrong:
            return _refused(line, said.code, [_fault(*one) for one in wrong])
        dossier, steps = historic.entered(
            said, lambda value: self._keys.seal(value, owner=said.code)
        )
        content = hashlib.sha256(said.content()).digest()
        return _Read(line, dossier, steps, content, said.applicant.personal())

    def _said(self, content: bytes) -> HistoricDossier:
        if self.columns is None:
            return HistoricDossier.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
        cells = cells_of(content, self._delimiter)
        if len(cells) != len(self.columns):
            raise ValueError("another number of cells than the heading")
        return HistoricDossier.model_validate_json(
            orjson.dumps(historic_table.line_of(self.columns, cells))
        )


def _entries(form: Format, parts: AsyncIterable[bytes]) -> AsyncIterator[Line]:
    lines = lines_of(parts)
    return rows_of(lines) if form == "csv" else lines


def _fact(order: Order, dossier: Dossier, last: StepTaken) -> DossierImported:
    return DossierImported(
        dossier=dossier.state,
        step=last,
        lane="bulk",
        tell_portal=order.tell_portal,
        measure=order.measure,
    )


def _tell(unit: Unit, taken: Sequence[Taken]) -> None:
    """One event for each dossier, however many steps it has."""
    for one in taken:
        if one.step.number == one.dossier.steps:
            code, agency = one.dossier.code, one.dossier.state.agency
            unit.tell(one.fact, aggregate=code, agency=agency, subject=code)


def _refused(
    line: Line, code: str | None, errors: Sequence[dict[str, str]], reason: store.Reason = "invalid"
) -> _Read:
    return _Read(line, fault=Fault(line.number, code, reason, errors))


def _different(line: Line, code: str, differing: Sequence[str]) -> Fault:
    errors = [
        _fault(f"/{name}", "khác với hồ sơ đã có", "differs from the dossier that is there")
        for name in differing
    ]
    return Fault(line.number, code, "different", errors)


def _fault(pointer: str, detail: str, detail_en: str) -> dict[str, str]:
    return {"pointer": pointer or "/", "detail": detail, "detail_en": detail_en}


def _differs() -> ImportDiffers:
    return ImportDiffers(
        "Lần nhập này đã bắt đầu với tệp hoặc tùy chọn khác",
        "This import was begun with another file or other options",
    )


def _known(found: Import | None) -> Import:
    if found is None:
        raise UnknownImport
    return found
